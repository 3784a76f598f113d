import type { Labels } from '../core/labels.ts';
import { compareLabels } from './series/labels.ts';

/** What a query gives. Times are milliseconds since the epoch. */
export type QueryValue = ScalarValue | StringValue | VectorValue | MatrixValue;

export interface ScalarValue {
  readonly type: 'scalar';
  readonly timestamp: number;
  readonly value: number;
}

export interface StringValue {
  readonly type: 'string';
  readonly timestamp: number;
  readonly value: string;
}

/** In the order of evaluation: `sort` and `topk` show; otherwise as the series were selected. */
export interface VectorValue {
  readonly type: 'vector';
  readonly samples: readonly VectorSample[];
}

export interface VectorSample {
  readonly labels: Labels;
  readonly timestamp: number;
  readonly value: number;
}

/** Sorted by labels. */
export interface MatrixValue {
  readonly type: 'matrix';
  readonly series: readonly MatrixSeries[];
}

/** Both arrays have the same length, never zero; timestamps rise. */
export interface MatrixSeries {
  readonly labels: Labels;
  readonly timestamps: Float64Array;
  readonly values: Float64Array;
}

/**
 * The value as the answer of a range query, which is a matrix also where it has a single step and
 * where the expression is a scalar. A string has no such form: undefined.
 */
export function asMatrix(value: QueryValue): MatrixValue | undefined {
  if (value.type === 'matrix') return value;
  if (value.type === 'string') return undefined;
  const samples: readonly VectorSample[] =
    value.type === 'vector' ? value.samples : [{ ...value, labels: {} }];
  const series = samples.map(({ labels, timestamp, value: v }) => ({
    labels,
    timestamps: Float64Array.of(timestamp),
    values: Float64Array.of(v),
  }));
  return { type: 'matrix', series: series.sort((a, b) => compareLabels(a.labels, b.labels)) };
}
