import type { Bus, Handler } from '../../core/contracts/bus.ts';
import type { Runtime } from '../../core/contracts/runtime.ts';
import type { Lease, State } from '../../core/contracts/state.ts';

const never = (): Promise<never> => new Promise(() => undefined);

/**
 * One life of a process, for tests: what it does with the world outside it ends for good when it is
 * killed, as with kill -9, be it between two calls, or after a call was made and before its answer.
 */
export class Life {
  #dead = false;
  #steps = Number.POSITIVE_INFINITY;

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    this.#dead = true;
  }

  /** Dies at the n-th border from now: each call has one before it and one after it. */
  killAfter(steps: number): void {
    this.#steps = steps;
  }

  /** Whether it still lives beyond the next border. */
  #border(): boolean {
    if (--this.#steps <= 0) this.#dead = true;
    return !this.#dead;
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#border()) return never();
    const [settled] = await Promise.allSettled([work()]);
    if (!this.#border()) return never();
    if (settled.status === 'rejected') throw settled.reason;
    return settled.value;
  }

  runtime(inner: Runtime): Runtime {
    const isDead = (): boolean => this.#dead;
    return {
      name: inner.name,
      list: (signal) => this.#call(() => inner.list(signal)),
      inspect: (id, signal) => this.#call(() => inner.inspect(id, signal)),
      async *watch(options, signal) {
        for await (const news of inner.watch(options, signal)) {
          if (isDead()) await never();
          yield news;
        }
      },
      follow: (...call) => inner.follow(...call),
      stats: (...call) => inner.stats(...call),
      start: (...call) => this.#call(() => inner.start(...call)),
      restart: (...call) => this.#call(() => inner.restart(...call)),
      stop: (...call) => this.#call(() => inner.stop(...call)),
      close: () => inner.close(),
    };
  }

  state(inner: State): State {
    return {
      get: (key) => this.#call(() => inner.get(key)),
      list: (prefix) => this.#call(() => inner.list(prefix)),
      watch: (prefix, signal) => inner.watch(prefix, signal),
      create: (...call) => this.#call(() => inner.create(...call)),
      replace: (...call) => this.#call(() => inner.replace(...call)),
      put: (entries) => this.#call(() => inner.put(entries)),
      delete: (...call) => this.#call(() => inner.delete(...call)),
      acquire: (...call) =>
        this.#call(async () => {
          const lease = await inner.acquire(...call);
          return lease === undefined ? undefined : this.#lease(lease);
        }),
      close: () => inner.close(),
    };
  }

  #lease(inner: Lease): Lease {
    return {
      name: inner.name,
      holder: inner.holder,
      fence: inner.fence,
      signal: inner.signal,
      held: () => this.#call(() => inner.held()),
      release: () => this.#call(() => inner.release()),
    };
  }

  bus(inner: Bus): Bus {
    return {
      publish: (...call) => this.#call(() => inner.publish(...call)),
      subscribe: (topic, group, handler, options) => {
        const mortal: Handler = (delivery) => this.#call(() => handler(delivery));
        return this.#call(() => inner.subscribe(topic, group, mortal, options));
      },
      close: () => inner.close(),
    };
  }
}
