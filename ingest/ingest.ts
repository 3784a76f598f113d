import type { Bus, Delivery, Outcome, Subscription, Topic } from '../core/contracts/bus.ts';
import type {
  AppendResult,
  BusPosition,
  StoredTopic,
  StoreKeeper,
  StoreReader,
  StoreWriter,
} from '../core/contracts/store.ts';
import { isReflexarcError, messageOf } from '../core/errors.ts';
import { decodeActions, decodeAlerts, encodeLogs } from '../core/records/codec.ts';
import { actionLine, alertLine } from '../core/records/history.ts';
import type { LogRecord } from '../core/records/log.ts';
import type { Service, Telemetry } from '../core/service.ts';
import { nanosToMillis, parseRfc3339 } from '../core/time.ts';
import { deadLetters, kindOf } from './dead-letters.ts';
import { type IngestMetrics, ingestMetrics } from './metrics.ts';

const GROUP = 'ingest';
const TOPICS: readonly Topic[] = ['logs', 'metrics', 'alerts', 'actions', 'dead-letters'];
/** Dead letters are log records. */
const storedAs = (topic: Topic): StoredTopic => (topic === 'dead-letters' ? 'logs' : topic);
const RETAIN_EVERY = 60_000;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 10_000;
/** Partitions count from 0 without gaps: this many without a position, and there are no more. */
const PROBE = 16;

export interface IngestDeps {
  readonly telemetry: Telemetry;
  readonly bus: Bus;
  readonly store: StoreWriter & StoreKeeper & Pick<StoreReader, 'position'>;
}

/**
 * From the bus into the store. Deliveries are large under load and small when it is quiet, and the
 * store syncs together what comes together, so that nothing here waits for more.
 *
 * A delivery is done when its rows and the dead letters of it are durable. Only then its position
 * may count: it goes into the store with the rows of the delivery after it (or at the end, alone),
 * and a crash in between repeats one delivery, whose rows the store knows.
 */
export async function startIngest(deps: IngestDeps): Promise<Service> {
  const ingest = new Ingest(deps);
  await ingest.start();
  return ingest;
}

