import { isUtf8 } from 'node:buffer';
import type { Clock } from '../../core/clock.ts';
import type { Measures } from '../measures.ts';
import type { Chained, TailSpec } from './chained.ts';
import type { Framer } from './framer.ts';
import { cutAt, takeLines } from './lines.ts';

/**
 * `more`: there may be more at once; `end`: all that is there is read; `held`: a line cannot be
 * taken now; `replaced`: the file is not the one that was read before.
 */
export type Outcome = 'more' | 'end' | 'held' | 'replaced';

/** Reads files into lines, one buffer at a time. */
export class Reading {
  readonly #spec: TailSpec;
  readonly #framer: Framer;
  readonly #measures: Measures;
  readonly #clock: Clock;

  constructor(spec: TailSpec, deps: { framer: Framer; measures: Measures; clock: Clock }) {
    this.#spec = spec;
    this.#framer = deps.framer;
    this.#measures = deps.measures;
    this.#clock = deps.clock;
  }

  async read(file: Chained, buffer: Buffer): Promise<Outcome> {
    const over = this.#framer.over();
    const overlap = file.before.length;
    const base = file.next - overlap;
    const read = await file.bytes.read(buffer, buffer.length, base);
    if (read < overlap || file.before.compare(buffer, 0, overlap) !== 0) return 'replaced';
    const chunk = buffer.subarray(overlap, read);
    if (base + read > file.seen) {
      file.seen = base + read;
      file.lastGrowth = this.#clock.monotonic();
    }
    file.size = read < buffer.length ? base + read : Math.max(file.size, base + read);
    const { done, held, more } = this.#frame(file, chunk);
    if (done > 0) {
      this.#measures.bytes.inc({ kind: this.#spec.kind }, done);
      file.advance(done, buffer.subarray(0, overlap + done));
    }
    if (held) return 'held';
    if (more === true || read === buffer.length) return 'more';
    if (over) {
      // What has no line break yet gets none: who wrote it has ended.
      if (this.#framer.takesRest) this.#takeRest(file, chunk.subarray(done));
      else this.#framer.flush(file);
    }
    return 'end';
  }

  /** The last line of a file to which nothing is written any more, without its line break. */
  async finish(file: Chained, buffer: Buffer): Promise<Outcome> {
    if (file.id === '') return 'end';
    const read = await file.bytes.read(buffer, buffer.length, file.next);
    const rest = buffer.subarray(0, read);
    // It has grown after all.
    if (read === buffer.length || rest.includes(10)) return 'more';
    return this.#takeRest(file, rest) ? 'end' : 'held';
  }

  /** `more`: what follows a long line is not framed yet. */
  #frame(file: Chained, chunk: Buffer): { done: number; held: boolean; more?: boolean } {
    if (file.long !== undefined) return this.#frameLong(file, chunk);
    const { maxLine: max } = this.#spec;
    const onInvalid = (lines: number): void => this.#invalid(lines);
    const taken = takeLines(chunk, file.next, { max, onInvalid }, (text, offset, cut) =>
      this.#framer.line(text, offset, cut, file),
    );
    if (taken.held || taken.done > 0 || chunk.length <= max) return taken;
    // No line break within the limit: keep what may be kept, skip the rest without holding it.
    file.long = Buffer.from(chunk.subarray(0, cutAt(chunk, 0, max)));
    return { done: chunk.length, held: false };
  }

  #frameLong(file: Chained, chunk: Buffer): { done: number; held: boolean; more?: boolean } {
    const newline = chunk.indexOf(10);
    if (newline === -1) return { done: chunk.length, held: false };
    if (!this.#takeLong(file, file.next + newline)) return { done: 0, held: true };
    return { done: newline + 1, held: false, more: newline + 1 < chunk.length };
  }

  #takeLong(file: Chained, end: number): boolean {
    const kept = file.long;
    if (kept === undefined) return true;
    if (!this.#take(file, kept, end - file.offset)) return false;
    file.long = undefined;
    return true;
  }

  #takeRest(file: Chained, rest: Buffer): boolean {
    if (file.long !== undefined) {
      if (!this.#takeLong(file, file.next + rest.length)) return false;
    } else if (rest.length > 0) {
      const { maxLine } = this.#spec;
      const kept = rest.length > maxLine ? rest.subarray(0, cutAt(rest, 0, maxLine)) : rest;
      if (!this.#take(file, kept, rest.length)) return false;
    }
    file.advance(rest.length, Buffer.concat([file.before, rest]));
    return true;
  }

  /** A line that has `length` bytes, of which `kept` are kept. */
  #take(file: Chained, kept: Buffer, length: number): boolean {
    if (!isUtf8(kept)) this.#invalid(1);
    return this.#framer.line(kept.toString(), file.offset, length - kept.length, file);
  }

  #invalid(lines: number): void {
    this.#measures.invalidUtf8.inc({ kind: this.#spec.kind }, lines);
  }
}
