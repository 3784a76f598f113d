import type { Labels } from '../../core/labels.ts';
import { STALE_MARKER } from '../../core/records/metric.ts';

/** The times at which an expression is evaluated: `start + i * step` for i below `count`. */
export interface Grid {
  readonly start: number;
  /** Positive; of no meaning where `count` is 1. */
  readonly step: number;
  readonly count: number;
}

/** One series over all steps of a grid. Where it has no sample the value is ABSENT. */
export interface StepSeries {
  readonly labels: Labels;
  readonly values: Float64Array;
}

/** No sample here: the one value that no sample has. NaN is a sample like any other. */
export const ABSENT: number = STALE_MARKER;

export const timeAt = (grid: Grid, index: number): number => grid.start + index * grid.step;

/** The steps' times in milliseconds. */
export const timesOf = (grid: Grid): Float64Array =>
  Float64Array.from({ length: grid.count }, (_, index) => timeAt(grid, index));

export function emptyValues(grid: Grid): Float64Array {
  return new Float64Array(grid.count).fill(ABSENT);
}

export function hasSample(values: Float64Array): boolean {
  for (const value of values) if (value !== ABSENT) return true;
  return false;
}
