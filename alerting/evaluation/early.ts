import type { Clock, Timer } from '../../core/clock.ts';

/**
 * Coalesces calls: the first runs at once, those that come within the spacing of the last run's
 * start become one at its end. A run that takes long makes the spacing longer, so that a flood
 * never costs more than a fifth of the time.
 */
export class Coalescer {
  readonly #clock: Clock;
  readonly #run: () => Promise<void>;
  #last = Number.NEGATIVE_INFINITY;
  #cost = 0;
  #due = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  #running = false;
  #stopped = false;

  /** @param run never rejects */
  constructor(clock: Clock, run: () => Promise<void>) {
    this.#clock = clock;
    this.#run = run;
  }

  /** @param spacing milliseconds between the starts of two runs */
  call(spacing: number): void {
    const now = this.#clock.monotonic();
    const due = Math.max(now, this.#last + Math.max(spacing, this.#cost * 5));
    if (this.#stopped || due >= this.#due) return;
    this.#due = due;
    if (!this.#running) this.#arm(now);
  }

  #arm(now: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#due <= now) void this.#start();
    else this.#timer = this.#clock.after(this.#due - now, () => void this.#start());
  }

  async #start(): Promise<void> {
    this.#due = Number.POSITIVE_INFINITY;
    this.#running = true;
    const started = this.#clock.monotonic();
    this.#last = started;
    await this.#run();
    this.#running = false;
    const now = this.#clock.monotonic();
    this.#cost = now - started;
    if (Number.isFinite(this.#due) && !this.#stopped) {
      this.#due = Math.max(this.#due, this.#last + this.#cost * 5);
      this.#arm(now);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }
}
