import { messageOf } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Lane } from '../output/output.ts';
import { Chain } from './chain.ts';
import type { Chained, TailSpec } from './chained.ts';
import type { Framer } from './framer.ts';
import { type Outcome, Reading } from './reading.ts';
import type { LogWriter } from './writer.ts';

/** With these the file of something that is gone will not become readable. */
const HOPELESS: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'ENOENT', 'EIO']);

export interface TailDeps {
  readonly telemetry: Telemetry;
  readonly measures: Measures;
  readonly checkpoints: Checkpoints;
  readonly lane: Lane;
  readonly writer: LogWriter;
  readonly framer: Framer;
  /** Has `step` called (again) soon. */
  readonly wake: () => void;
}

/**
 * One log: the file at a path and, through rotation, those that were there before it, in order.
 * Each file is known by device, inode, birth and the hash of its first line, so that its lines
 * keep their ids whatever it is called.
 */
export class Tail {
  readonly spec: TailSpec;
  readonly #deps: TailDeps;
  readonly #chain: Chain;
  readonly #reading: Reading;
  #restored = false;
  #look = true;
  #ending = false;
  #flushed = false;
  #closed = false;
  #problem: string | undefined;
  readonly #finished = Promise.withResolvers<void>();

  constructor(spec: TailSpec, deps: TailDeps) {
    this.spec = spec;
    this.#deps = deps;
    this.#chain = new Chain(spec, deps);
    this.#reading = new Reading(spec, { ...deps, clock: deps.telemetry.clock });
  }

  /** Bytes known to be there that the bus does not have. */
  get lag(): number {
    let lag = 0;
    for (const file of this.#chain.files) lag += Math.max(0, file.size - file.acked.offset);
    return lag;
  }

  get open(): number {
    return this.#chain.files.filter((file) => !file.ended).length;
  }

  /** Resolves when `finish` was called and the bus has all of it. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Nothing writes to it any more: read to the end, give out what is unfinished, let go. */
  finish(): void {
    this.#ending = true;
    this.#look = true;
    this.#deps.wake();
  }

  /** Looks at the path itself at the next step, not only at the files already open. */
  lookAgain(): void {
    this.#look = true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const file of this.#chain.files) if (!file.ended) await file.bytes.close();
  }

  /** Reads one buffer of bytes at most. @returns whether there may be more at once. */
  async step(buffer: Buffer): Promise<boolean> {
    if (this.#closed) return false;
    const { lane, telemetry, wake } = this.#deps;
    if (lane.full) {
      lane.onRoom(wake);
      return false;
    }
    try {
      const more = await this.#step(buffer);
      if (this.#problem !== undefined) {
        this.#problem = undefined;
        telemetry.log.info({ path: this.spec.path }, 'log file can be read again');
      }
      return more;
    } catch (error) {
      if (!this.#closed) this.#failed(error);
      return false;
    }
  }

  #failed(error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code ?? 'internal';
    this.#deps.measures.readErrors.inc({ kind: this.spec.kind, code });
    this.#look = true;
    const message = messageOf(error);
    if (this.#problem !== message) {
      const again = 'it is tried again every second';
      const hint =
        code === 'EACCES' || code === 'EPERM'
          ? `let this user read the file and its folder; ${again}`
          : again;
      const { log } = this.#deps.telemetry;
      log.error({ err: error, path: this.spec.path, hint }, 'cannot read log file');
    }
    this.#problem = message;
    if (this.#ending && HOPELESS.has(code)) this.#finished.resolve();
  }

  async #step(buffer: Buffer): Promise<boolean> {
    const chain = this.#chain;
    if (!this.#restored) {
      await chain.restore();
      this.#restored = true;
    }
    if (this.#look) {
      this.#look = false;
      if (!(await chain.look())) this.#look = true;
    }
    for (const file of chain.files) {
      if (file.ended) continue;
      const outcome = await this.#advance(file, buffer);
      if (this.#closed || outcome === 'held') return false;
      if (outcome !== 'end') return true;
    }
    if (this.#ending && chain.files.every((file) => file.ended)) this.#finish();
    return this.#look;
  }

  /** A step in one file. */
  async #advance(file: Chained, buffer: Buffer): Promise<Outcome> {
    const mayEnd = this.#mayEnd(file);
    if (await file.identify(this.spec, mayEnd)) {
      const outcome = await this.#reading.read(file, buffer);
      if (this.#closed) return 'end';
      if (outcome === 'replaced') {
        await this.#chain.replace(file);
        return outcome;
      }
      this.#send();
      if (outcome !== 'end') return outcome;
    }
    // Asked again: it may just have grown.
    if (!mayEnd || !this.#mayEnd(file)) return 'end';
    const outcome = await this.#reading.finish(file, buffer);
    if (outcome === 'end') {
      file.ended = true;
      await file.bytes.close();
    }
    this.#send();
    this.#chain.prune();
    return outcome;
  }

  #mayEnd(file: Chained): boolean {
    if (this.#ending) return true;
    if (!file.superseded) return false;
    const quiet = this.#deps.telemetry.clock.monotonic() - file.lastGrowth;
    return quiet >= this.spec.linger;
  }

  /** Everything is read: gives out what is unfinished, and waits for the bus. */
  #finish(): void {
    const last = this.#chain.files.at(-1);
    if (!this.#flushed && last !== undefined) {
      this.#flushed = true;
      this.#deps.framer.flush(last);
    }
    this.#send();
    const done = (): void => this.#finished.resolve();
    this.#deps.lane.push({ topic: 'logs', values: [], done });
  }

  /** Hands what is written so far to the lane; the checkpoint follows when it is durable. */
  #send(): void {
    const { lane, writer, framer, checkpoints } = this.#deps;
    const chain = this.#chain;
    const marks = chain.files.map((file) => ({
      file,
      mark: {
        offset: framer.low(file) ?? file.offset,
        checkedAt: file.next,
        before: file.before,
      },
    }));
    const { values, letters } = writer.take();
    if (letters.length > 0) {
      this.#deps.telemetry.log.warn(
        { path: this.spec.path, lines: letters.length },
        'lines cannot be read: they are dead letters, see {stream="dead-letters"}',
      );
      lane.push({ topic: 'dead-letters', values: letters, done: () => undefined });
    }
    const moved = marks.some(
      ({ file: { acked }, mark }) =>
        acked.offset !== mark.offset || acked.checkedAt !== mark.checkedAt,
    );
    if (values.length === 0 && !moved) return;
    lane.push({
      topic: 'logs',
      values,
      done: () => {
        for (const { file, mark } of marks) file.acked = mark;
        chain.prune();
        checkpoints.write(this.spec.key, () => chain.checkpoint);
      },
    });
  }
}
