import type { MilliRange, SampleSeries } from '../../../core/contracts/queryable.ts';
import type { Matcher } from '../../../core/labels.ts';
import { millisToNanos } from '../../../core/time.ts';
import { oneOf } from './filters.ts';
import type { Lane } from './lane.ts';
import { matching } from './select-logs.ts';
import { clampNanos, type Decoded } from './table.ts';

/** Samples of the series that match, each by time. */
export async function selectSamples(
  lane: Lane<Decoded>,
  query: MilliRange & { readonly matchers: readonly Matcher[] },
  signal: AbortSignal,
): Promise<SampleSeries[]> {
  const entries = matching(lane, query.matchers);
  if (entries.size === 0 || query.end < query.start) return [];
  const { from, to } = bounds(query);
  const view = await lane.view(from, to, new Set(entries.keys()));
  try {
    const where = oneOf('series', entries.keys(), entries.size === lane.dictionary?.size);
    const build = (): string | undefined => {
      const rows = view.sql('series, ts, value', where, from, to);
      return rows === undefined ? undefined : `SELECT * FROM (${rows}) ORDER BY series, ts`;
    };
    const found = new Map<number, Growing>();
    await view.each(
      build,
      [],
      signal,
      () => found.clear(),
      (part) => {
        const times = part.bigints(1);
        const values = part.numbers(2);
        for (const [index, id] of part.numbers(0).entries()) {
          let series = found.get(id);
          if (series === undefined) {
            series = new Growing();
            found.set(id, series);
          }
          series.push(Number((times[index] ?? 0n) / 1_000_000n), values[index] ?? 0);
        }
      },
    );
    return [...found].map(([id, series]) => ({
      labels: entries.get(id)?.labels ?? {},
      ...series.finish(),
    }));
  } finally {
    view.release();
  }
}

/** Milliseconds, both inclusive, as nanoseconds with an exclusive end. */
export function bounds({ start, end }: MilliRange): { readonly from: bigint; readonly to: bigint } {
  // Infinities are what a caller without a bound has.
  const limit = 9e12;
  return {
    from: clampNanos(millisToNanos(Math.ceil(Math.max(-limit, Math.min(limit, start))))),
    to: clampNanos(millisToNanos(Math.floor(Math.max(-limit, Math.min(limit, end)))) + 1n),
  };
}

class Growing {
  #times = new Float64Array(64);
  #values = new Float64Array(64);
  #length = 0;

  push(time: number, value: number): void {
    if (this.#length === this.#times.length) {
      this.#times = grow(this.#times);
      this.#values = grow(this.#values);
    }
    this.#times[this.#length] = time;
    this.#values[this.#length++] = value;
  }

  finish(): { readonly timestamps: Float64Array; readonly values: Float64Array } {
    return {
      timestamps: this.#times.slice(0, this.#length),
      values: this.#values.slice(0, this.#length),
    };
  }
}

function grow(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}
