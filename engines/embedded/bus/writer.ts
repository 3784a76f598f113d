import type { Outgoing, Topic } from '../../../core/contracts/bus.ts';
import {
  isReflexarcError,
  messageOf,
  ReflexarcError,
  throwIfAborted,
} from '../../../core/errors.ts';
import type { Telemetry } from '../../../core/service.ts';
import type { Environment } from '../environment.ts';
import type { BusMetrics } from './metrics.ts';
import type { Offsets } from './offsets.ts';
import { type Encoded, encodeMessage, MAX_KEY_BYTES, sizeOf } from './record.ts';
import type { Removal, Retention } from './retention.ts';
import type { Plan, TopicLog } from './topic-log.ts';

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * Of one topic in one commit, before compression: what takes a few milliseconds to compress, so that an alert
 * does not wait long behind a flood of lines.
 */
const COMMIT_BYTES = 1024 * 1024;

/** Finished offsets wait this long for a publish that takes them along. */
const OFFSET_DELAY = 50;
/** And this long when writing them failed. */
const OFFSET_RETRY = 1000;

interface Request {
  readonly topic: Topic;
  readonly messages: readonly Outgoing[];
  /** Index of the first message that is not in a commit. */
  next: number;
  /** The next one, encoded, when there was no room for it. */
  encoded: Encoded | undefined;
  readonly signal: AbortSignal | undefined;
  readonly started: number;
  /** When it began to wait for room. */
  blocked: number | undefined;
  writing: boolean;
  settled: boolean;
  settle(error?: ReflexarcError): void;
}

/** The part of a commit that belongs to one topic. */
interface Taken {
  readonly log: TopicLog;
  readonly encoded: Encoded[];
  readonly requests: Request[];
}

interface WriterParts {
  readonly environment: Environment;
  readonly logs: ReadonlyMap<Topic, TopicLog>;
  readonly offsets: Offsets;
  readonly retention: Retention;
  readonly telemetry: Telemetry;
  readonly metrics: BusMetrics;
}

/**
 * Writes everything that the bus writes, one commit at a time. Whatever comes while a commit is
 * under way shares the next one (group commit): what all publishers wait for is two disk flushes,
 * however many they are.
 */
