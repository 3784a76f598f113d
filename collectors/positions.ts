import type { Position } from '../core/records/log.ts';
import type { Nanos } from '../core/time.ts';

/**
 * How far before its checkpoint a source that is read by time begins again. Times of two outputs
 * can be out of order by a little; going back further than that makes the same positions again.
 */
export const STEP_BACK = 1_000_000_000n;

/**
 * Positions for what has a time and no offset: `[µs since the epoch, counter]`, always rising. What
 * is older than its forerunner gets its forerunner's time and the next counter.
 */
export class Positions {
  #micros = -1;
  #counter = 0;

  next(time: Nanos): readonly [number, number] {
    const micros = Number(time / 1000n);
    if (micros > this.#micros) {
      this.#micros = micros;
      this.#counter = 0;
    } else this.#counter++;
    return [this.#micros, this.#counter];
  }
}

export const microsToNanos = (micros: number): Nanos => BigInt(micros) * 1000n;

export const isAfter = (a: readonly [number, number], b: Position | undefined): boolean =>
  b === undefined || typeof b === 'number' || a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
