import type { Clock } from '../clock.ts';
import type {
  Bus,
  Delivery,
  Handler,
  Message,
  Outgoing,
  SubscribeOptions,
  Subscription,
  Topic,
} from '../contracts/bus.ts';
import { nanosToMillis } from '../time.ts';

/** How long a handler that rejected has to wait. */
const RETRY = 100;

/** A bus in memory with one partition a topic, for tests. */
export class MemoryBus implements Bus {
  readonly #topics = new Map<Topic, Message[]>();
  readonly #commits = new Map<string, number>();
  readonly #members = new Set<Member>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async publish(topic: Topic, messages: readonly Outgoing[]): Promise<void> {
    const log = this.messages(topic) as Message[];
    const timestamp = this.#clock.now();
    for (const { key, value } of messages) {
      log.push({ key, value: Buffer.from(value), offset: log.length, timestamp });
    }
    for (const member of this.#members) if (member.topic === topic) member.wake();
  }

  /** Everything that was ever published. */
  messages(topic: Topic): readonly Message[] {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const made: Message[] = [];
    this.#topics.set(topic, made);
    return made;
  }

  async subscribe(
    topic: Topic,
    group: string,
    handler: Handler,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    const key = `${topic}\u0000${group}`;
    const log = this.messages(topic);
    const { start = 'committed' } = options;
    const committed = this.#commits.get(key) ?? 0;
    let next = committed;
    if (start === 'latest') next = log.length;
    else if (start !== 'committed') {
      if ('time' in start) {
        const from = nanosToMillis(start.time);
        const found = log.findIndex((message) => message.timestamp >= from);
        next = found === -1 ? log.length : found;
      } else next = start.offsets(0) ?? committed;
    }
    const member = new Member(topic, log, next, handler, options, this.#clock, (offset) => {
      if (options.ephemeral !== true) this.#commits.set(key, offset);
    });
    this.#members.add(member);
    member.wake();
    return {
      lag: async () => log.length - member.next,
      caughtUp: (signal) => member.reached(log.length, signal),
      close: async () => {
        this.#members.delete(member);
        await member.close();
      },
    };
  }

  async close(): Promise<void> {
    for (const member of this.#members) await member.close();
    this.#members.clear();
  }
}

class Member {
  readonly topic: Topic;
  next: number;
  readonly #log: readonly Message[];
  readonly #handler: Handler;
  readonly #most: number;
  readonly #clock: Clock;
  readonly #commit: (offset: number) => void;
  readonly #abort = new AbortController();
  readonly #waiting = new Set<{ to: number; resolve: () => void }>();
  #running: Promise<void> | undefined;

  constructor(
    topic: Topic,
    log: readonly Message[],
    next: number,
    handler: Handler,
    options: SubscribeOptions,
    clock: Clock,
    commit: (offset: number) => void,
  ) {
    this.topic = topic;
    this.next = next;
    this.#log = log;
    this.#handler = handler;
    this.#most = options.maxMessages ?? 100;
    this.#clock = clock;
    this.#commit = commit;
  }

  wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.next < this.#log.length && !this.#abort.signal.aborted) this.wake();
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    await Promise.resolve();
    while (this.next < this.#log.length && !signal.aborted) {
      const messages = this.#log.slice(this.next, this.next + this.#most);
      const delivery: Delivery = {
        topic: this.topic,
        partition: 0,
        messages,
        end: this.#log.length,
        signal,
        heartbeat: async () => undefined,
      };
      try {
        const outcome = await this.#handler(delivery);
        this.next = outcome === undefined ? this.next + messages.length : outcome.from;
        this.#commit(this.next);
        for (const waiter of this.#waiting) if (waiter.to <= this.next) waiter.resolve();
        if (outcome !== undefined) await Promise.allSettled([outcome.when]);
      } catch {
        if (signal.aborted) return;
        await this.#clock.sleep(RETRY, signal).catch(() => undefined);
      }
    }
  }

  async reached(to: number, signal?: AbortSignal): Promise<void> {
    if (this.next >= to) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { to, resolve };
    this.#waiting.add(waiter);
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(waiter);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }
}
