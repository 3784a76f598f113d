import type { Queryable } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Labels, Matcher } from '../../core/labels.ts';
import type { LogExpr } from '../../lang/logql/ast.ts';
import { evaluateLogMetric } from '../../lang/logql/evaluate.ts';
import { parseLogQL } from '../../lang/logql/parse.ts';
import { type LogSelection, logSelections } from '../../lang/logql/select.ts';
import type { PromExpr } from '../../lang/promql/ast.ts';
import { evaluatePromQL } from '../../lang/promql/evaluate.ts';
import { parsePromQL } from '../../lang/promql/parse.ts';
import { sampleSelections } from '../../lang/promql/select.ts';
import type { QueryValue } from '../../lang/value.ts';

export interface SampleSelection {
  readonly matchers: readonly Matcher[];
  /** Milliseconds. */
  readonly lookback: number;
}

/** A selection whose samples make the expression true. */
export interface SampleCause extends SampleSelection {
  /** It looks at a span, so that only a sample that changed is news. */
  readonly range: boolean;
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
  /**
   * The selections whose records speak for the alert: not a divisor's, not a bound's, and none
   * under `absent`, where a record would speak against it.
   */
  readonly causes: {
    readonly logs: readonly LogSelection[];
    readonly samples: readonly SampleCause[];
  };
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
    causes: { logs: [], samples: sampleCauses(expr) },
    async evaluate(data, at, signal) {
      return vectorOf(await evaluatePromQL(expr, data, { start: at, end: at, step: 1 }, signal));
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
    causes: { logs: logCauses(expr), samples: [] },
    async evaluate(data, at, signal) {
      return vectorOf(await evaluateLogMetric(expr, data, { start: at, end: at, step: 1 }, signal));
    },
  };
}

function vectorOf(value: QueryValue): readonly ResultSample[] {
  if (value.type === 'vector') return value.samples;
  if (value.type === 'scalar') return [{ labels: {}, value: value.value }];
  throw new ReflexarcError('bad_query', `a rule needs a vector or a number, not a ${value.type}`);
}

/** Of these the right side is a measure for the left one. */
const ONE_SIDED: ReadonlySet<string> = new Set([
  '/',
  '-',
  '%',
  '==',
  '!=',
  '>',
  '<',
  '>=',
  '<=',
  'unless',
]);

function logCauses(expr: LogExpr): readonly LogSelection[] {
  switch (expr.kind) {
    case 'range':
      return expr.op === 'absent_over_time' ? [] : logSelections(expr);
    case 'aggregate':
      return logCauses(expr.expr);
    case 'binary':
      return eitherSide(expr.op, expr.left, expr.right, logCauses);
    default:
      return logSelections(expr);
  }
}

function sampleCauses(expr: PromExpr): readonly SampleCause[] {
  switch (expr.kind) {
    case 'matrix':
    case 'subquery':
      return sampleSelections(expr).map((selection) => ({ ...selection, range: true }));
    case 'call':
      return expr.name.startsWith('absent') ? [] : expr.args.flatMap(sampleCauses);
    case 'aggregate':
    case 'negate':
      return sampleCauses(expr.expr);
    case 'binary':
      return eitherSide(expr.op, expr.left, expr.right, sampleCauses);
    default:
      return sampleSelections(expr).map((selection) => ({ ...selection, range: false }));
  }
}

function eitherSide<E, T>(
  op: string,
  left: E,
  right: E,
  causesOf: (expr: E) => readonly T[],
): readonly T[] {
  const first = causesOf(left);
  return ONE_SIDED.has(op) && first.length > 0 ? first : [...first, ...causesOf(right)];
}
