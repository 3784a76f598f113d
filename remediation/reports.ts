import type { Logger } from 'pino';
import type { Clock } from '../core/clock.ts';
import type { BusWriter } from '../core/contracts/bus.ts';
import { isReflexarcError, ReflexarcError } from '../core/errors.ts';
import type { ActionPhase, ActionRecord } from '../core/records/action.ts';
import { encodeRecords } from '../core/records/codec.ts';
import type { Telemetry } from '../core/service.ts';
import type { Case } from './case.ts';
import type { Metrics } from './metrics.ts';

export type ReportFields = Partial<
  Pick<
    ActionRecord,
    'reason' | 'step' | 'attempt' | 'elapsed' | 'until' | 'receiver' | 'error' | 'dryRun'
  >
>;

const WARNINGS: ReadonlySet<ActionPhase> = new Set(['failed', 'unverified', 'exhausted']);
const BATCH = 100;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/**
 * Every decision, taken or refused: counted, logged, and published on `actions` in order. What the
 * bus has not confirmed stays in the case's outbox, and is published again after a restart under
 * the same id.
 */
export class Reports {
  readonly #bus: BusWriter;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #abort = new AbortController();
  readonly #onSent: (one: Case) => void;
  #queue: { readonly one: Case; readonly record: ActionRecord }[] = [];
  #sending: Promise<void> | undefined;

  /** @param onSent is told when nothing of a case waits any more */
  constructor(bus: BusWriter, telemetry: Telemetry, metrics: Metrics, onSent: (one: Case) => void) {
    this.#bus = bus;
    this.#clock = telemetry.clock;
    this.#log = telemetry.log;
    this.#onSent = onSent;
    this.#metrics = metrics;
  }

  /**
   * Adds the record to the case's outbox and sends it; the caller saves the case.
   *
   * @param tries of `started`: which try of the step it is, from 1
   */
  report(
    one: Case,
    phase: ActionPhase,
    message: string,
    fields: ReportFields = {},
    tries = 1,
  ): void {
    const now = this.#clock.now();
    const { subject } = one;
    const record: ActionRecord = {
      // One try is one record, whichever life of ours reports it.
      id:
        phase === 'started'
          ? `${one.id}-${one.step}-${tries}-started`
          : `${one.id}-${one.records}-${phase}`,
      timestamp: now,
      case: one.id,
      phase,
      message,
      remediation: one.remediation,
      alert: one.alert,
      target: {
        runtime: subject.runtime,
        service: subject.service,
        ...(subject.project === undefined ? {} : { project: subject.project }),
        ...(subject.name === undefined ? {} : { container: subject.name }),
        ...(subject.id === undefined
          ? {}
          : {
              origin: {
                id: subject.id,
                ...(one.expected === undefined ? {} : { startedAt: one.expected }),
              },
            }),
      },
      dryRun: false,
      sinceEvidence: Math.max(0, now - one.evidenceAt),
      ...fields,
    };
    one.records++;
    one.changedAt = now;
    one.outbox.push(record);
    const reason = record.reason ?? '';
    this.#metrics.decisions.inc({ remediation: one.remediation, phase, reason });
    this.#log[WARNINGS.has(phase) ? 'warn' : 'info'](
      {
        case: one.id,
        remediation: one.remediation,
        alert: one.alert.name,
        service: subject.service,
        container: subject.name,
        phase,
        reason: record.reason,
        step: record.step?.kind,
        attempt: record.attempt,
        sinceEvidence: record.sinceEvidence,
        elapsed: record.elapsed,
      },
      message,
    );
    this.#enqueue(one, [record]);
  }

  /** Sends what an earlier process left unconfirmed. */
  resend(one: Case): void {
    this.#enqueue(one, one.outbox);
  }

  #enqueue(one: Case, records: readonly ActionRecord[]): void {
    for (const record of records) this.#queue.push({ one, record });
    this.#metrics.backlog.set(this.#queue.length);
    this.#wake();
  }

  #wake(): void {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
      // Something may have come between the last look and this.
      if (this.#queue.length > 0 && !this.#abort.signal.aborted) this.#wake();
    });
  }

  async #send(): Promise<void> {
    // Records that are made in one go leave in one go.
    await Promise.resolve();
    let pause = FIRST_PAUSE;
    let most = BATCH;
    const { signal } = this.#abort;
    while (this.#queue.length > 0 && !signal.aborted) {
      const batch = this.#queue.slice(0, most);
      const messages = batch.map(({ one, record }) => ({
        key: one.id,
        value: encodeRecords([record]),
        records: 1,
      }));
      try {
        await this.#bus.publish('actions', messages, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!isReflexarcError(error, 'limit_exceeded')) {
          this.#metrics.retries.inc();
          this.#log.warn({ err: error, waiting: this.#queue.length }, 'publishing is tried again');
          await this.#clock.sleep(pause, signal).catch(() => undefined);
          pause = Math.min(pause * 2, LONGEST_PAUSE);
          continue;
        }
        if (batch.length > 1) {
          most = 1; // to lose none but the one that is too large
          continue;
        }
        this.#metrics.dropped.inc({ reason: error.code });
        this.#log.error({ err: error }, 'a record is too large for the bus');
      }
      pause = FIRST_PAUSE;
      most = BATCH;
      this.#queue.splice(0, batch.length);
      this.#metrics.backlog.set(this.#queue.length);
      const sent = new Set(batch.map(({ record }) => record.id));
      for (const one of new Set(batch.map((item) => item.one))) {
        one.outbox = one.outbox.filter((record) => !sent.has(record.id));
        if (one.outbox.length === 0) this.#onSent(one);
      }
    }
  }

  /** Gives what waits a last chance; the rest stays in the outboxes. */
  async close(patience: number): Promise<void> {
    const timer = this.#clock.after(patience, () => this.#giveUp());
    while (this.#sending !== undefined) await this.#sending;
    timer.cancel();
    this.#giveUp();
  }

  #giveUp(): void {
    this.#abort.abort(new ReflexarcError('cancelled', 'remediation stops'));
  }
}
