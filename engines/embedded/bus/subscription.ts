import { setImmediate } from 'node:timers/promises';
import type {
  Handler,
  Message,
  Outcome,
  Start,
  SubscribeOptions,
  Subscription,
} from '../../../core/contracts/bus.ts';
import { messageOf, ReflexarcError, throwIfAborted } from '../../../core/errors.ts';
import type { Telemetry } from '../../../core/service.ts';
import { Bell } from './bell.ts';
import type { BusMetrics } from './metrics.ts';
import type { TopicLog } from './topic-log.ts';

const MAX_MESSAGES = 1000;
const MAX_BYTES = 4 * 1024 * 1024;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 30_000;
/** The one partition that a topic has here. */
const PARTITION = 0;

/** What the members of a group share. An ephemeral subscription is a group of its own. */
export interface Progress {
  /** What lies before it is finished. */
  readonly position: number;
  /** Rings when something was finished. */
  readonly changed: Bell;
  /** Finished up to here: to be committed, if anything is. */
  advance(position: number): void;
  /** Writes what was advanced. */
  flush(): Promise<void>;
}

export interface MemberParts {
  readonly log: TopicLog;
  readonly group: string;
  readonly handler: Handler;
  readonly options: SubscribeOptions;
  readonly progress: Progress;
  readonly telemetry: Telemetry;
  readonly metrics: BusMetrics;
  readonly onClose: (member: Member) => void;
}

/** One subscription. It delivers while it holds the partition, from `take` on. */
export class Member implements Subscription {
  readonly #parts: MemberParts;
  readonly #closing = new AbortController();
  readonly #labels: { readonly topic: string; readonly group: string };
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: MemberParts) {
    this.#parts = parts;
    this.#labels = {
      topic: parts.log.topic,
      // The names of live tails are many and short-lived.
      group: parts.options.ephemeral === true ? 'ephemeral' : parts.group,
    };
  }

  get start(): Start {
    return this.#parts.options.start ?? 'committed';
  }

  /** Gets the partition, and begins at the group's position. */
  take(): void {
    this.#running ??= this.#deliverAll();
  }

  async #deliverAll(): Promise<void> {
    const { log, options, progress } = this.#parts;
    const { signal } = this.#closing;
    const maxMessages = Math.max(1, options.maxMessages ?? MAX_MESSAGES);
    const maxBytes = options.maxBytes ?? MAX_BYTES;
    let failures = 0;
    while (!signal.aborted) {
      if (progress.position >= log.end) {
        await log.changed.wait(signal);
        continue;
      }
      let messages: readonly Message[];
      try {
        this.#skipRemoved();
        const { end } = log;
        messages = log.read(progress.position, maxMessages, maxBytes);
        // All of them are damaged, which was reported.
        if (messages.length === 0) this.#finish(end);
      } catch (error) {
        await this.#pause(++failures, error, 'the bus cannot be read; trying again');
        continue;
      }
      if (messages.length === 0) continue;
      failures = 0;
      await this.#deliver(messages);
      // Let others of this thread have their turn while there is much to read.
      await setImmediate();
    }
  }

  #skipRemoved(): void {
    const { log, group, metrics, telemetry, progress } = this.#parts;
    const skipped = log.first - progress.position;
    if (skipped <= 0) return;
    metrics.skippedMessages.inc(this.#labels, skipped);
    telemetry.log.warn(
      { topic: log.topic, group, skipped },
      'messages were removed before the group came to them',
    );
    progress.advance(log.first);
  }

  /** Until the handler has finished them, or asked to come back, or it is over. */
  async #deliver(messages: readonly Message[]): Promise<void> {
    const { log, handler } = this.#parts;
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; ) {
      let outcome: Outcome;
      try {
        outcome = await handler({
          topic: log.topic,
          partition: PARTITION,
          messages,
          end: log.end,
          signal,
          heartbeat: async () => {},
        });
        this.#settle(messages, outcome);
      } catch (error) {
        // Whoever was told to give up may do it by rejecting.
        if (signal.aborted) return;
        this.#parts.metrics.handlerErrors.inc(this.#labels);
        await this.#pause(++failures, error, 'a handler failed; calling it again');
        continue;
      }
      if (outcome === undefined) return;
      const ready = new Bell();
      const ring = (): void => ready.ring();
      outcome.when.then(ring, ring);
      await ready.wait(signal);
      return;
    }
  }

  #settle(messages: readonly Message[], outcome: Outcome): void {
    const first = messages[0]?.offset ?? 0;
    const after = (messages.at(-1)?.offset ?? 0) + 1;
    const done = outcome?.from ?? after;
    if (!Number.isInteger(done) || done < first || done > after) {
      throw new ReflexarcError(
        'internal',
        `a handler asked to go on from offset ${done}, and was given ${first} to ${after - 1}`,
      );
    }
    let count = 0;
    let bytes = 0;
    for (const { offset, value } of messages) {
      if (offset >= done) break;
      count++;
      bytes += value.length;
    }
    this.#parts.metrics.deliveredMessages.inc(this.#labels, count);
    this.#parts.metrics.deliveredBytes.inc(this.#labels, bytes);
    this.#finish(done);
  }

  #finish(position: number): void {
    if (position > this.#parts.progress.position) this.#parts.progress.advance(position);
  }

  async #pause(failures: number, error: unknown, text: string): Promise<void> {
    const { log, group, telemetry } = this.#parts;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures - 1, 20));
    telemetry.log.warn({ err: error, topic: log.topic, group, failures, pause }, text);
    try {
      await telemetry.clock.sleep(pause, this.#closing.signal);
    } catch (reason) {
      if (!this.#closing.signal.aborted) throw reason;
    }
  }

  async lag(): Promise<number> {
    const { log, progress } = this.#parts;
    if (this.#running === undefined) return 0;
    return log.end - Math.max(progress.position, log.first);
  }

  async caughtUp(signal?: AbortSignal): Promise<void> {
    const { log, progress } = this.#parts;
    const target = log.end;
    while (progress.position < target) {
      throwIfAborted(signal);
      if (this.#closing.signal.aborted) {
        throw new ReflexarcError('cancelled', 'the subscription was closed');
      }
      // Another member of the group may hold the partition: what it finishes counts, too.
      await progress.changed.wait(signal, this.#closing.signal);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { progress, telemetry, log, group, onClose } = this.#parts;
    this.#closing.abort(new ReflexarcError('cancelled', 'the subscription was closed'));
    try {
      await this.#running;
      await progress.flush();
    } catch (error) {
      telemetry.log.error(
        { err: error, topic: log.topic, group },
        `closing a subscription: ${messageOf(error)}`,
      );
    }
    onClose(this);
  }
}
