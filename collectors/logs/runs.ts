import type { Clock } from '../../core/clock.ts';
import type { Instance } from '../../core/contracts/runtime.ts';
import { formatRfc3339, normalizeRfc3339, parseRfc3339 } from '../../core/time.ts';

/**
 * The engine notes a start a little after the process runs, so that a run's first lines can be
 * older than its start: by so much at most.
 */
const EARLY = 100_000_000n;
/** Output is stamped when the engine reads it, which can be after the process has ended. */
const LATE = 1_000_000_000n;
/** How long a line that is newer than the last run's end waits for the next run's start. */
const PATIENCE = 1000;
const KEPT = 20;

/** `until`: from when on lines are the next run's, as soon as it is known that this one is over. */
interface Run {
  readonly start: string;
  readonly from: string;
  until?: string;
}

/**
 * The runs of one instance, and which of them wrote a line: evidence for a remediation that acts
 * only on the run that failed.
 */
export class Runs {
  readonly #clock: Clock;
  readonly #wake: () => void;
  /** Oldest first; `from`s rise. */
  #runs: Run[] = [];
  #waiting: { cancel(): void } | undefined;
  /** Nobody told of the next run in time: until somebody does, lines have no start. */
  #gaveUp = false;

  /** `wake`: called when a line that had to wait may be asked for again. */
  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** The newest run's start; for lines that have no time of their own. */
  get newest(): string | undefined {
    return this.#runs.at(-1)?.start;
  }

  /** What an instance's state tells: its newest start, and the end of the run before or of this. */
  learn(instance: Instance): void {
    const start = time(instance.startedAt);
    if (start === undefined) return;
    const finish = time(instance.finishedAt);
    this.#add(start, finish);
    const over = instance.state === 'exited' || instance.state === 'dead';
    if (over && finish !== undefined && finish >= start) this.#close(start, later(finish, LATE));
  }

  /** A run began; `start` RFC 3339. */
  started(start: string): void {
    const normal = time(start);
    if (normal !== undefined) this.#add(normal, undefined);
  }

  /** The engine said so at `at`; all that the run wrote is older. */
  ended(start: string | undefined, at: string): void {
    const run = time(start) ?? this.newest;
    if (run !== undefined) this.#close(run, at);
  }

  /**
   * The start of the run that wrote a line at `at`; undefined where it is not known. `wait`: a run
   * that is not known yet; `wake` tells when to ask again.
   *
   * @param at RFC 3339 with nine digits.
   */
  at(at: string): string | undefined {
    for (let index = this.#runs.length - 1; index >= 0; index--) {
      const run = this.#runs[index];
      if (run === undefined || at < run.from) continue;
      const last = index === this.#runs.length - 1;
      if (!last || run.until === undefined || at <= run.until) return run.start;
      return this.#later();
    }
    // Written before the news of the first start came.
    return this.#runs.length === 0 ? this.#later() : undefined;
  }

  /** Whether the run that began at `start`, or the newest one, is known to have ended. */
  isOver(start: string | undefined = this.newest): boolean {
    return this.#runs.some((run) => run.start === start && run.until !== undefined);
  }

  stop(): void {
    this.#waiting?.cancel();
  }

  #later(): string | undefined {
    if (this.#gaveUp) return undefined;
    this.#waiting ??= this.#clock.after(PATIENCE, () => {
      this.#waiting = undefined;
      this.#gaveUp = true;
      this.#wake();
    });
    return 'wait';
  }

  /** `finish`: when a run ended, which may be this one or the one before. */
  #add(start: string, finish: string | undefined): void {
    if (this.#runs.some((run) => run.start === start)) return;
    const before = this.#runs.findLast((run) => run.start < start);
    let end = finish !== undefined && finish < start ? finish : '';
    if (before?.until !== undefined && before.until < start && before.until > end) {
      end = before.until;
    }
    // What never ended before has had no earlier run that could have written anything.
    const first = before === undefined && end === '';
    this.#runs.push({ start, from: first ? '' : between(end, start) });
    this.#runs.sort((a, b) => (a.start < b.start ? -1 : 1));
    this.#runs = this.#runs.slice(-KEPT);
    this.#changed();
  }

  #close(start: string, at: string): void {
    const run = this.#runs.find((one) => one.start === start);
    if (run === undefined || (run.until !== undefined && run.until >= at)) return;
    run.until = at;
    this.#gaveUp = false;
  }

  #changed(): void {
    this.#gaveUp = false;
    this.#waiting?.cancel();
    this.#waiting = undefined;
    this.#wake();
  }
}

const time = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : normalizeRfc3339(text);

/** From when on lines are the run's that began at `start`, the one before having ended at `end`. */
function between(end: string, start: string): string {
  const early = later(start, -EARLY);
  return end > early ? end : early;
}

function later(text: string, by: bigint): string {
  const nanos = parseRfc3339(text);
  return nanos === undefined ? text : formatRfc3339(nanos + by);
}
