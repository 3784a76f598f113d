import type { Labels } from '../core/labels.ts';
import { formatValue } from '../lang/format.ts';
import { asMatrix, type QueryValue } from '../lang/value.ts';

/** A query's value in the shape that Prometheus and Loki share. */

/** Seconds as a JSON number, and the value as text: JSON has no NaN and no infinities. */
type Point = readonly [seconds: number, value: string];

export type ResultData =
  | { readonly resultType: 'scalar' | 'string'; readonly result: Point }
  | {
      readonly resultType: 'vector';
      readonly result: readonly { readonly metric: Labels; readonly value: Point }[];
    }
  | {
      readonly resultType: 'matrix';
      readonly result: readonly { readonly metric: Labels; readonly values: readonly Point[] }[];
    };

const point = (ms: number, value: number): Point => [ms / 1000, formatValue(value)];

/** The answer of an instant query. */
export function renderInstant(value: QueryValue): ResultData {
  switch (value.type) {
    case 'scalar':
      return { resultType: 'scalar', result: point(value.timestamp, value.value) };
    case 'string':
      return { resultType: 'string', result: [value.timestamp / 1000, value.value] };
    case 'vector':
      return {
        resultType: 'vector',
        result: value.samples.map((sample) => ({
          metric: sample.labels,
          value: point(sample.timestamp, sample.value),
        })),
      };
    default:
      return renderRange(value);
  }
}

/** The answer of a range query: always a matrix. A string has none and gives no series. */
export function renderRange(value: QueryValue): ResultData {
  return {
    resultType: 'matrix',
    result: (asMatrix(value)?.series ?? []).map(({ labels, timestamps, values }) => ({
      metric: labels,
      values: Array.from(timestamps, (ms, index) => point(ms, values[index] ?? Number.NaN)),
    })),
  };
}

/** How many series an answer has, for the limit on them. */
export function seriesOf(data: ResultData): number {
  return data.resultType === 'vector' || data.resultType === 'matrix' ? data.result.length : 1;
}
