import { crc32 } from 'node:zlib';
import type { BusWriter, Outgoing, Topic } from '../../core/contracts/bus.ts';
import { isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import { decodeLogs, encodeLog, StreamCache } from '../../core/records/codec.ts';
import { FIELD, type Stream } from '../../core/records/log.ts';
import type { Telemetry } from '../../core/service.ts';
import { formatRfc3339 } from '../../core/time.ts';
import type { Measures } from '../measures.ts';

/** What one lane may hold that is not durable yet, and what one publish takes of it. */
const LANE_BYTES = 2 * 1024 ** 2;
const TOTAL_BYTES = 32 * 1024 ** 2;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 10_000;
/** Of a line that cannot be published its dead letter keeps this many bytes. */
const DEAD_LETTER_BYTES = 8192;

/** Values for the bus and what to do once they are durable. */
export interface Parcel {
  readonly topic: Topic;
  /** `key`: where it is not the lane's. */
  readonly values: readonly {
    readonly key?: string;
    readonly value: Uint8Array;
    readonly records: number;
  }[];
  /** Called once, when this parcel and every earlier one of its lane are durable. */
  readonly done: () => void;
}

/**
 * The way out to the bus. Each source has a lane of its own, in which one publish is under way at a
 * time: a refused one is repeated before anything later goes out, so that positions rise for
 * whoever reads. Bounded: a lane that is `full` must not be given more until it has room.
 */
export class Output {
  readonly #bus: BusWriter;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #abort = new AbortController();
  readonly #lanes = new Set<Lane>();
  readonly #waiting = new Set<() => void>();
  #bytes = 0;
  #problem: string | undefined;
  #failing = 0;
  #closing = false;

  constructor(deps: { bus: BusWriter; telemetry: Telemetry; measures: Measures }) {
    this.#bus = deps.bus;
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
  }

  /** `key` is the bus' key of everything in it. */
  lane(key: string): Lane {
    const lane = new Lane(key, {
      publish: (topic, messages) => this.#publish(topic, messages),
      grow: (bytes) => this.#grow(bytes),
      crowded: () => this.#bytes >= TOTAL_BYTES,
      closing: () => this.#closing,
      waitForRoom: (run) => void this.#waiting.add(run),
      idle: () => this.#lanes.delete(lane),
      busy: () => this.#lanes.add(lane),
    });
    return lane;
  }

  /** Why nothing goes out just now. */
  problem(): string | undefined {
    return this.#problem;
  }

  /** Nothing more is to come: lets go of those who wait for room. */
  close(): void {
    this.#closing = true;
    this.#callWaiting();
  }

  /** Waits until everything handed over is durable, `ms` at most, then gives up the rest. */
  async stop(ms: number): Promise<void> {
    const timeout = new AbortController();
    const idle = Promise.all([...this.#lanes].map((lane) => lane.idle()));
    await Promise.race([
      idle,
      this.#telemetry.clock.sleep(ms, timeout.signal).catch(() => undefined),
    ]);
    timeout.abort();
    this.#abort.abort(new ReflexarcError('cancelled', 'the collectors are stopping'));
    if (this.#lanes.size > 0) {
      this.#telemetry.log.warn(
        { bytes: this.#bytes },
        'stopped before the bus had everything; it is read again at the next start',
      );
    }
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    this.#measures.pending.set(this.#bytes);
    if (bytes <= 0 && this.#bytes < TOTAL_BYTES) this.#callWaiting();
  }

  #callWaiting(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const run of waiting) run();
  }

  /** Resolves when durable; rejects only with `cancelled`, when stopping. */
  async #publish(topic: Topic, messages: readonly Outgoing[]): Promise<void> {
    const { clock, log } = this.#telemetry;
    const { signal } = this.#abort;
    let failed = false;
    try {
      for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
        const started = clock.monotonic();
        try {
          await this.#bus.publish(topic, messages, signal);
          this.#measures.latency.observe((clock.monotonic() - started) / 1000);
          for (const message of messages) {
            this.#measures.sent.inc({ topic }, message.records);
            this.#measures.sentBytes.inc({ topic }, message.value.byteLength);
          }
          return;
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          if (isReflexarcError(error, 'limit_exceeded')) {
            await this.#publishSmaller(topic, messages, error);
            return;
          }
          this.#measures.retries.inc({ code: isReflexarcError(error) ? error.code : 'internal' });
          this.#measures.redelivered.inc(
            { reason: 'retry' },
            messages.reduce((sum, message) => sum + message.records, 0),
          );
          if (!failed) {
            failed = true;
            this.#failing++;
            log.warn({ err: error, topic }, 'the bus refused records; reading waits for it');
          }
          this.#problem = `the bus does not take records: ${messageOf(error)}`;
          await clock.sleep(pause, signal).catch(() => signal.throwIfAborted());
        }
      }
    } finally {
      if (failed && --this.#failing === 0) {
        this.#problem = undefined;
        if (!signal.aborted) log.info('the bus takes records again');
      }
    }
  }

  /** The bus takes no message of this size: halves, down to one record, which becomes a dead letter. */
  async #publishSmaller(
    topic: Topic,
    messages: readonly Outgoing[],
    error: ReflexarcError,
  ): Promise<void> {
    for (const message of messages) {
      if (messages.length > 1) {
        await this.#publish(topic, [message]);
      } else if (message.records > 1) {
        for (const half of halves(message)) await this.#publish(topic, [half]);
      } else {
        this.#measures.dropped.inc({ reason: 'too_large' });
        this.#telemetry.log.error(
          { err: error, key: message.key, bytes: message.value.byteLength },
          'a record is larger than the bus takes; dropped',
        );
        if (topic === 'dead-letters') return;
        await this.#publish('dead-letters', [this.#tooLarge(topic, message, error)]);
      }
    }
  }

  #tooLarge(topic: Topic, message: Outgoing, error: ReflexarcError): Outgoing {
    const [record] = topic === 'logs' ? decodeLogs(message.value, new StreamCache()).records : [];
    const text = Buffer.from(message.value.subarray(0, DEAD_LETTER_BYTES));
    this.#measures.deadLetters.inc({ reason: 'too_large' });
    return deadLetter(
      message.key,
      formatRfc3339(this.#telemetry.clock.nowNanos()),
      {
        topic,
        source: message.key,
        // Its own id is the line's; without one it is told apart by what it holds.
        id: `${record?.id ?? `${message.key}.${crc32(message.value)}`}.too_large`,
        line: text.toString(),
        stream: deadStream(record?.stream),
      },
      error.message,
    );
  }
}

