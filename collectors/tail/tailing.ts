import { promises as fs } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Telemetry } from '../../core/service.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Output } from '../output/output.ts';
import type { TailSpec } from './chained.ts';
import type { Framer } from './framer.ts';
import { Notices } from './notices.ts';
import { Tail } from './tail.ts';
import { Turns } from './turns.ts';
import { LogWriter } from './writer.ts';

/** The safety net under the notices of change, and the pace of retries. */
const POLL = 1000;
/** The pace for files whose folder cannot be watched. */
const FAST_POLL = 100;
const CHUNK = 512 * 1024;

/** Everything that is tailed: turns, notices, and the poll. */
export class Tailing {
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #checkpoints: Checkpoints;
  readonly #output: Output;
  readonly #turns: Turns;
  readonly #notices: Notices;
  readonly #tails = new Map<Tail, { folders: string[]; end: (() => void)[]; real: string }>();
  #poll: { cancel(): void } | undefined;
  #polls = 0;

  constructor(deps: {
    telemetry: Telemetry;
    measures: Measures;
    checkpoints: Checkpoints;
    output: Output;
    maxLine: number;
  }) {
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
    this.#checkpoints = deps.checkpoints;
    this.#output = deps.output;
    // A line must fit the buffer with room for what is compared before it.
    const bytes = Math.max(CHUNK, deps.maxLine + CHUNK / 2);
    this.#turns = new Turns(deps.telemetry.clock, { workers: 2, bytes });
    this.#notices = new Notices(deps.telemetry.log);
    this.#schedule();
  }

  /** `frame` makes the framer that writes to `writer`. `busKey`: the lane's key. */
  add(spec: TailSpec, busKey: string, frame: (writer: LogWriter) => Framer): Tail {
    const writer = new LogWriter(busKey, spec.kind, this.#measures);
    const wake = (): void => this.#turns.wake(tail);
    const tail: Tail = new Tail(spec, {
      telemetry: this.#telemetry,
      measures: this.#measures,
      checkpoints: this.#checkpoints,
      lane: this.#output.lane(busKey),
      writer,
      framer: frame(writer),
      wake,
    });
    this.#tails.set(tail, { folders: [], end: [], real: spec.path });
    this.#watch(tail);
    this.#turns.add(tail);
    return tail;
  }

  /** Something may have been written to it. */
  wake(tail: Tail): void {
    this.#turns.wake(tail);
  }

  /** Lets go of a tail; what it read and the bus took is on record. */
  async remove(tail: Tail): Promise<void> {
    const entry = this.#tails.get(tail);
    if (entry === undefined) return;
    this.#tails.delete(tail);
    for (const end of entry.end) end();
    this.#turns.remove(tail);
    await tail.close();
  }

  /** Stops reading; what was read is still on its way. */
  async stop(): Promise<void> {
    this.#poll?.cancel();
    this.#notices.close();
    await this.#turns.stop();
  }

  /** After everything else: lets go of the files. */
  async close(): Promise<void> {
    await Promise.all([...this.#tails.keys()].map((tail) => tail.close()));
    this.#tails.clear();
  }

  /** Open files and bytes behind, by kind. */
  sums(): Map<string, { open: number; lag: number }> {
    const sums = new Map<string, { open: number; lag: number }>();
    for (const tail of this.#tails.keys()) {
      const sum = sums.get(tail.spec.kind) ?? { open: 0, lag: 0 };
      sum.open += tail.open;
      sum.lag += tail.lag;
      sums.set(tail.spec.kind, sum);
    }
    return sums;
  }

  #schedule(): void {
    this.#poll = this.#telemetry.clock.after(FAST_POLL, () => {
      this.#polls++;
      const all = this.#polls % (POLL / FAST_POLL) === 0;
      for (const [tail, { folders }] of this.#tails) {
        const watched = folders.length > 0 && folders.every((folder) => this.#notices.has(folder));
        if (!all && watched) continue;
        if (all) this.#watch(tail);
        tail.lookAgain();
        this.#turns.wake(tail);
      }
      this.#schedule();
    });
  }

  /** Watches the folder of the path and, through symbolic links, of the file that is meant. */
  #watch(tail: Tail): void {
    const { path } = tail.spec;
    const entry = this.#tails.get(tail);
    if (entry === undefined) return;
    void fs
      .realpath(path)
      .catch(() => path)
      .then((real) => {
        if (!this.#tails.has(tail)) return;
        const folders = [...new Set([dirname(path), dirname(real)])];
        if (real === entry.real && folders.every((folder) => entry.folders.includes(folder))) {
          if (folders.every((folder) => this.#notices.has(folder))) return;
        }
        for (const end of entry.end) end();
        const names = [basename(path), basename(real)];
        entry.real = real;
        entry.folders = folders;
        entry.end = folders.flatMap((folder) => {
          const end = this.#notices.watch(folder, (name, renamed) => {
            if (name !== undefined && !names.includes(name)) return;
            if (renamed) tail.lookAgain();
            this.#turns.wake(tail);
          });
          return end === undefined ? [] : [end];
        });
        // What was written before the watch began gave no notice.
        this.#turns.wake(tail);
      });
  }
}
