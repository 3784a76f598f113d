import type { Matcher } from '../../core/labels.ts';
import type { PromExpr } from './ast.ts';

/** How far back an instant selector looks for its newest sample: Prometheus' default. */
export const LOOKBACK = 300_000;

export interface SampleSelection {
  readonly matchers: readonly Matcher[];
  /** Milliseconds of data needed before the evaluation's time. Infinity: `@` looks at a fixed one. */
  readonly lookback: number;
}

/** Every selector of an expression: what a window in memory must hold. */
export function sampleSelections(expr: PromExpr): SampleSelection[] {
  return collect(expr, 0);
}

function collect(expr: PromExpr, before: number): SampleSelection[] {
  switch (expr.kind) {
    case 'number':
    case 'string':
      return [];
    case 'selector': {
      const back = expr.at === undefined ? before + expr.offset + LOOKBACK : Infinity;
      return [{ matchers: expr.matchers, lookback: Math.max(0, back) }];
    }
    case 'matrix': {
      const { at, offset, matchers } = expr.selector;
      const back = at === undefined ? before + offset + expr.range : Infinity;
      return [{ matchers, lookback: Math.max(0, back) }];
    }
    case 'subquery': {
      const back = expr.at === undefined ? before + expr.offset + expr.range : Infinity;
      return collect(expr.expr, back);
    }
    case 'call':
      return expr.args.flatMap((arg) => collect(arg, before));
    case 'aggregate':
      return [
        ...(expr.param === undefined ? [] : collect(expr.param, before)),
        ...collect(expr.expr, before),
      ];
    case 'binary':
      return [...collect(expr.left, before), ...collect(expr.right, before)];
    default:
      return collect(expr.expr, before);
  }
}
