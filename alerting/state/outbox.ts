import type { BusWriter, Outgoing } from '../../core/contracts/bus.ts';
import { messageOf } from '../../core/errors.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import { encodeRecords } from '../../core/records/codec.ts';
import type { Telemetry } from '../../core/service.ts';
import type { EvaluationMetrics } from '../evaluation/metrics.ts';

const MAX_EVIDENCE_WAITING = 1000;
const RETRY = 1000;

/**
 * Publishes alert records in order and one call at a time. Transitions are never given up: they are
 * kept in State until they are on the bus. News about a firing alert is, when too much waits.
 */
export class Outbox {
  readonly #bus: BusWriter;
  readonly #telemetry: Telemetry;
  readonly #metrics: EvaluationMetrics;
  readonly #signal: AbortSignal;
  readonly #onPublished: (records: readonly AlertRecord[]) => void;
  #waiting: AlertRecord[] = [];
  #running: Promise<void> | undefined;

  constructor(
    deps: { bus: BusWriter; telemetry: Telemetry; metrics: EvaluationMetrics },
    signal: AbortSignal,
    onPublished: (records: readonly AlertRecord[]) => void,
  ) {
    this.#bus = deps.bus;
    this.#telemetry = deps.telemetry;
    this.#metrics = deps.metrics;
    this.#signal = signal;
    this.#onPublished = onPublished;
  }

  add(records: readonly AlertRecord[]): void {
    for (const record of records) {
      if (record.cause === 'evidence' && this.#waiting.length >= MAX_EVIDENCE_WAITING) {
        this.#metrics.dropped.inc({ what: 'evidence' });
      } else this.#waiting.push(record);
    }
    if (this.#running === undefined && this.#waiting.length > 0 && !this.#signal.aborted) {
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
        // What came in between the last look and here.
        this.add([]);
      });
    }
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#signal.aborted) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#bus.publish('alerts', batch.map(messageFor), this.#signal);
        for (const { state, cause } of batch) this.#metrics.published.inc({ state, cause });
        this.#onPublished(batch);
      } catch (error) {
        this.#waiting = [...batch, ...this.#waiting];
        if (this.#signal.aborted) return;
        this.#metrics.unpublished.inc({ topic: 'alerts' });
        this.#telemetry.log.error(
          { err: error, waiting: this.#waiting.length },
          `alerts could not be published, trying again in ${RETRY} ms: ${messageOf(error)}`,
        );
        await this.#telemetry.clock.sleep(RETRY, this.#signal).catch(() => {});
      }
    }
  }
}

const messageFor = (record: AlertRecord): Outgoing => ({
  key: record.fingerprint,
  value: encodeRecords([record]),
  records: 1,
});
