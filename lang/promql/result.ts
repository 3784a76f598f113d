import type { Grid, StepSeries } from '../series/grid.ts';
import type { Pace } from '../series/pace.ts';
import type { PromExpr } from './ast.ts';
import type { Bounds, Data, Windows } from './data.ts';

/** One expression's result over all steps of a grid. */
export type Result =
  | { readonly kind: 'scalar'; readonly values: Float64Array }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'vector'; readonly series: readonly StepSeries[] }
  | { readonly kind: 'windows'; readonly windows: Windows };

/** What a function needs to evaluate its arguments; the checker has made sure of their types. */
export interface Evaluation {
  readonly data: Data;
  readonly pace: Pace;
  readonly bounds: Bounds;
  vector(expr: PromExpr, grid: Grid): Promise<readonly StepSeries[]>;
  scalar(expr: PromExpr, grid: Grid): Promise<Float64Array>;
  windows(expr: PromExpr, grid: Grid): Promise<Windows>;
}
