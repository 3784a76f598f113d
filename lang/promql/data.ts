import type { SampleQueryable, SampleSeries } from '../../core/contracts/queryable.ts';
import { throwIfAborted } from '../../core/errors.ts';
import { type Labels, labelsKey, type Matcher } from '../../core/labels.ts';
import { isStale } from '../../core/records/metric.ts';
import { ABSENT, type Grid, hasSample, type StepSeries, timeAt, timesOf } from '../series/grid.ts';
import { compareLabels } from '../series/labels.ts';
import type { Pace } from '../series/pace.ts';
import type { MatrixNode, SelectorNode, Shift } from './ast.ts';
import { LOOKBACK } from './select.ts';

/** A range vector: samples as they are, and for each step the end of its window. */
export interface Windows {
  /** Without staleness markers, sorted by labels. */
  readonly series: readonly SampleSeries[];
  readonly range: number;
  /** Never falling. */
  readonly ends: Float64Array;
}

/** The whole query's ends, for `@ start()` and `@ end()`. */
export interface Bounds {
  readonly start: number;
  readonly end: number;
}

/** When a selector looks, for each step. */
export function shifted({ at, offset }: Shift, grid: Grid, bounds: Bounds): Float64Array {
  const fixed =
    at === undefined
      ? undefined
      : at === 'start'
        ? bounds.start
        : at === 'end'
          ? bounds.end
          : at.time;
  return Float64Array.from({ length: grid.count }, (_, i) => (fixed ?? timeAt(grid, i)) - offset);
}

/** Reads what selectors need; the same selection is read once. */
export class Data {
  readonly #queryable: SampleQueryable;
  readonly #pace: Pace;
  readonly #read = new Map<string, Promise<readonly SampleSeries[]>>();

  constructor(queryable: SampleQueryable, pace: Pace) {
    this.#queryable = queryable;
    this.#pace = pace;
  }

  /** Samples in `(before, until]`, by labels. */
  async #select(
    matchers: readonly Matcher[],
    before: number,
    until: number,
  ): Promise<readonly SampleSeries[]> {
    const range = { start: Math.floor(before) + 1, end: Math.floor(until) };
    const key = JSON.stringify([matchers, range.start, range.end]);
    let reading = this.#read.get(key);
    if (reading === undefined) {
      reading = this.#fetch(matchers, range);
      this.#read.set(key, reading);
    }
    return reading;
  }

  async #fetch(
    matchers: readonly Matcher[],
    range: { start: number; end: number },
  ): Promise<readonly SampleSeries[]> {
    throwIfAborted(this.#pace.signal);
    const found = await this.#queryable.selectSamples({ matchers, ...range }, this.#pace.signal);
    throwIfAborted(this.#pace.signal);
    this.#pace.read(found.reduce((total, { timestamps }) => total + timestamps.length, 0));
    return found.toSorted((a, b) => compareLabels(a.labels, b.labels));
  }

  /**
   * The newest sample of each series within the lookback, at each step. A staleness marker ends a
   * series. `what`: its value, or its own time in seconds.
   */
  async instant(
    selector: SelectorNode,
    grid: Grid,
    bounds: Bounds,
    what: 'value' | 'time' = 'value',
  ): Promise<StepSeries[]> {
    const times = shifted(selector, grid, bounds);
    const first = times[0] ?? 0;
    const last = times.at(-1) ?? 0;
    const found = await this.#select(selector.matchers, first - LOOKBACK, last);
    this.#pace.made(found.length, grid.count);
    const out: StepSeries[] = [];
    for (const { labels, timestamps, values } of found) {
      let next = 0;
      const picked = times.map((time) => {
        while (next < timestamps.length && (timestamps[next] ?? 0) <= time) next++;
        const at = timestamps[next - 1];
        const value = values[next - 1];
        if (at === undefined || value === undefined || at <= time - LOOKBACK) return ABSENT;
        if (isStale(value)) return ABSENT;
        return what === 'time' ? at / 1000 : value;
      });
      if (hasSample(picked)) out.push({ labels, values: picked });
      await this.#pace.worked(times.length + timestamps.length);
    }
    return out;
  }

  async windows({ selector, range }: MatrixNode, grid: Grid, bounds: Bounds): Promise<Windows> {
    const ends = shifted(selector, grid, bounds);
    const before = (ends[0] ?? 0) - range;
    const found = await this.#select(selector.matchers, before, ends.at(-1) ?? 0);
    this.#pace.made(found.length, grid.count);
    return { series: found.map(withoutMarkers), range, ends };
  }
}

function withoutMarkers(series: SampleSeries): SampleSeries {
  if (!series.values.some(isStale)) return series;
  const keep = (_: number, index: number) => !isStale(series.values[index] ?? 0);
  return {
    labels: series.labels,
    timestamps: series.timestamps.filter(keep),
    values: series.values.filter(keep),
  };
}

/** A subquery's steps become samples. */
export function samplesOf(vector: readonly StepSeries[], grid: Grid): SampleSeries[] {
  const times = timesOf(grid);
  return vector.map(({ labels, values }) => {
    const keep = (_: number, index: number) => values[index] !== ABSENT;
    return { labels, timestamps: times.filter(keep), values: values.filter(keep) };
  });
}

/** Whether two series share their labels. */
export function firstRepeated(all: readonly { labels: Labels }[]): Labels | undefined {
  const seen = new Set<string>();
  for (const { labels } of all) {
    const key = labelsKey(labels);
    if (seen.has(key)) return labels;
    seen.add(key);
  }
  return undefined;
}
