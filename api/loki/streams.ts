import type { LogRow } from '../../core/contracts/queryable.ts';
import { formatLabels, type Labels } from '../../core/labels.ts';
import type { Nanos } from '../../core/time.ts';

export interface StreamResult {
  readonly stream: Labels;
  /** Nanoseconds as text, and the line. */
  readonly values: (readonly [nanos: string, line: string])[];
}

/**
 * Rows by their labels, which have structured metadata and parsed fields among them, as Loki
 * answers: streams sorted by labels, each in the query's order.
 */
export class StreamSet {
  readonly #streams = new Map<string, StreamResult>();
  // Rows of a stream mostly share one object: its text need not be made for each.
  readonly #known = new Map<Labels, StreamResult>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(row: LogRow): void {
    const { labels } = row;
    let stream = this.#known.get(labels);
    if (stream === undefined) {
      const key = formatLabels(labels);
      stream = this.#streams.get(key);
      if (stream === undefined) {
        stream = { stream: labels, values: [] };
        this.#streams.set(key, stream);
      }
      this.#known.set(labels, stream);
    }
    stream.values.push([row.timestamp.toString(), row.line]);
    this.#size++;
  }

  result(): StreamResult[] {
    return [...this.#streams]
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([, stream]) => stream);
  }
}

/** Loki's `interval`: a line only if it is so far from the last one taken. */
export function spaced(
  interval: Nanos,
  direction: 'forward' | 'backward',
): (row: LogRow) => boolean {
  if (interval === 0n) return () => true;
  let last: Nanos | undefined;
  return ({ timestamp }) => {
    const distance = direction === 'forward' ? interval : -interval;
    const next = last === undefined ? undefined : last + distance;
    const take =
      next === undefined || (direction === 'forward' ? timestamp >= next : timestamp <= next);
    if (take) last = timestamp;
    return take;
  };
}
