import type { LogExpr, LogSelectorExpr } from './ast.ts';
import { compilePipeline, type Pipeline } from './pipeline.ts';

export interface LogSelection {
  readonly pipeline: Pipeline;
  /** Milliseconds of data needed before the evaluation's time; 0 for a log query. */
  readonly lookback: number;
}

/** Every log selector of an expression: what a window in memory must hold, and tests lines with. */
export function logSelections(expr: LogExpr): LogSelection[] {
  switch (expr.kind) {
    case 'logs':
      return [select(expr, 0)];
    case 'range':
      return [select(expr.logs, expr.range + expr.offset)];
    case 'aggregate':
      return logSelections(expr.expr);
    case 'binary':
      return [...logSelections(expr.left), ...logSelections(expr.right)];
    default:
      return [];
  }
}

const select = (logs: LogSelectorExpr, lookback: number): LogSelection => ({
  pipeline: compilePipeline(logs),
  lookback: Math.max(0, lookback),
});
