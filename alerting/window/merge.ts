import type { CountSeries, SampleSeries } from '../../core/contracts/queryable.ts';
import { labelsKey } from '../../core/labels.ts';
import type { Nanos } from '../../core/time.ts';

/** Counts of disjoint spans of time, added up. */
export function mergeCounts(parts: readonly (readonly CountSeries[])[]): CountSeries[] {
  const merged = new Map<string, { labels: CountSeries['labels']; points: Map<Nanos, number> }>();
  for (const { labels, points } of parts.flat()) {
    const key = labelsKey(labels);
    const series = merged.get(key) ?? { labels, points: new Map<Nanos, number>() };
    for (const { at, value } of points) series.points.set(at, (series.points.get(at) ?? 0) + value);
    merged.set(key, series);
  }
  return [...merged.values()].map(({ labels, points }) => ({
    labels,
    points: [...points].sort(([a], [b]) => (a < b ? -1 : 1)).map(([at, value]) => ({ at, value })),
  }));
}

/** `older` ends before `newer` begins. */
export function mergeSamples(
  older: readonly SampleSeries[],
  newer: readonly SampleSeries[],
): SampleSeries[] {
  const rest = new Map(newer.map((series) => [labelsKey(series.labels), series]));
  const merged = older.map((series) => {
    const key = labelsKey(series.labels);
    const next = rest.get(key);
    rest.delete(key);
    if (next === undefined) return series;
    return {
      labels: series.labels,
      timestamps: concat(series.timestamps, next.timestamps),
      values: concat(series.values, next.values),
    };
  });
  return [...merged, ...rest.values()];
}

function concat(a: Float64Array, b: Float64Array): Float64Array {
  const both = new Float64Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
