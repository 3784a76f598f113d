import { encodeSamples } from '../../core/records/codec.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Measures } from '../measures.ts';
import type { Lane } from '../output/output.ts';
import { Endings } from './series.ts';

/** Samples of one source: a container, the host. */
export interface Reading {
  /** The bus' key: its samples keep their order. */
  readonly source: string;
  readonly samples: readonly Sample[];
}

/**
 * Measures every `interval` milliseconds and puts the samples on the bus. One measuring at a time:
 * one that takes too long, or a bus that does not keep up, makes the next one late or skips it.
 */
export class Measuring {
  readonly #kind: string;
  readonly #interval: number;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #lane: Lane;
  readonly #read: (now: number, signal: AbortSignal) => Promise<readonly Reading[]>;
  readonly #endings = new Endings();
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(
    options: { kind: string; interval: number },
    deps: { telemetry: Telemetry; measures: Measures; lane: Lane },
    read: (now: number, signal: AbortSignal) => Promise<readonly Reading[]>,
  ) {
    this.#kind = options.kind;
    this.#interval = options.interval;
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
    this.#lane = deps.lane;
    this.#read = read;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { clock, log } = this.#telemetry;
    let said = false;
    for (let due = clock.monotonic(); !signal.aborted; ) {
      try {
        await this.#measure(signal);
        said = false;
      } catch (error) {
        if (signal.aborted) return;
        this.#measures.sampleErrors.inc({ kind: this.#kind });
        if (!said) log.error({ err: error, kind: this.#kind }, 'measuring failed');
        said = true;
      }
      due = Math.max(due + this.#interval, clock.monotonic());
      await clock.sleep(due - clock.monotonic(), signal).catch(() => undefined);
    }
  }

  async #measure(signal: AbortSignal): Promise<void> {
    if (this.#lane.full) {
      this.#measures.dropped.inc({ reason: 'metrics_bus_full' });
      return;
    }
    const now = Math.round(this.#telemetry.clock.now());
    const readings = await this.#read(now, signal);
    if (signal.aborted) return;
    const seen = new Set(readings.map((reading) => reading.source));
    const all = [
      ...readings,
      ...this.#endings.sources
        .filter((source) => !seen.has(source))
        .map((source) => ({ source, samples: [] })),
    ];
    const values = all.flatMap(({ source, samples }) => {
      const marked = this.#endings.mark(source, samples, now);
      if (marked.length === 0) return [];
      this.#measures.samples.inc({ kind: this.#kind }, marked.length);
      return [{ key: source, value: encodeSamples(marked), records: marked.length }];
    });
    this.#lane.push({ topic: 'metrics', values, done: () => undefined });
  }
}
