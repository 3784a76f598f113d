import { ReflexarcError } from '../../core/errors.ts';
import type { MatrixValue, VectorValue } from '../value.ts';
import { ABSENT, type Grid, type StepSeries, timesOf } from './grid.ts';
import { compareLabels } from './labels.ts';

/** @throws bad_query when the range runs backwards or has no step */
export function gridOf(range: { start: number; end: number; step: number }): Grid {
  const { start, end, step } = range;
  if (start === end) return { start, step: 1, count: 1 };
  if (!(end > start)) throw new ReflexarcError('bad_query', 'the end must not be before the start');
  if (!(step > 0)) throw new ReflexarcError('bad_query', 'the step must be greater than 0');
  return { start, step, count: Math.floor((end - start) / step) + 1 };
}

/** At a grid's only step. */
export function toVector(vector: readonly StepSeries[], grid: Grid): VectorValue {
  const samples = [];
  for (const { labels, values } of vector) {
    const value = values[0] ?? ABSENT;
    if (value !== ABSENT) samples.push({ labels, timestamp: grid.start, value });
  }
  return { type: 'vector', samples };
}

export function toMatrix(vector: readonly StepSeries[], grid: Grid): MatrixValue {
  const times = timesOf(grid);
  const series = [];
  for (const { labels, values } of vector) {
    const present = (_: number, i: number) => values[i] !== ABSENT;
    const kept = values.filter(present);
    if (kept.length === 0) continue;
    series.push({ labels, timestamps: times.filter(present), values: kept });
  }
  return { type: 'matrix', series: series.sort((a, b) => compareLabels(a.labels, b.labels)) };
}
