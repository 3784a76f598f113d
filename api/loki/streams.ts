import type { LogRow } from '../../core/contracts/queryable.ts';
import { formatLabels, type Labels } from '../../core/labels.ts';
import type { Nanos } from '../../core/time.ts';

export interface StreamResult {
  readonly stream: Labels;
  /** Nanoseconds as text, and the line. */
  readonly values: (readonly [nanos: string, line: string])[];
}

/** Rows by their labels, as Loki answers: streams sorted by labels, each in the query's order. */
export class StreamSet {
  readonly #streams = new Map<string, StreamResult>();
  // Rows of a stream mostly share one object: its text need not be made for each.
  readonly #known = new Map<Labels, StreamResult>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(row: LogRow): void {
    const labels = withMetadata(row.labels, row.metadata);
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

/** A stream's own label wins; the metadata of the same name gets `_extracted`, as in Loki. */
export function withMetadata(labels: Labels, metadata: Labels | undefined): Labels {
  if (metadata === undefined) return labels;
  return Object.fromEntries([
    ...Object.entries(labels),
    ...Object.entries(metadata).map(([name, value]) => [
      Object.hasOwn(labels, name) && labels[name] !== value ? `${name}_extracted` : name,
      value,
    ]),
  ]) as Labels;
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
