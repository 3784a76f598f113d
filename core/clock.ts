import { setTimeout as sleepTimer } from 'node:timers/promises';
import type { Nanos } from './time.ts';

/** A timer that can be given up. Cancelling twice, or after it ran, does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time is injected everywhere: nothing but this file calls Date.now() or setTimeout, so that tests
 * own time. The system clock's timers do not keep the process alive.
 */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump. */
  now(): number;
  /** Wall clock in nanoseconds, strictly increasing within one process. */
  nowNanos(): Nanos;
  /** Milliseconds that never go back, for elapsed times. */
  monotonic(): number;
  after(ms: number, run: () => void): Timer;
  /** Resolves after `ms`; rejects with the signal's reason as soon as that fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

let lastNanos = 0n;

export const systemClock: Clock = {
  now: () => Date.now(),
  nowNanos() {
    // Not performance.timeOrigin: it would not follow a clock that NTP corrected after the start.
    const nanos = BigInt(Date.now()) * 1_000_000n;
    lastNanos = nanos > lastNanos ? nanos : lastNanos + 1n;
    return lastNanos;
  },
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  async sleep(ms, signal) {
    await sleepTimer(ms, undefined, signal === undefined ? {} : { signal });
  },
};