export class Writer {
  readonly #parts: WriterParts;
  readonly #queues = new Map<Topic, Request[]>();
  /** Topics that had no room at the last look: for the log. */
  readonly #full = new Set<Topic>();
  #running: Promise<void> | undefined;
  #again = false;
  #flush = false;
  #flushed: (() => void)[] = [];
  #housekeeping = false;
  #offsetTimer: { cancel(): void } | undefined;
  #closed = false;
  /** The largest message, key and value together. */
  readonly #largest: number;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#largest = Math.min(MAX_MESSAGE_BYTES, parts.retention.reserve - 1024);
    for (const topic of parts.logs.keys()) this.#queues.set(topic, []);
  }

  async publish(topic: Topic, messages: readonly Outgoing[], signal?: AbortSignal): Promise<void> {
    const { metrics, telemetry } = this.#parts;
    const started = telemetry.clock.monotonic();
    try {
      throwIfAborted(signal);
      if (this.#closed) throw new ReflexarcError('unavailable', 'the bus is closed');
      for (const message of messages) this.#checkSize(topic, message);
      if (messages.length > 0) await this.#enqueue(topic, messages, started, signal);
    } catch (error) {
      const code = isReflexarcError(error) ? error.code : 'internal';
      metrics.publishErrors.inc({ topic, code });
      throw error;
    }
    metrics.publishSeconds.observe({ topic }, (telemetry.clock.monotonic() - started) / 1000);
    let records = 0;
    let bytes = 0;
    for (const message of messages) {
      records += message.records;
      bytes += message.value.length;
    }
    metrics.publishedMessages.inc({ topic }, messages.length);
    metrics.publishedRecords.inc({ topic }, records);
    metrics.publishedBytes.inc({ topic }, bytes);
  }

  #checkSize(topic: Topic, { key, value }: Outgoing): void {
    const keyBytes = Buffer.byteLength(key);
    if (keyBytes > MAX_KEY_BYTES) {
      throw new ReflexarcError(
        'limit_exceeded',
        `a message's key has ${keyBytes} bytes, the bus takes ${MAX_KEY_BYTES}`,
      );
    }
    const size = keyBytes + value.length;
    if (size <= this.#largest) return;
    throw new ReflexarcError(
      'limit_exceeded',
      `a message for ${topic} has ${size} bytes, the bus takes ${this.#largest}`,
      { hint: 'put fewer records into one message' },
    );
  }

  #enqueue(
    topic: Topic,
    messages: readonly Outgoing[],
    started: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#queue(topic);
      const onAbort = (): void => {
        // What is being written cannot be called back: it settles after the commit.
        if (!request.writing) request.settle(cancelled(signal));
      };
      const request: Request = {
        topic,
        messages,
        next: 0,
        encoded: undefined,
        signal,
        started,
        blocked: undefined,
        writing: false,
        settled: false,
        settle: (error) => {
          if (request.settled) return;
          request.settled = true;
          signal?.removeEventListener('abort', onAbort);
          const index = queue.indexOf(request);
          if (index !== -1) queue.splice(index, 1);
          this.#unblock(request);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      queue.push(request);
      this.kick();
    });
  }

  #queue(topic: Topic): Request[] {
    return this.#queues.get(topic) ?? [];
  }

  /** Publish calls that wait for room. */
  waiting(topic: Topic): number {
    return this.#queue(topic).filter(({ blocked }) => blocked !== undefined).length;
  }

  #unblock(request: Request): void {
    if (request.blocked === undefined) return;
    const { metrics, telemetry } = this.#parts;
    const waited = telemetry.clock.monotonic() - request.blocked;
    metrics.waitingSeconds.inc({ topic: request.topic }, waited / 1000);
    request.blocked = undefined;
  }

  /** A group finished something: written with the next publish, or soon. */
  offsetsChanged(): void {
    if (this.#full.size > 0) {
      // Somebody waits for the room.
      this.#flush = true;
      this.kick();
      return;
    }
    this.#offsetTimer ??= this.#parts.telemetry.clock.after(OFFSET_DELAY, () => {
      this.#offsetTimer = undefined;
      this.#flush = true;
      this.kick();
    });
  }

  /** Resolves when the offsets known now are written, or could not be. */
  flushOffsets(): Promise<void> {
    return new Promise((resolve) => {
      // The next commit's end, not the end of all writing: publishers may never pause.
      this.#flushed.push(resolve);
      this.#flush = true;
      this.kick();
    });
  }

  /** Removes what is too old or too much, and looks whether somebody who waits can go on. */
  housekeep(): void {
    this.#housekeeping = true;
    this.kick();
  }

  kick(): void {
    this.#again = true;
    // The queue of this turn comes together before the first commit.
    this.#running ??= Promise.resolve().then(() => this.#run());
  }

  async #run(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        do await this.#keepHouse();
        while (await this.#writeNext());
      }
    } catch (error) {
      // A bug of ours: whoever waits must learn of it.
      const failure = new ReflexarcError('internal', messageOf(error), { cause: error });
      this.#parts.telemetry.log.error({ err: error }, 'the bus could not write');
      for (const queue of this.#queues.values()) {
        while (queue[0] !== undefined) queue[0].settle(failure);
      }
      for (const resolve of this.#flushed.splice(0)) resolve();
    } finally {
      this.#running = undefined;
    }
  }

  async #keepHouse(): Promise<void> {
    if (!this.#housekeeping) return;
    this.#housekeeping = false;
    const { retention, telemetry } = this.#parts;
    for (;;) {
      const { age, size } = retention.surplus(telemetry.clock.now());
      if (age.length + size.length === 0) return;
      if (!(await this.#remove(age, 'age')) || !(await this.#remove(size, 'size'))) return;
    }
  }

  /** False: it could not be written. */
  async #remove(removals: readonly Removal[], reason: 'age' | 'size'): Promise<boolean> {
    if (removals.length === 0) return true;
    const { metrics, telemetry } = this.#parts;
    try {
      await this.#commit(removals.map(({ log, chunks }) => log.remove(chunks)));
    } catch (error) {
      telemetry.log.warn({ err: error }, 'messages that all have read could not be removed');
      return false;
    }
    for (const { log, messages } of removals) {
      metrics.removedMessages.inc({ topic: log.topic, reason }, messages);
    }
    return true;
  }

  /** One commit. False when there is nothing to write. */
  async #writeNext(): Promise<boolean> {
    const taken = await this.#take();
    const flushed = this.#flushed.splice(0);
    try {
      return await this.#write(taken);
    } finally {
      for (const resolve of flushed) resolve();
    }
  }

  async #write(taken: readonly Taken[]): Promise<boolean> {
    const { offsets, telemetry } = this.#parts;
    const withOffsets = offsets.dirty && (taken.length > 0 || this.#flush);
    this.#flush = false;
    if (taken.length === 0 && !withOffsets) return false;
    const plans = taken.map(({ log, encoded }) => log.append(encoded));
    if (withOffsets) plans.push(offsets.plan());
    try {
      await this.#commit(plans);
    } catch (error) {
      const failure = isReflexarcError(error)
        ? error
        : new ReflexarcError('internal', messageOf(error), { cause: error });
      for (const { requests } of taken) for (const request of requests) request.settle(failure);
      if (withOffsets) this.#retryOffsets(failure);
      // With nothing else in the commit, trying at once would fail for the same reason.
      return taken.length > 0;
    }
    for (const { requests } of taken) {
      for (const request of requests) {
        request.writing = false;
        if (request.next >= request.messages.length) request.settle();
        else if (request.signal?.aborted === true) request.settle(cancelled(request.signal));
      }
    }
    if (withOffsets && !offsets.dirty) {
      this.#offsetTimer?.cancel();
      this.#offsetTimer = undefined;
    }
    telemetry.log.trace({ topics: taken.length }, 'committed');
    return true;
  }

  #retryOffsets(error: ReflexarcError): void {
    const { metrics, telemetry } = this.#parts;
    metrics.commitErrors.inc();
    telemetry.log.warn({ err: error }, 'finished offsets could not be written; trying again');
    this.#offsetTimer?.cancel();
    this.#offsetTimer = telemetry.clock.after(OFFSET_RETRY, () => {
      this.#offsetTimer = undefined;
      this.#flush = true;
      this.kick();
    });
  }

  async #commit(plans: readonly Plan[]): Promise<void> {
    await this.#parts.environment.commit(() => {
      for (const plan of plans) plan.write();
    });
    for (const plan of plans) plan.apply();
  }

  /** What the next commit takes of every topic, having made room for it where that is possible. */
  async #take(): Promise<Taken[]> {
    const taken: Taken[] = [];
    const pending = new Map<Topic, number>();
    for (const log of this.#parts.logs.values()) {
      let part = this.#takeTopic(log, pending);
      if (part.lacking > 0 && part.taken.encoded.length === 0) {
        const { retention, telemetry } = this.#parts;
        const removals = retention.forRoom(log.topic, part.lacking, telemetry.clock.now());
        // Removing takes a commit of its own, and what was taken of other topics is not part of it:
        // that fits whatever is removed.
        if (removals.length > 0 && (await this.#remove(removals, 'size'))) {
          part = this.#takeTopic(log, pending);
        }
      }
      this.#note(log.topic, part);
      if (part.taken.encoded.length > 0) taken.push(part.taken);
    }
    return taken;
  }

  #takeTopic(log: TopicLog, pending: Map<Topic, number>): { taken: Taken; lacking: number } {
    const { retention, telemetry } = this.#parts;
    const timestamp = log.timestamp(telemetry.clock.now());
    const taken: Taken = { log, encoded: [], requests: [] };
    let raw = 0;
    for (const request of this.#queue(log.topic)) {
      for (; request.next < request.messages.length; request.next++) {
        const message = request.messages[request.next];
        if (message === undefined) break;
        if (raw > 0 && raw + message.value.length > COMMIT_BYTES) return { taken, lacking: 0 };
        const encoded = request.encoded ?? encodeMessage(message, timestamp);
        const size = sizeOf(encoded);
        if (!retention.fits(log.topic, size, pending)) {
          request.encoded = encoded;
          return { taken, lacking: size };
        }
        request.encoded = undefined;
        if (!request.writing) {
          request.writing = true;
          taken.requests.push(request);
        }
        taken.encoded.push(encoded);
        pending.set(log.topic, (pending.get(log.topic) ?? 0) + size);
        raw += message.value.length;
      }
    }
    return { taken, lacking: 0 };
  }

  #note(topic: Topic, { taken, lacking }: { taken: Taken; lacking: number }): void {
    const { offsets, telemetry } = this.#parts;
    if (lacking === 0 || taken.encoded.length > 0) {
      if (this.#full.delete(topic)) telemetry.log.info({ topic }, 'the bus has room again');
      for (const request of taken.requests) this.#unblock(request);
      return;
    }
    const now = telemetry.clock.monotonic();
    for (const request of this.#queue(topic)) request.blocked ??= now;
    if (this.#full.has(topic)) return;
    this.#full.add(topic);
    const groups = [...offsets.holders(topic, telemetry.clock.now())].map(({ name }) => name);
    telemetry.log.warn({ topic, groups }, 'the bus is full: publishers wait for these groups');
    // Perhaps they have finished something that is not written yet.
    if (offsets.dirty) {
      this.#flush = true;
      this.#again = true;
    }
  }

  /** Finishes what can be written; what waits for room is refused. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#offsetTimer?.cancel();
    await this.flushOffsets();
    await this.#running;
    this.#offsetTimer?.cancel();
    for (const queue of this.#queues.values()) {
      while (queue[0] !== undefined) {
        queue[0].settle(new ReflexarcError('unavailable', 'the bus is closed'));
      }
    }
  }
}

const cancelled = (signal: AbortSignal | undefined): ReflexarcError =>
  new ReflexarcError('cancelled', 'publishing was given up', { cause: signal?.reason });
