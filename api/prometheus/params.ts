import { ReflexarcError } from '../../core/errors.ts';
import type { Matcher } from '../../core/labels.ts';
import type { PromExpr } from '../../lang/promql/ast.ts';
import { checkPromQL } from '../../lang/promql/check.ts';
import { parsePromQL } from '../../lang/promql/parse.ts';
import { MAX_POINTS } from '../limits.ts';
import {
  badRequest,
  integerParam,
  type Params,
  parsePrometheusTime,
  parseSecondsOrDuration,
  quote,
} from '../params.ts';

/**
 * Parameters of Prometheus' API, as web/api/v1 reads them; times in milliseconds.
 * https://prometheus.io/docs/prometheus/latest/querying/api/
 */

const invalid = (name: string, problem: string): ReflexarcError =>
  badRequest(`invalid parameter "${name}": ${problem}`);

/** @throws bad_request */
export function timeParam(params: Params, name: string): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const ms = parsePrometheusTime(text);
  if (ms === undefined) throw invalid(name, `cannot parse ${quote(text)} to a valid timestamp`);
  return ms;
}

function requiredTime(params: Params, name: string): number {
  const ms = timeParam(params, name);
  if (ms === undefined) throw invalid(name, 'cannot parse "" to a valid timestamp');
  return ms;
}

function duration(params: Params, name: string): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const ms = parseSecondsOrDuration(text);
  if (ms === undefined) throw invalid(name, `cannot parse ${quote(text)} to a valid duration`);
  return ms;
}

/** `timeout`, in milliseconds. */
export function timeoutParam(params: Params): number | undefined {
  const ms = duration(params, 'timeout');
  if (ms !== undefined && ms <= 0) throw invalid('timeout', 'must be above zero');
  return ms;
}

/** What changes an answer and is not there is refused rather than passed over. */
export function refuseUnsupported(params: Params): void {
  for (const name of ['lookback_delta', 'stats']) {
    if (params.get(name) !== undefined) {
      throw new ReflexarcError('not_supported', `the parameter ${name} is not supported`);
    }
  }
}

/** @throws bad_query */
export function queryParam(params: Params): PromExpr {
  const text = params.get('query');
  if (text === undefined) throw invalid('query', 'the query is empty');
  return parsePromQL(text);
}

/** Prometheus evaluates only what has one value at each step. @throws bad_query, bad_request */
export function rangeQueryParam(params: Params): PromExpr {
  const expr = queryParam(params);
  const type = checkPromQL(params.get('query') ?? '', expr);
  if (type === 'matrix' || type === 'string') {
    const name = type === 'matrix' ? 'range vector' : 'string';
    throw invalid(
      'query',
      `invalid expression type "${name}" for range query, must be Scalar or instant Vector`,
    );
  }
  return expr;
}

export interface Range {
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** `start`, `end`, `step`. @throws bad_request */
export function rangeParams(params: Params): Range {
  const start = requiredTime(params, 'start');
  const end = requiredTime(params, 'end');
  if (end < start) throw invalid('end', 'end timestamp must not be before start time');
  const step = duration(params, 'step');
  if (step === undefined) throw invalid('step', 'cannot parse "" to a valid duration');
  // Below a millisecond there is nothing: Prometheus' timestamps are whole ones.
  if (step < 1) {
    throw invalid(
      'step',
      'zero or negative query resolution step widths are not accepted. Try a positive integer',
    );
  }
  if ((end - start) / step > MAX_POINTS) {
    throw badRequest(
      'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)',
    );
  }
  return { start, end, step: Math.floor(step) };
}

/** `limit`: 0 or absent is none. @throws bad_request */
export function limitParam(params: Params): number | undefined {
  const text = params.get('limit');
  const limit = text === undefined ? 0 : integerParam('limit', text);
  if (limit < 0) throw invalid('limit', 'limit must be non-negative');
  return limit === 0 ? undefined : limit;
}

/** `match[]`: alternatives of matchers. @throws bad_query, and bad_request for more than a selector */
export function selectorParams(params: Params): readonly (readonly Matcher[])[] {
  return params.all('match[]').map((text) => {
    const expr = parsePromQL(text);
    if (expr.kind !== 'selector' || expr.offset !== 0 || expr.at !== undefined) {
      throw invalid('match[]', `${quote(text)} is no series selector`);
    }
    return expr.matchers;
  });
}
