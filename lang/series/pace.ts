import { throwIfAborted } from '../../core/errors.ts';
import { checkLimit, type Limits } from '../limits.ts';

/** Steps of work between two looks at the event loop: a few milliseconds. */
const SLICE = 500_000;

/** One evaluation's budget: counts what it costs, and lets others run in between. */
export class Pace {
  readonly limits: Limits;
  readonly signal: AbortSignal;
  #rows = 0;
  #cells = 0;
  #work = 0;

  constructor(limits: Limits, signal: AbortSignal) {
    this.limits = limits;
    this.signal = signal;
  }

  /** @throws limit_exceeded */
  read(rows: number): void {
    this.#rows += rows;
    checkLimit(this.limits, 'maxRows', this.#rows);
  }

  /** Of an expression's result. @throws limit_exceeded */
  made(series: number, steps: number): void {
    checkLimit(this.limits, 'maxSeries', series);
    this.#cells += series * steps;
    checkLimit(this.limits, 'maxCells', this.#cells);
  }

  /** After `amount` steps of work. @throws cancelled */
  async worked(amount: number): Promise<void> {
    this.#work += amount;
    if (this.#work < SLICE) return;
    this.#work = 0;
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    throwIfAborted(this.signal);
  }
}
