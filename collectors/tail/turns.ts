import type { Clock } from '../../core/clock.ts';

/** A change that follows another is not looked at sooner than this, so that many cost one look. */
const SHORTEST = 4;

/** Something that is read piece by piece. */
interface Taker {
  /** Reads one buffer at most. @returns whether there may be more at once. Never rejects. */
  step(buffer: Buffer): Promise<boolean>;
}

interface Turn {
  queued: boolean;
  running: boolean;
  dirty: boolean;
  last: number;
  timer: { cancel(): void } | undefined;
}

/**
 * Turns among all that read: each reads one buffer and goes to the back of the queue, so that a
 * backlog keeps nobody waiting. Few at a time, with a buffer each: that bounds the memory.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #turns = new Map<Taker, Turn>();
  readonly #queue: Taker[] = [];
  readonly #buffers: Buffer[];
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(clock: Clock, options: { workers: number; bytes: number }) {
    this.#clock = clock;
    this.#buffers = Array.from({ length: options.workers }, () =>
      Buffer.allocUnsafeSlow(options.bytes),
    );
  }

  add(taker: Taker): void {
    this.#turns.set(taker, {
      queued: false,
      running: false,
      dirty: false,
      last: -SHORTEST,
      timer: undefined,
    });
    this.wake(taker);
  }

  remove(taker: Taker): void {
    this.#turns.get(taker)?.timer?.cancel();
    this.#turns.delete(taker);
  }

  /** There may be something to read. */
  wake(taker: Taker): void {
    const turn = this.#turns.get(taker);
    if (turn === undefined || this.#stopped) return;
    if (turn.running) turn.dirty = true;
    else if (!turn.queued && turn.timer === undefined) this.#soon(taker, turn);
  }

  /** Resolves when the steps under way are over; none follows. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const turn of this.#turns.values()) turn.timer?.cancel();
    await Promise.all(this.#running);
  }

  #soon(taker: Taker, turn: Turn): void {
    const wait = turn.last + SHORTEST - this.#clock.monotonic();
    if (wait <= 0) {
      this.#enqueue(taker, turn);
      return;
    }
    turn.timer = this.#clock.after(wait, () => {
      turn.timer = undefined;
      this.#enqueue(taker, turn);
    });
  }

  #enqueue(taker: Taker, turn: Turn): void {
    turn.queued = true;
    this.#queue.push(taker);
    this.#run();
  }

  #run(): void {
    while (this.#queue.length > 0 && !this.#stopped) {
      const buffer = this.#buffers.pop();
      if (buffer === undefined) return;
      const taker = this.#queue.shift();
      const turn = taker === undefined ? undefined : this.#turns.get(taker);
      if (taker === undefined || turn === undefined) {
        this.#buffers.push(buffer);
        continue;
      }
      turn.queued = false;
      turn.running = true;
      turn.dirty = false;
      const step = this.#step(taker, turn, buffer).finally(() => this.#running.delete(step));
      this.#running.add(step);
    }
  }

  async #step(taker: Taker, turn: Turn, buffer: Buffer): Promise<void> {
    const more = await taker.step(buffer);
    this.#buffers.push(buffer);
    turn.running = false;
    turn.last = this.#clock.monotonic();
    if (this.#turns.get(taker) === turn) {
      if (more) this.#enqueue(taker, turn);
      else if (turn.dirty) this.#soon(taker, turn);
    }
    this.#run();
  }
}
