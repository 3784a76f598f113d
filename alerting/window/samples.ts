import type { MilliRange, SampleSeries } from '../../core/contracts/queryable.ts';
import { compileMatchers, type Labels, labelsKey, type Matcher } from '../../core/labels.ts';
import type { Origin, Sample } from '../../core/records/metric.ts';
import { SortedTimes } from './sorted.ts';

const SAMPLE_COST = 24;
const SERIES_COST = 600;

export const sampleKey = (matchers: readonly Matcher[]): string => JSON.stringify(matchers);

interface Series {
  readonly labels: Labels;
  readonly sorted: SortedTimes<number>;
  origin: Origin | undefined;
}

export interface NewestSample {
  readonly labels: Labels;
  readonly timestamp: number;
  readonly value: number;
  /** The value before it, if there is one. */
  readonly previous: number | undefined;
  readonly origin: Origin | undefined;
}

/** The samples of one selection that passed on the bus, by series. Times are milliseconds. */
export class SampleWindow {
  readonly key: string;
  readonly matchers: readonly Matcher[];
  /** Every sample of this time or later that passed is here. */
  begin: number;
  bytes = 0;
  readonly #matches: (labels: Labels) => boolean;
  readonly #series = new Map<string, Series>();

  constructor(matchers: readonly Matcher[], begin: number) {
    this.matchers = matchers;
    this.key = sampleKey(matchers);
    this.begin = begin;
    this.#matches = compileMatchers(matchers);
  }

  matches(labels: Labels): boolean {
    return this.#matches(labels);
  }

  /** Whose labels match. False: too old, or it is there already. */
  add(sample: Sample, key = labelsKey(sample.labels)): boolean {
    if (sample.timestamp < this.begin) return false;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels: sample.labels, sorted: new SortedTimes(), origin: undefined };
      this.#series.set(key, series);
      this.bytes += SERIES_COST;
    }
    const time = BigInt(Math.round(sample.timestamp));
    const { sorted } = series;
    const after = sorted.after(time);
    if (after > 0 && sorted.time(after - 1) === time) return false;
    if (sorted.insert(time, sample.value) === sorted.length - 1) series.origin = sample.origin;
    this.bytes += SAMPLE_COST;
    return true;
  }

  /** Gives up what is before `begin`. @returns how many samples */
  trim(begin: number): number {
    if (begin <= this.begin) return 0;
    this.begin = begin;
    let dropped = 0;
    for (const [key, { sorted }] of this.#series) {
      const old = sorted.from(BigInt(Math.ceil(begin)));
      sorted.dropFirst(old, () => {
        this.bytes -= SAMPLE_COST;
      });
      dropped += old;
      if (sorted.length === 0) {
        this.#series.delete(key);
        this.bytes -= SERIES_COST;
      }
    }
    return dropped;
  }

  /** The time before which about half of the samples lie. */
  middle(): number {
    let largest: SortedTimes<number> | undefined;
    for (const { sorted } of this.#series.values()) {
      if (largest === undefined || sorted.length > largest.length) largest = sorted;
    }
    return largest === undefined ? this.begin : Number(largest.time(largest.length >>> 1)) + 1;
  }

  /** Both ends inclusive. */
  select({ start, end }: MilliRange): SampleSeries[] {
    const found: SampleSeries[] = [];
    for (const { labels, sorted } of this.#series.values()) {
      const from = sorted.from(BigInt(Math.ceil(start)));
      const to = sorted.after(BigInt(Math.floor(end)));
      if (to <= from) continue;
      const timestamps = new Float64Array(to - from);
      const values = new Float64Array(to - from);
      for (let index = from; index < to; index++) {
        timestamps[index - from] = Number(sorted.time(index));
        values[index - from] = sorted.item(index);
      }
      found.push({ labels, timestamps, values });
    }
    return found;
  }

  /** Of each series for whose labels `wanted` holds, its newest sample in the range. */
  newest(wanted: (labels: Labels) => boolean, { start, end }: MilliRange): NewestSample[] {
    const found: NewestSample[] = [];
    for (const { labels, sorted, origin } of this.#series.values()) {
      if (!wanted(labels)) continue;
      const index = sorted.after(BigInt(Math.floor(end))) - 1;
      if (index < 0 || sorted.time(index) < BigInt(Math.ceil(start))) continue;
      found.push({
        labels,
        timestamp: Number(sorted.time(index)),
        value: sorted.item(index),
        previous: index > 0 ? sorted.item(index - 1) : undefined,
        origin,
      });
    }
    return found;
  }
}
