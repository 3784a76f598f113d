import { type Labels, labelsKey } from '../../core/labels.ts';
import type { Origin, Sample } from '../../core/records/metric.ts';
import { STALE_MARKER } from '../../core/records/metric.ts';

/** One measurement: the series' labels without `__name__`. */
export interface Measurement {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** Samples of one measuring, all of the same time. */
export function toSamples(
  measurements: Iterable<Measurement>,
  timestamp: number,
  origin?: Origin,
): Sample[] {
  const samples: Sample[] = [];
  for (const { name, labels, value } of measurements) {
    samples.push({
      labels: { __name__: name, ...labels },
      timestamp,
      value,
      ...(origin === undefined ? {} : { origin }),
    });
  }
  return samples;
}

/** Series by source, to mark the end of those that are not measured any more, once. */
export class Endings {
  readonly #series = new Map<string, Map<string, Labels>>();

  /** @returns the samples, and markers for the source's series that are not among them. */
  mark(source: string, samples: readonly Sample[], timestamp: number): Sample[] {
    const before = this.#series.get(source);
    const now = new Map<string, Labels>();
    for (const { labels } of samples) now.set(labelsKey(labels), labels);
    if (now.size === 0) this.#series.delete(source);
    else this.#series.set(source, now);
    const ended: Sample[] = [];
    for (const [key, labels] of before ?? []) {
      if (!now.has(key)) ended.push({ labels, timestamp, value: STALE_MARKER });
    }
    return [...samples, ...ended];
  }

  /** Sources that had series at the last measuring. */
  get sources(): string[] {
    return [...this.#series.keys()];
  }
}
