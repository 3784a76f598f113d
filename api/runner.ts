import type { FastifyReply } from 'fastify';
import type { Clock } from '../core/clock.ts';
import { formatDuration } from '../core/durations.ts';
import { ReflexarcError } from '../core/errors.ts';
import { BusyError } from './errors.ts';
import type { ApiMetrics } from './metrics.ts';

type Work<T> = (signal: AbortSignal) => Promise<T>;

export interface RunnerLimits {
  /** What is run, for messages and metrics. */
  readonly kind: 'query' | 'push';
  readonly concurrency: number;
  /** How many may wait for a place; beyond that is a refusal. */
  readonly waiting: number;
  /** Milliseconds, the wait for a place among them. */
  readonly timeout: number;
  readonly busyHint: string;
  readonly timeoutHint: string;
}

/**
 * Every query runs through one of these, and every push through another: so many at a time, a
 * bounded queue behind them and a refusal beyond it; each with a time limit, and cancelled when its
 * client goes away. A place is given back when the work itself has ended, not when its answer was
 * given up: queries that the store does not let go of cannot pile up.
 */
export class Runner {
  readonly #limits: RunnerLimits;
  readonly #clock: Clock;
  readonly #metrics: ApiMetrics;
  readonly #queue: (() => void)[] = [];
  readonly #active = new Set<AbortController>();
  #running = 0;

  constructor(limits: RunnerLimits, clock: Clock, metrics: ApiMetrics) {
    this.#limits = limits;
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /**
   * @param timeout milliseconds; the configured limit if absent or larger
   * @throws BusyError, timeout, cancelled, unavailable (the API stops), or what the work throws
   */
  async run<T>(reply: FastifyReply, work: Work<T>, timeout?: number): Promise<T> {
    const { kind } = this.#limits;
    const limit = Math.min(timeout ?? Number.POSITIVE_INFINITY, this.#limits.timeout);
    const controller = new AbortController();
    const { signal } = controller;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    aborted.catch(() => undefined);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    const timer = this.#clock.after(limit, () => {
      this.#metrics.refused.inc({ reason: 'timeout' });
      controller.abort(
        new ReflexarcError('timeout', `the ${kind} took longer than ${formatDuration(limit)}`, {
          hint:
            timeout === limit
              ? 'raise the parameter timeout, or ask for less'
              : this.#limits.timeoutHint,
        }),
      );
    });
    const { raw } = reply;
    const onClose = (): void => {
      if (raw.writableFinished) return;
      this.#metrics.cancelled.inc({ kind });
      controller.abort(new ReflexarcError('cancelled', 'the client went away'));
    };
    if (raw.destroyed) onClose();
    raw.once('close', onClose);
    this.#active.add(controller);
    try {
      return await Promise.race([this.#enter(signal, work), aborted]);
    } finally {
      this.#active.delete(controller);
      timer.cancel();
      raw.removeListener('close', onClose);
    }
  }

  /** Gives up whatever runs or waits. */
  abortAll(): void {
    for (const controller of this.#active) {
      controller.abort(new ReflexarcError('unavailable', 'the server is stopping'));
    }
  }

  async #enter<T>(signal: AbortSignal, work: Work<T>): Promise<T> {
    await this.#place(signal);
    try {
      signal.throwIfAborted();
      const result = await work(signal);
      // Reads end early, without an error, when their signal fires: half a result is none.
      signal.throwIfAborted();
      return result;
    } finally {
      this.#leave();
    }
  }

  /** Resolves when the caller has a place; a place handed over stays counted. */
  async #place(signal: AbortSignal): Promise<void> {
    const { kind, concurrency, waiting, busyHint } = this.#limits;
    if (this.#running < concurrency) {
      this.#metrics.running.set({ kind }, ++this.#running);
      return;
    }
    if (this.#queue.length >= waiting) {
      this.#metrics.refused.inc({ reason: 'concurrency' });
      throw new BusyError(
        `too many at once: ${this.#running} of kind ${kind} run and ${this.#queue.length} wait`,
        busyHint,
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const enter = (): void => {
      signal.removeEventListener('abort', giveUp);
      resolve(undefined);
    };
    const giveUp = (): void => {
      this.#queue.splice(this.#queue.indexOf(enter), 1);
      this.#metrics.waiting.set({ kind: this.#limits.kind }, this.#queue.length);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', giveUp, { once: true });
    this.#queue.push(enter);
    this.#metrics.waiting.set({ kind: this.#limits.kind }, this.#queue.length);
    await promise;
  }

  #leave(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#metrics.running.set({ kind: this.#limits.kind }, --this.#running);
    else {
      this.#metrics.waiting.set({ kind: this.#limits.kind }, this.#queue.length);
      next();
    }
  }
}
