import { decodeSamples } from '../../../core/records/codec.ts';
import { millisToNanos } from '../../../core/time.ts';
import { Numbers, Rows } from './columns.ts';
import type { Dictionary } from './dictionary.ts';
import type { Lane } from './lane.ts';
import { lineOf } from './logs.ts';
import { type BadRow, type Decoded, fits, NO_TIME, type Sifted, type Table } from './table.ts';

/** Samples, by series and time. */
interface SampleBatch extends Decoded {
  readonly times: bigint[];
  readonly series: number[];
  readonly values: number[];
}

export class SampleTable implements Table<SampleBatch> {
  readonly topic = 'metrics';
  readonly reference = 'series';
  // A query wants few series over long times.
  readonly order = 'series, ts, seq';
  readonly columns = [
    { name: 'series', type: 'INTEGER' },
    { name: 'value', type: 'DOUBLE' },
  ] as const;

  readonly #dictionary: Dictionary;
  /** The newest time of each series seen since the start: what is above it is new. */
  readonly #newest = new Map<number, bigint>();

  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  decode(given: readonly Uint8Array[]): SampleBatch {
    const times: bigint[] = [];
    const series: number[] = [];
    const values: number[] = [];
    const bad: BadRow[] = [];
    for (const [value, bytes] of given.entries()) {
      const decoded = decodeSamples(bytes);
      for (const { line, original, error } of decoded.bad) {
        bad.push({ value, line, original, reason: error.message });
      }
      for (const [index, sample] of decoded.records.entries()) {
        // Milliseconds are what Prometheus' samples have.
        const time = millisToNanos(Math.round(sample.timestamp));
        if (!fits(time)) {
          const line = decoded.lines[index] ?? 0;
          bad.push({ value, line, original: lineOf(bytes, line), reason: NO_TIME });
          continue;
        }
        times.push(time);
        series.push(this.#dictionary.ofSeries(sample.labels).id);
        values.push(sample.value);
      }
    }
    return { rows: times.length, times, series, values, bad };
  }

  async sift(batches: readonly SampleBatch[], _: number, lane: Lane<SampleBatch>): Promise<Sifted> {
    const undo = new Map<number, bigint | undefined>();
    const allTime = lane.newestTime();
    // Times at or before the newest of their series: late, or a repeat.
    const doubtful = new Map<number, Set<bigint>>();
    const taken = new Set<string>();
    const newest = new Map<number, bigint>();
    for (const { times, series } of batches) {
      for (const [index, id] of series.entries()) {
        const time = times[index] ?? 0n;
        const before = this.#newest.get(id) ?? (allTime === undefined ? -1n << 63n : allTime);
        if (time <= before) {
          const set = doubtful.get(id) ?? new Set();
          doubtful.set(id, set.add(time));
        }
        if (time > (newest.get(id) ?? before)) newest.set(id, time);
      }
    }
    const known = await lane.knownSamples(doubtful);
    const references = new Set<number>();
    const outSeries = new Numbers('INTEGER');
    const outValues = new Numbers('DOUBLE');
    const rows = new Rows([outSeries, outValues]);
    const counts: { stored: number; repeated: number }[] = [];
    for (const { times, series, values } of batches) {
      let stored = 0;
      for (const [index, id] of series.entries()) {
        const time = times[index] ?? 0n;
        const key = sampleKey(id, time);
        if (known.has(key) || taken.has(key)) continue;
        taken.add(key);
        stored++;
        references.add(id);
        rows.times.pushBigint(time);
        outSeries.set(rows.count, id);
        outValues.set(rows.count, values[index] ?? 0);
        rows.count++;
      }
      counts.push({ stored, repeated: times.length - stored });
    }
    for (const [id, time] of newest) {
      undo.set(id, this.#newest.get(id));
      this.#newest.set(id, time);
    }
    return {
      rows,
      counts,
      ids: [],
      references,
      undo: () => {
        for (const [id, time] of undo) {
          if (time === undefined) this.#newest.delete(id);
          else this.#newest.set(id, time);
        }
      },
    };
  }

  /** After the dictionary forgot some. */
  forget(used: ReadonlySet<number>): void {
    for (const id of this.#newest.keys()) if (!used.has(id)) this.#newest.delete(id);
  }
}

export const sampleKey = (series: number, time: bigint): string => `${series}:${time}`;
