import type { Where } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import { labelsKey } from '../../core/labels.ts';
import { ABSENT, emptyValues, type Grid, hasSample, type StepSeries } from '../series/grid.ts';
import { drop, labelOf } from '../series/labels.ts';
import { mergeSame } from '../series/merge.ts';
import { parsePromNumber } from './numbers.ts';

interface Bucket {
  /** Upper bound, inclusive. */
  readonly bound: number;
  readonly count: number;
}

/**
 * `histogram_quantile` on classic histograms: series of one histogram differ in `le` alone.
 * https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
 */
export function histogramQuantile(
  phi: Float64Array,
  vector: readonly StepSeries[],
  grid: Grid,
  where: Where,
): StepSeries[] {
  const groups = new Map<
    string,
    { labels: Labels; buckets: { bound: number; values: Float64Array }[] }
  >();
  const dropped = new Set(['le']);
  for (const series of vector) {
    const bound = parseBound(labelOf(series.labels, 'le'));
    // Without a bound it is no bucket of a classic histogram.
    if (bound === undefined) continue;
    const name = labelOf(series.labels, '__name__');
    const labels = drop(series.labels, dropped);
    const key = `${name}\u0002${labelsKey(labels)}`;
    const group = groups.get(key) ?? { labels, buckets: [] };
    groups.set(key, group);
    group.buckets.push({ bound, values: series.values });
  }
  const out: StepSeries[] = [];
  for (const { labels, buckets } of groups.values()) {
    const values = emptyValues(grid);
    for (let i = 0; i < grid.count; i++) {
      const present: Bucket[] = [];
      for (const bucket of buckets) {
        const count = bucket.values[i] ?? ABSENT;
        if (count !== ABSENT) present.push({ bound: bucket.bound, count });
      }
      if (present.length > 0) values[i] = bucketQuantile(phi[i] ?? Number.NaN, present);
    }
    if (hasSample(values)) out.push({ labels, values });
  }
  return mergeSame(out, where);
}

function parseBound(text: string): number | undefined {
  const found = /^([+-]?)(.+)$/.exec(text);
  // A duration is no bound, though it is a number in PromQL.
  if (found?.[2] === undefined || /[hmsdwy]/.test(text)) return undefined;
  const value = /^inf(inity)?$/i.test(found[2]) ? Infinity : parsePromNumber(found[2]);
  return value === undefined ? undefined : found[1] === '-' ? -value : value;
}

/** Differences this small, relative to the counts, come from adding floats. */
const TOLERANCE = 1e-12;

function bucketQuantile(phi: number, unsorted: readonly Bucket[]): number {
  if (Number.isNaN(phi)) return Number.NaN;
  if (phi < 0) return -Infinity;
  if (phi > 1) return Infinity;
  const sorted = unsorted.toSorted((a, b) => (a.bound < b.bound ? -1 : a.bound > b.bound ? 1 : 0));
  if (sorted.at(-1)?.bound !== Infinity) return Number.NaN;
  const buckets = monotonic(coalesce(sorted));
  const last = buckets.at(-1);
  if (buckets.length < 2 || last === undefined || last.count === 0) return Number.NaN;
  if (Number.isNaN(last.count)) return Number.NaN;
  let rank = phi * last.count;
  const index = buckets.findIndex((b, i) => i === buckets.length - 1 || b.count >= rank);
  const bucket = buckets[index];
  const before = buckets[index - 1];
  if (bucket === undefined) return Number.NaN;
  if (index === buckets.length - 1) return before?.bound ?? Number.NaN;
  if (index === 0 && bucket.bound <= 0) return bucket.bound;
  const from = before?.bound ?? 0;
  let count = bucket.count;
  if (before !== undefined) {
    count -= before.count;
    rank -= before.count;
  }
  return from + (bucket.bound - from) * (rank / count);
}

/** Buckets with one bound, as after an aggregation over differently written `le`, are added. */
function coalesce(sorted: readonly Bucket[]): Bucket[] {
  const out: Bucket[] = [];
  for (const bucket of sorted) {
    const last = out.at(-1);
    if (last?.bound === bucket.bound) {
      out[out.length - 1] = { bound: last.bound, count: last.count + bucket.count };
    } else out.push(bucket);
  }
  return out;
}

/** Counts rise with the bound; where they do not, the count before holds. */
function monotonic(buckets: readonly Bucket[]): Bucket[] {
  let before = buckets[0]?.count ?? 0;
  return buckets.map(({ bound, count }, index) => {
    if (index > 0 && count !== before) {
      const near =
        Math.abs(count - before) <= TOLERANCE * Math.max(Math.abs(count), Math.abs(before));
      if (near || count < before) return { bound, count: before };
    }
    before = count;
    return { bound, count };
  });
}