function halves(message: Outgoing): Outgoing[] {
  const { key, value, records } = message;
  const half = Math.floor(records / 2);
  let at = 0;
  for (let record = 0; record < half; record++) at = value.indexOf(10, at) + 1;
  return [
    { key, value: value.subarray(0, at), records: half },
    { key, value: value.subarray(at), records: records - half },
  ];
}

/** Where lines are that cannot be read of a stream: beside it, under the label `stream`. */
function deadStream(of: Stream | undefined): Stream {
  const { labels, resource } = of ?? { labels: { service: 'reflexarc' }, resource: {} };
  return {
    labels: { ...labels, stream: 'dead-letters', level: 'error' },
    resource: { ...resource, 'log.level': 'error' },
  };
}

/** A line that is no record, as a log record on `dead-letters`, with the original text. */
export function deadLetter(
  key: string,
  timestamp: string,
  from: {
    topic: Topic;
    source: string;
    id: string;
    line: string;
    stream: Stream;
    file?: string;
    offset?: number;
  },
  reason: string,
): Outgoing {
  const text = encodeLog({
    timestamp,
    id: from.id,
    line: from.line,
    stream: {
      labels: from.stream.labels,
      resource: { ...from.stream.resource, 'reflexarc.source': from.source },
    },
    fields: {
      'error.message': reason,
      // What a query shows beside the line.
      [FIELD.metadata]: {
        reason,
        topic: from.topic,
        ...(from.file === undefined ? {} : { file: from.file }),
        ...(from.offset === undefined ? {} : { offset: String(from.offset) }),
      },
      ...(from.file === undefined ? {} : { 'log.file.path': from.file }),
      ...(from.offset === undefined ? {} : { 'log.offset': from.offset }),
    },
  });
  return { key, value: Buffer.from(text), records: 1 };
}

interface LaneDeps {
  publish(topic: Topic, messages: readonly Outgoing[]): Promise<void>;
  grow(bytes: number): void;
  crowded(): boolean;
  closing(): boolean;
  waitForRoom(run: () => void): void;
  idle(): void;
  busy(): void;
}

export class Lane {
  readonly key: string;
  readonly #deps: LaneDeps;
  readonly #queue: { parcel: Parcel; bytes: number }[] = [];
  #bytes = 0;
  #running: Promise<void> | undefined;
  readonly #room = new Set<() => void>();

  constructor(key: string, deps: LaneDeps) {
    this.key = key;
    this.#deps = deps;
  }

  get full(): boolean {
    return this.#bytes >= LANE_BYTES || this.#deps.crowded();
  }

  /** Whether something is under way: what comes meanwhile is better gathered. */
  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** Calls back once there may be room again, or when nothing more is taken. */
  onRoom(run: () => void): void {
    if (this.#bytes >= LANE_BYTES) this.#room.add(run);
    this.#deps.waitForRoom(run);
  }

  /** Resolves when there is room. @returns false when nothing more is taken. */
  async room(): Promise<boolean> {
    while (this.full && !this.#deps.closing()) {
      await new Promise<void>((resolve) => this.onRoom(resolve));
    }
    return !this.#deps.closing();
  }

  push(parcel: Parcel): void {
    let bytes = 0;
    for (const { value } of parcel.values) bytes += value.byteLength;
    if (bytes === 0 && this.#running === undefined) {
      parcel.done();
      return;
    }
    this.#bytes += bytes;
    this.#deps.grow(bytes);
    this.#queue.push({ parcel, bytes });
    if (this.#running === undefined) {
      this.#deps.busy();
      this.#running = this.#run();
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const batch = this.#take();
        const topic = batch[0]?.parcel.topic ?? 'logs';
        const messages = batch.flatMap(({ parcel }) =>
          parcel.values.map((value) => ({ ...value, key: value.key ?? this.key })),
        );
        if (messages.length > 0) await this.#deps.publish(topic, messages);
        let bytes = 0;
        for (const entry of batch) {
          bytes += entry.bytes;
          entry.parcel.done();
        }
        this.#bytes -= bytes;
        this.#deps.grow(-bytes);
        if (this.#room.size > 0 && !this.full) {
          const waiting = [...this.#room];
          this.#room.clear();
          for (const run of waiting) run();
        }
      }
      this.#deps.idle();
    } catch (error) {
      // Stopping: what is left stays unconfirmed, and the checkpoint behind it.
      if (!isReflexarcError(error, 'cancelled')) throw error;
    } finally {
      this.#running = undefined;
    }
  }

  #take(): { parcel: Parcel; bytes: number }[] {
    const topic = this.#queue[0]?.parcel.topic;
    let count = 0;
    let bytes = 0;
    for (const entry of this.#queue) {
      if (entry.parcel.topic !== topic || (count > 0 && bytes + entry.bytes > LANE_BYTES)) break;
      count++;
      bytes += entry.bytes;
    }
    return this.#queue.splice(0, count);
  }
}
