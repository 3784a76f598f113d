import type { Queryable } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Labels, Matcher } from '../../core/labels.ts';
import { evaluateLogMetric } from '../../lang/logql/evaluate.ts';
import { parseLogQL } from '../../lang/logql/parse.ts';
import { type LogSelection, logSelections } from '../../lang/logql/select.ts';
import { evaluatePromQL } from '../../lang/promql/evaluate.ts';
import { parsePromQL } from '../../lang/promql/parse.ts';
import { sampleSelections } from '../../lang/promql/select.ts';
import type { QueryValue } from '../../lang/value.ts';

export interface SampleSelection {
  readonly matchers: readonly Matcher[];
  /** Milliseconds. */
  readonly lookback: number;
}

export interface ResultSample {
  readonly labels: Labels;
  readonly value: number;
}

/** A rule's expression, of either language. */
export interface Query {
  readonly kind: 'promql' | 'logql';
  readonly text: string;
  readonly logs: readonly LogSelection[];
  readonly samples: readonly SampleSelection[];
  /** Its value at one time, milliseconds. @throws bad_query, limit_exceeded, unavailable, … */
  evaluate(data: Queryable, at: number, signal: AbortSignal): Promise<readonly ResultSample[]>;
}

/** @throws bad_query with the place within the text */
export function compileQuery(kind: 'promql' | 'logql', text: string): Query {
  return kind === 'promql' ? promql(text) : logql(text);
}

function promql(text: string): Query {
  const expr = parsePromQL(text);
  if (expr.kind === 'string' || expr.kind === 'matrix' || expr.kind === 'subquery') {
    const given = expr.kind === 'string' ? 'a string' : 'a range vector';
    throw new ReflexarcError(
      'bad_query',
      `a rule needs a vector or a number, and this is ${given}`,
      {
        where: expr.where,
        ...(expr.kind === 'string' ? {} : { hint: 'put a function such as rate() around it' }),
      },
    );
  }
  return {
    kind: 'promql',
    text,
    logs: [],
    samples: sampleSelections(expr),
    async evaluate(data, at, signal) {
      return vectorOf(await evaluatePromQL(expr, data, { start: at, end: at, step: 0 }, signal));
    },
  };
}

function logql(text: string): Query {
  const expr = parseLogQL(text);
  if (expr.kind === 'logs') {
    throw new ReflexarcError('bad_query', 'a rule needs a number, and this selects lines', {
      where: expr.where,
      hint: 'count them, as in count_over_time({…} [1m]) > 0',
    });
  }
  return {
    kind: 'logql',
    text,
    logs: logSelections(expr),
    samples: [],
    async evaluate(data, at, signal) {
      return vectorOf(await evaluateLogMetric(expr, data, { start: at, end: at, step: 0 }, signal));
    },
  };
}

function vectorOf(value: QueryValue): readonly ResultSample[] {
  if (value.type === 'vector') return value.samples;
  if (value.type === 'scalar') return [{ labels: {}, value: value.value }];
  throw new ReflexarcError('bad_query', `a rule needs a vector or a number, not a ${value.type}`);
}