class Ingest implements Service {
  readonly name = 'ingest';
  readonly #deps: IngestDeps;
  readonly #metrics: IngestMetrics;
  readonly #subscriptions = new Map<Topic, Subscription>();
  /** By topic and partition: what is done and not in the store yet. */
  readonly #done = new Map<string, BusPosition>();
  /** By topic and partition: why it waits, and how long the next pause is. */
  readonly #failing = new Map<string, { readonly reason: string; readonly pause: number }>();
  readonly #stopping = new AbortController();
  #housekeeping: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(deps: IngestDeps) {
    this.#deps = deps;
    this.#metrics = ingestMetrics(deps.telemetry.metrics, () => this.#lag());
  }

  async start(): Promise<void> {
    try {
      for (const topic of TOPICS) {
        const positions = await this.#positions(topic);
        const subscription = await this.#deps.bus.subscribe(
          topic,
          GROUP,
          (delivery) => this.#handle(topic, delivery),
          {
            start: { offsets: (partition) => positions[partition] },
            maxMessages: 10_000,
            maxBytes: 4 * 1024 ** 2,
          },
        );
        this.#subscriptions.set(topic, subscription);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#housekeeping = this.#keepHouse();
  }

  async #positions(topic: Topic): Promise<(number | undefined)[]> {
    const positions: (number | undefined)[] = [];
    for (;;) {
      const from = positions.length;
      const next = await Promise.all(
        Array.from({ length: PROBE }, (_, index) =>
          this.#deps.store.position(GROUP, topic, from + index),
        ),
      );
      positions.push(...next);
      if (next.every((position) => position === undefined)) return positions;
    }
  }

  async #handle(topic: Topic, delivery: Delivery): Promise<Outcome> {
    const key = `${topic}/${delivery.partition}`;
    const first = delivery.messages[0]?.offset ?? 0;
    try {
      await this.#store(topic, key, delivery);
      if (this.#failing.delete(key)) {
        this.#deps.telemetry.log.info({ topic, partition: delivery.partition }, 'storing again');
      }
      return undefined;
    } catch (error) {
      if (delivery.signal.aborted) throw error;
      const code = isReflexarcError(error) ? error.code : 'internal';
      const pause = Math.min(LONGEST_PAUSE, (this.#failing.get(key)?.pause ?? FIRST_PAUSE / 2) * 2);
      const reason = `${topic}: ${messageOf(error)}`;
      this.#failing.set(key, { reason, pause });
      this.#metrics.errors.inc({ topic, code });
      this.#deps.telemetry.log.warn(
        { err: error, code, topic, partition: delivery.partition, offset: first, pause },
        'cannot store; it is tried again, and nothing is lost meanwhile',
      );
      return { from: first, when: this.#pause(pause, delivery.signal) };
    }
  }

  async #store(topic: Topic, key: string, delivery: Delivery): Promise<void> {
    const { clock } = this.#deps.telemetry;
    const values = delivery.messages.map(({ value }) => value);
    const began = clock.monotonic();
    const lines = linesOf(topic, values);
    // Lines first: as long as they are missing, the records they tell of count as not delivered.
    if (lines.length > 0) await this.#deps.store.append('logs', [encodeLogs(lines)]);
    const result = await this.#deps.store.append(storedAs(topic), values, this.#done.get(key));
    if (result.rejected.length > 0) await this.#bury(topic, result, delivery);
    const last = delivery.messages.at(-1)?.offset ?? 0;
    this.#done.set(key, {
      group: GROUP,
      topic,
      partition: delivery.partition,
      next: last + 1,
    });
    this.#count(topic, result, values, (clock.monotonic() - began) / 1000);
  }

  async #bury(topic: Topic, result: AppendResult, delivery: Delivery): Promise<void> {
    const { rejected } = result;
    // One that cannot be stored either would come back for ever.
    const again = topic !== 'dead-letters';
    if (again) {
      const letters = deadLetters(rejected, delivery);
      await this.#deps.bus.publish('dead-letters', letters, delivery.signal);
    }
    for (const { reason } of rejected)
      this.#metrics.rejected.inc({ topic, reason: kindOf(reason) });
    this.#deps.telemetry.log.warn(
      {
        topic,
        partition: delivery.partition,
        records: rejected.length,
        reason: rejected[0]?.reason,
      },
      again
        ? 'records cannot be stored: they are dead letters, see {stream="dead-letters"}'
        : 'dead letters cannot be stored; they are dropped',
    );
  }

  #count(
    topic: Topic,
    { stored, repeated, rejected }: AppendResult,
    values: readonly Uint8Array[],
    seconds: number,
  ): void {
    const metrics = this.#metrics;
    metrics.received.inc({ topic }, stored + repeated + rejected.length);
    metrics.receivedBytes.inc(
      { topic },
      values.reduce((sum, { length }) => sum + length, 0),
    );
    metrics.stored.inc({ topic }, stored);
    metrics.repeated.inc({ topic }, repeated);
    metrics.append.observe({ topic }, seconds);
    const time = timeOf(values.at(-1));
    if (time === undefined) return;
    metrics.age.observe({ topic }, Math.max(0, this.#deps.telemetry.clock.now() - time) / 1000);
  }

  /** Settles after the pause, or at once when there is nothing more to wait for. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#stopping.signal]);
    await this.#deps.telemetry.clock.sleep(ms, either).catch(() => undefined);
  }

  async #keepHouse(): Promise<void> {
    const { clock, log } = this.#deps.telemetry;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#pause(RETAIN_EVERY, signal);
      if (signal.aborted) return;
      const began = clock.monotonic();
      try {
        const { removedBytes } = await this.#deps.store.retain();
        this.#metrics.removedBytes.inc(removedBytes);
        if (removedBytes > 0) {
          log.info({ removedBytes, ms: clock.monotonic() - began }, 'removed the oldest data');
        }
      } catch (error) {
        this.#metrics.retainErrors.inc();
        log.error({ err: error }, 'housekeeping of the store failed; it is tried again');
      }
    }
  }

  async #lag(): Promise<ReadonlyMap<string, number>> {
    const lags = new Map<string, number>();
    for (const [topic, subscription] of this.#subscriptions) {
      lags.set(topic, await subscription.lag());
    }
    return lags;
  }

  ready(): { readonly ok: boolean; readonly reason?: string } {
    if (this.#stopping.signal.aborted) return { ok: false, reason: 'ingest is stopping' };
    if (this.#subscriptions.size < TOPICS.length)
      return { ok: false, reason: 'ingest is starting' };
    const [failing] = this.#failing.values();
    return failing === undefined
      ? { ok: true }
      : { ok: false, reason: `ingest cannot store ${failing.reason}` };
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#subscriptions.values()].map((one) => one.close()));
    await this.#housekeeping;
    for (const position of this.#done.values()) {
      try {
        await this.#deps.store.append(storedAs(position.topic), [], position);
      } catch (error) {
        // The next start repeats one delivery, and the store knows its rows.
        this.#deps.telemetry.log.warn({ err: error, position }, 'cannot keep the position');
      }
    }
  }
}

/** Alerts and actions are lines, too. What is no record is the store's to refuse. */
function linesOf(topic: Topic, values: readonly Uint8Array[]): LogRecord[] {
  const lines: LogRecord[] = [];
  const add = (make: () => LogRecord): void => {
    try {
      lines.push(make());
    } catch {
      // Another program's record without what ours have: the store says what is wrong with it.
    }
  };
  for (const value of topic === 'alerts' ? values : []) {
    for (const record of decodeAlerts(value).records) add(() => alertLine(record));
  }
  for (const value of topic === 'actions' ? values : []) {
    for (const record of decodeActions(value).records) add(() => actionLine(record));
  }
  return lines;
}

/** The time of a message's first record, by a look at its beginning only. */
function timeOf(value: Uint8Array | undefined): number | undefined {
  if (value === undefined) return undefined;
  const head = Buffer.from(value.buffer, value.byteOffset, Math.min(value.length, 200)).toString();
  const found = /"@?timestamp":(?:"([^"]+)"|(\d+(?:\.\d+)?))/.exec(head);
  if (found?.[2] !== undefined) return Number(found[2]);
  const nanos = found?.[1] === undefined ? undefined : parseRfc3339(found[1]);
  return nanos === undefined ? undefined : nanosToMillis(nanos);
}
