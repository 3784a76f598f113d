import type { Matcher } from '../../core/labels.ts';
import { type Nanos, nanosToMillis } from '../../core/time.ts';
import type { LogExpr, LogSelectorExpr } from '../../lang/logql/ast.ts';
import { parseLogQL } from '../../lang/logql/parse.ts';
import { MAX_POINTS } from '../limits.ts';
import {
  badRequest,
  durationParam,
  integerParam,
  type Params,
  parseLokiTime,
  parseSecondsOrDuration,
  quote,
} from '../params.ts';

/**
 * Parameters of Loki's API, as pkg/loghttp reads them.
 * https://grafana.com/docs/loki/latest/reference/loki-http-api/
 */

export interface Bounds {
  readonly start: Nanos;
  readonly end: Nanos;
}

const DEFAULT_SINCE = 3_600_000;
const DEFAULT_LIMIT = 100;

const NANOS_PER_MS = 1_000_000n;

function time(params: Params, name: string): Nanos | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const nanos = parseLokiTime(text);
  if (nanos === undefined) {
    throw badRequest(
      `could not parse '${name}' parameter: not a time: ${quote(text)}`,
      'nanoseconds or seconds since the epoch, or RFC 3339',
    );
  }
  return nanos;
}

/** `start`, `end` and `since`; the last hour if nothing is said. */
export function parseBounds(params: Params, now: Nanos): Bounds {
  const since = durationOf(params, 'since') ?? DEFAULT_SINCE;
  const end = time(params, 'end') ?? now;
  // Where the end is in the future, `since` counts from now.
  const from = end > now ? now : end;
  const start = time(params, 'start') ?? from - BigInt(Math.round(since)) * NANOS_PER_MS;
  return { start, end };
}

function durationOf(params: Params, name: string): number | undefined {
  const text = params.get(name);
  return text === undefined ? undefined : durationParam(name, text);
}

/** `query`, parsed. @throws bad_query */
export function parseQuery(params: Params): LogExpr {
  const text = params.get('query');
  if (text === undefined) throw badRequest("the parameter 'query' is required");
  return parseLogQL(text);
}

/** @param max a request that names no limit is not above the configured one */
export function parseLimit(params: Params, max: number): number {
  const text = params.get('limit');
  const limit = text === undefined ? Math.min(DEFAULT_LIMIT, max) : integerParam('limit', text);
  if (limit <= 0) throw badRequest('limit must be a positive value');
  return limit;
}

export function parseDirection(params: Params): 'forward' | 'backward' {
  const text = params.get('direction') ?? 'backward';
  const direction = text.toLowerCase();
  if (direction !== 'forward' && direction !== 'backward') {
    throw badRequest(`invalid direction ${quote(text)}`, 'forward or backward');
  }
  return direction;
}

export interface RangeParams extends Bounds {
  readonly expr: LogExpr;
  readonly limit: number;
  readonly direction: 'forward' | 'backward';
  /** Milliseconds. */
  readonly step: number;
  /** Of log queries: at most one line in so many nanoseconds; 0: every line. */
  readonly interval: Nanos;
}

/** Everything of `query_range`. @throws bad_request, bad_query */
export function parseRange(params: Params, now: Nanos, maxLines: number): RangeParams {
  const { start, end } = parseBounds(params, now);
  if (end < start) throw badRequest('end timestamp must not be before or equal to start time');
  const limit = parseLimit(params, maxLines);
  const direction = parseDirection(params);
  const length = nanosToMillis(end - start);
  const step = secondsOrDuration(params, 'step') ?? defaultStep(length);
  if (step < 1) {
    throw badRequest(
      'zero or negative query resolution step widths are not accepted. Try a positive integer',
    );
  }
  if (length / step > MAX_POINTS) {
    throw badRequest(
      'exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter',
    );
  }
  const interval = secondsOrDuration(params, 'interval') ?? 0;
  if (interval < 0) throw badRequest('interval must be >= 0');
  return {
    expr: parseQuery(params),
    start,
    end,
    limit,
    direction,
    step: Math.round(step),
    interval: BigInt(Math.round(interval * 1e6)),
  };
}

/** A 250th of the range, at least a second. */
const defaultStep = (length: number): number => Math.max(Math.floor(length / 250_000), 1) * 1000;

function secondsOrDuration(params: Params, name: string): number | undefined {
  const text = params.get(name);
  if (text === undefined) return undefined;
  const ms = parseSecondsOrDuration(text);
  if (ms === undefined) {
    throw badRequest(`cannot parse ${quote(text)} to a valid duration (${name})`);
  }
  return ms;
}

/** `time`, in milliseconds. */
export function parseInstant(params: Params, now: Nanos): number {
  return Math.floor(nanosToMillis(time(params, 'time') ?? now));
}

/**
 * Stream selectors: alternatives of label matchers. `{}` is every stream.
 *
 * @throws bad_query, and bad_request for more than matchers
 */
export function parseSelectors(texts: readonly string[]): readonly (readonly Matcher[])[] {
  const selectors = texts.filter((text) => text !== '');
  if (selectors.some((text) => /^\s*\{\s*\}\s*$/.test(text))) return [];
  return selectors.map((text) => {
    const expr = parseLogQL(text);
    if (!isSelector(expr)) throw badRequest(`only label matchers are supported: ${quote(text)}`);
    return expr.matchers;
  });
}

const isSelector = (expr: LogExpr): expr is LogSelectorExpr =>
  expr.kind === 'logs' && expr.stages.length === 0;
