import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { messageOf } from '../../core/errors.ts';
import { sourceId } from '../../core/records/codec.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Lane } from '../output/output.ts';
import {
  type Bytes,
  fingerprint,
  hash,
  type Inode,
  inodeKey,
  sameInode,
  statFile,
} from './bytes.ts';
import { candidates, type Found, findContent, openAny } from './candidates.ts';
import { cutAt, takeLines } from './lines.ts';
import type { LogWriter } from './writer.ts';

/** How many bytes before the offset are compared, to notice that a file has become another. */
const OVERLAP = 64;
const PAST = 32;
const MOST_TRIES = 10;
/** File systems stamp with the kernel's last tick, which is milliseconds ago. */
const COARSE = 100;

type Place = Pick<Inode, 'device' | 'inode' | 'birth'>;

/** What turns lines of a file into records. */
export interface Framer {
  /** False: not now, ask again (see `TakeLine`). */
  line(text: string, offset: number, cut: number, file: TailedFile): boolean;
  /** Where a line begins that is not complete; reading goes on from there after a restart. */
  low(file: TailedFile): number | undefined;
  /**
   * Asked before a read: whether what is unfinished at the end of what is read stays so, since its
   * writer has ended.
   */
  over(): boolean;
  /** Whether bytes without a line break are a line by themselves once their writer has ended. */
  readonly takesRest: boolean;
  /** Nothing more comes: what is incomplete is all there is. `file` is the last one read. */
  flush(file: TailedFile): void;
}

/** A file as framers see it. */
export interface TailedFile {
  readonly path: string;
  readonly source: string;
  readonly generation: string;
  /** Short for source and generation: what the lines' ids are made of. */
  readonly id: string;
  /** Offset of the first line not yet taken. */
  readonly offset: number;
}

export interface TailSpec {
  readonly path: string;
  /** Where the checkpoint is, as in `collect/logs/docker:<id>`. */
  readonly key: string;
  readonly kind: string;
  readonly from: 'beginning' | 'end';
  /** Whether a log not seen before begins with the files it was rotated to. */
  readonly older: boolean;
  readonly maxLine: number;
  /** Milliseconds for which a rotated file may still grow. */
  readonly linger: number;
  /** `incarnation`: how often the very same file was truncated before. */
  readonly name: (
    place: Place,
    fingerprint: string,
    incarnation: number,
  ) => { source: string; generation: string };
  /** Whether this tail may have the file; false where another one reads it or has read it. */
  readonly claim?: (inode: string) => boolean;
}

interface Mark {
  readonly offset: number;
  readonly checkedAt: number;
  readonly before: Buffer;
}

class Chained implements TailedFile {
  path: string;
  readonly bytes: Bytes;
  readonly place: Place;
  fingerprint: string | undefined;
  incarnation = 0;
  source = '';
  generation = '';
  id = '';
  offset = 0;
  /** The next byte to read: beyond `offset` only within a line over the limit. */
  next = 0;
  before: Buffer = Buffer.alloc(0);
  size = 0;
  seen = 0;
  /** The beginning of a line over the limit, whose rest is skipped. */
  long: Buffer | undefined;
  acked: Mark = { offset: 0, checkedAt: 0, before: this.before };
  superseded = false;
  lastGrowth = 0;
  ended = false;

  constructor(path: string, bytes: Bytes, place: Place) {
    this.path = path;
    this.bytes = bytes;
    this.place = place;
  }
}

export const tailCheckpoint = z.object({
  at: z.number(),
  files: z.array(
    z.object({
      device: z.string(),
      inode: z.string(),
      birth: z.string(),
      fingerprint: z.string().optional(),
      incarnation: z.int().min(0),
      source: z.string(),
      generation: z.string(),
      offset: z.int().min(0),
      checkedAt: z.int().min(0),
      check: z.string(),
    }),
  ),
  /** Files read to their end: by inode, and by content for when they are compressed. */
  past: z.array(
    z.object({
      inode: z.string(),
      fingerprint: z.string().optional(),
      at: z.int().min(0),
      check: z.string(),
    }),
  ),
});
type TailCheckpoint = z.output<typeof tailCheckpoint>;

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
  #files: Chained[] = [];
  #past: TailCheckpoint['past'] = [];
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
  }

  /** Bytes known to be there that the bus does not have. */
  get lag(): number {
    return this.#files.reduce((sum, file) => sum + Math.max(0, file.size - file.acked.offset), 0);
  }

  get open(): number {
    return this.#files.filter((file) => !file.ended).length;
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
    for (const file of this.#files) if (!file.ended) await file.bytes.close();
  }

  /** Reads one buffer of bytes at most. @returns whether there may be more at once. */
  async step(buffer: Buffer): Promise<boolean> {
    if (this.#closed) return false;
    const { lane } = this.#deps;
    if (lane.full) {
      lane.onRoom(this.#deps.wake);
      return false;
    }
    try {
      const more = await this.#step(buffer);
      if (this.#problem !== undefined) {
        this.#problem = undefined;
        this.#deps.telemetry.log.info({ path: this.spec.path }, 'log file can be read again');
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
      const hint =
        code === 'EACCES' || code === 'EPERM'
          ? 'let this user read the file and its folder; it is tried again every second'
          : 'it is tried again every second';
      this.#deps.telemetry.log.error(
        { err: error, path: this.spec.path, hint },
        'cannot read log file',
      );
    }
    this.#problem = message;
    // The file of something that is gone will not become readable.
    if (this.#ending && ['EACCES', 'EPERM', 'ENOENT', 'EIO'].includes(code)) this.#end();
  }

  async #step(buffer: Buffer): Promise<boolean> {
    if (!this.#restored) await this.#restore();
    if (this.#look) {
      this.#look = false;
      await this.#lookAtPath();
    }
    for (const file of this.#files) {
      if (file.ended) continue;
      const outcome = await this.#read(file, buffer);
      if (outcome === 'more') return true;
      if (outcome === 'held') return false;
      if (this.#mayEnd(file) && (await this.#endFile(file, buffer)) === 'more') return true;
    }
    if (this.#ending && this.#files.every((file) => file.ended)) {
      const last = this.#files.at(-1);
      if (!this.#flushed && last !== undefined) {
        this.#flushed = true;
        this.#deps.framer.flush(last);
      }
      this.#send();
      this.#deps.lane.push({ topic: 'logs', values: [], done: () => this.#end() });
    }
    return false;
  }

  #end(): void {
    this.#finished.resolve();
  }

  #mayEnd(file: Chained): boolean {
    if (this.#ending) return true;
    if (!file.superseded) return false;
    const quiet = this.#deps.telemetry.clock.monotonic() - file.lastGrowth;
    return quiet >= this.spec.linger;
  }

  // ---- reading

  async #read(file: Chained, buffer: Buffer): Promise<'more' | 'end' | 'held'> {
    if (file.id === '' && !(await this.#identify(file, this.#mayEnd(file)))) return 'end';
    const over = this.#deps.framer.over();
    const overlap = file.before.length;
    const base = file.next - overlap;
    const read = await file.bytes.read(buffer, buffer.length, base);
    if (this.#closed) return 'end';
    if (read < overlap || file.before.compare(buffer, 0, overlap) !== 0) {
      await this.#replaced(file);
      return 'more';
    }
    const chunk = buffer.subarray(overlap, read);
    if (base + read > file.seen) {
      file.seen = base + read;
      file.lastGrowth = this.#deps.telemetry.clock.monotonic();
    }
    file.size = read < buffer.length ? base + read : Math.max(file.size, base + read);
    const { done, held } = this.#frame(file, chunk);
    if (done > 0) {
      this.#deps.measures.bytes.inc({ kind: this.spec.kind }, done);
      file.next += done;
      if (file.long === undefined) file.offset = file.next;
      const end = overlap + done;
      file.before = Buffer.from(buffer.subarray(Math.max(0, end - OVERLAP), end));
    }
    const end = !held && read < buffer.length;
    if (end && over) this.#settle(file, chunk.subarray(done));
    this.#send();
    if (held) return 'held';
    return end ? 'end' : 'more';
  }

  /** What has no line break yet gets none: who wrote it has ended. */
  #settle(file: Chained, rest: Buffer): void {
    const { framer } = this.#deps;
    if (!framer.takesRest) framer.flush(file);
    else if (file.long !== undefined) {
      if (this.#takeLong(file, file.next)) file.offset = file.next;
    } else if (rest.length > 0 && framer.line(rest.toString(), file.offset, 0, file)) {
      file.next += rest.length;
      file.offset = file.next;
      file.before = Buffer.concat([file.before, rest]).subarray(-OVERLAP);
    }
  }

  #frame(file: Chained, chunk: Buffer): { done: number; held: boolean } {
    const { framer, measures } = this.#deps;
    if (file.long !== undefined) return this.#frameLong(file, chunk);
    const taken = takeLines(
      chunk,
      file.next,
      {
        max: this.spec.maxLine,
        onInvalid: (lines) => measures.invalidUtf8.inc({ kind: this.spec.kind }, lines),
      },
      (text, offset, cut) => framer.line(text, offset, cut, file),
    );
    if (taken.held || taken.done > 0 || chunk.length <= this.spec.maxLine) return taken;
    // No line break within the limit: keep what may be kept, skip the rest without holding it.
    file.long = Buffer.from(chunk.subarray(0, cutAt(chunk, 0, this.spec.maxLine)));
    return { done: chunk.length, held: false };
  }

  #frameLong(file: Chained, chunk: Buffer): { done: number; held: boolean } {
    const newline = chunk.indexOf(10);
    if (newline === -1) return { done: chunk.length, held: false };
    if (!this.#takeLong(file, file.next + newline)) return { done: 0, held: true };
    return { done: newline + 1, held: false };
  }

  #takeLong(file: Chained, end: number): boolean {
    const kept = file.long;
    if (kept === undefined) return true;
    if (!isUtf8(kept)) this.#deps.measures.invalidUtf8.inc({ kind: this.spec.kind });
    const cut = end - file.offset - kept.length;
    if (!this.#deps.framer.line(kept.toString(), file.offset, cut, file)) return false;
    file.long = undefined;
    return true;
  }

  async #identify(file: Chained, final: boolean): Promise<boolean> {
    const found = await fingerprint(file.bytes, final);
    if (found === undefined) return false;
    file.fingerprint = found;
    const { source, generation } = this.spec.name(file.place, found, file.incarnation);
    file.source = source;
    file.generation = generation;
    file.id = sourceId(file.source, file.generation);
    return true;
  }

  /** Hands what is written so far to the lane; the checkpoint follows when it is durable. */
  #send(): void {
    const { lane, writer, framer, checkpoints } = this.#deps;
    const marks = this.#files.map((file) => ({
      file,
      mark: {
        offset: framer.low(file) ?? file.offset,
        checkedAt: file.next,
        before: file.before,
      },
    }));
    const { values, letters } = writer.take();
    if (letters.length > 0) {
      lane.push({ topic: 'dead-letters', values: letters, done: () => undefined });
    }
    const moved = marks.some(
      ({ file, mark }) =>
        file.acked.offset !== mark.offset || file.acked.checkedAt !== mark.checkedAt,
    );
    if (values.length === 0 && !moved) return;
    lane.push({
      topic: 'logs',
      values,
      done: () => {
        for (const { file, mark } of marks) file.acked = mark;
        this.#prune();
        checkpoints.write(this.spec.key, () => this.#snapshot());
      },
    });
  }

  /** Ended files of which everything is durable are the past. */
  #prune(): void {
    const over = this.#files.filter((file) => file.ended && file.acked.offset >= file.next);
    if (over.length === 0) return;
    this.#files = this.#files.filter((file) => !over.includes(file));
    for (const file of over) {
      const key = inodeKey(file.place);
      if (this.#files.some((other) => inodeKey(other.place) === key)) continue;
      this.#past.push({
        inode: key,
        ...(file.fingerprint === undefined ? {} : { fingerprint: file.fingerprint }),
        at: file.next,
        check: hash(file.before),
      });
    }
    this.#past = this.#past.slice(-PAST);
  }

  #snapshot(): TailCheckpoint {
    return {
      at: this.#deps.telemetry.clock.now(),
      files: this.#files.map((file) => ({
        device: file.place.device,
        inode: file.place.inode,
        birth: file.place.birth,
        ...(file.fingerprint === undefined ? {} : { fingerprint: file.fingerprint }),
        incarnation: file.incarnation,
        source: file.source,
        generation: file.generation,
        offset: file.acked.offset,
        checkedAt: file.acked.checkedAt,
        check: hash(file.acked.before),
      })),
      past: this.#past,
    };
  }

  // ---- the chain of files

  /** The end of a file that nothing is written to any more. */
  async #endFile(file: Chained, buffer: Buffer): Promise<'more' | 'end'> {
    if (file.long !== undefined) {
      if (!this.#takeLong(file, file.next)) return 'end';
      file.offset = file.next;
    } else if (file.id !== '') {
      // Its last line has no line break, and will get none.
      const read = await file.bytes.read(buffer, buffer.length, file.next);
      const rest = buffer.subarray(0, read);
      if (rest.includes(10) || read === buffer.length) return 'more';
      if (read > 0) {
        const kept = read > this.spec.maxLine ? cutAt(rest, 0, this.spec.maxLine) : read;
        const text = rest.toString('utf8', 0, kept);
        if (!isUtf8(rest.subarray(0, kept))) {
          this.#deps.measures.invalidUtf8.inc({ kind: this.spec.kind });
        }
        if (!this.#deps.framer.line(text, file.offset, read - kept, file)) return 'end';
        file.next += read;
        file.offset = file.next;
        file.before = Buffer.concat([file.before, rest]).subarray(-OVERLAP);
      }
    }
    file.ended = true;
    await file.bytes.close();
    this.#send();
    this.#prune();
    return 'end';
  }

  async #lookAtPath(): Promise<void> {
    const { path } = this.spec;
    const now = await statFile(path);
    const last = this.#files.findLast((file) => !file.ended);
    if (now === undefined) {
      // Deleted, not renamed: it has no name left.
      if (last !== undefined && (await last.bytes.stat()).links === 0) last.superseded = true;
    } else if (last !== undefined && sameInode(now, last.place)) {
      last.superseded = false;
      last.size = now.size;
      return;
    } else if (this.#files.some((file) => sameInode(now, file.place))) return;
    const newer = last === undefined ? await this.#newest() : await this.#newerThan(last);
    if (newer.length === 0) return;
    if (last !== undefined) this.#deps.measures.rotations.inc({ kind: this.spec.kind });
    if (!(await this.#append(newer))) this.#look = true;
  }

  async #newest(): Promise<Found[]> {
    const all = await candidates(this.spec.path);
    return this.#unread(all.filter((found) => this.#begins(found)));
  }

  /** Those that are none of the files read before, also compressed. */
  async #unread(all: readonly Found[]): Promise<Found[]> {
    const unread: Found[] = [];
    for (const found of all) {
      const key = inodeKey(found);
      if (this.#past.some((past) => past.inode === key)) continue;
      if (found.path.endsWith('.gz') && (await this.#wasRead(found))) continue;
      unread.push(found);
    }
    return unread;
  }

  async #wasRead(found: Found): Promise<boolean> {
    // Also what is being read through a descriptor of its own, and compressed meanwhile.
    for (const file of this.#files) if (file.id === '') await this.#identify(file, false);
    const open = this.#files.map((file) => ({
      fingerprint: file.fingerprint,
      at: file.next,
      check: hash(file.before),
    }));
    for (const { fingerprint, at, check } of [...this.#past, ...open]) {
      if (fingerprint === undefined || at === 0) continue;
      if ((await findContent([found], { fingerprint, at, check })) !== undefined) return true;
    }
    return false;
  }

  #begins(found: Found): boolean {
    return this.spec.older || found.path === this.spec.path;
  }

  /** What was rotated since, oldest first, and the file at the path. */
  async #newerThan(last: Chained): Promise<Found[]> {
    const all = await candidates(this.spec.path);
    const at = all.findIndex((found) => sameInode(found, last.place));
    const { modified } = await last.bytes.stat();
    const known = new Set(this.#files.map((file) => inodeKey(file.place)));
    const newer =
      at === -1
        ? // Rotated away altogether, or compressed: what was written after it is newer.
          all.filter((found) => found.path === this.spec.path || found.modified >= modified)
        : all.slice(at + 1);
    return this.#unread(newer.filter((found) => !known.has(inodeKey(found))));
  }

  /** All of them, behind those that are there. @returns false, and adds none, if one moved away. */
  async #append(found: readonly Found[]): Promise<boolean> {
    const opened: Chained[] = [];
    try {
      for (const one of found) {
        if (this.spec.claim?.(inodeKey(one)) === false) continue;
        const file = await this.#open(one);
        opened.push(file);
        if (!sameInode(file.place, one)) return false;
      }
      if (opened.length > 0) for (const file of this.#files) file.superseded = true;
      this.#files.push(...opened.splice(0));
      return true;
    } finally {
      for (const file of opened) await file.bytes.close();
    }
  }

  async #open({ path }: Found): Promise<Chained> {
    const bytes = await openAny(path);
    const place = await bytes.stat();
    const file = new Chained(path, bytes, place);
    file.lastGrowth = this.#deps.telemetry.clock.monotonic();
    file.size = place.size;
    file.superseded = path !== this.spec.path;
    return file;
  }

  /** The file became shorter or other than what was read: a new generation begins at its start. */
  async #replaced(file: Chained): Promise<void> {
    const { measures, telemetry, checkpoints } = this.#deps;
    measures.truncations.inc({ kind: this.spec.kind });
    telemetry.log.info({ path: file.path, offset: file.offset }, 'log file was truncated');
    const fresh = new Chained(file.path, file.bytes, file.place);
    fresh.incarnation = file.incarnation + 1;
    fresh.superseded = file.superseded;
    fresh.lastGrowth = telemetry.clock.monotonic();
    // What was copied before the truncation and not read yet is in the copy.
    const copy = await this.#continuation(file);
    const at = this.#files.indexOf(file);
    this.#files.splice(at, 1, ...(copy === undefined ? [fresh] : [copy, fresh]));
    // Before a line of it goes out: with the same first line, a restart could not tell them apart.
    try {
      await checkpoints.writeNow(this.spec.key, this.#snapshot());
    } catch (error) {
      telemetry.log.warn({ err: error, path: file.path }, 'cannot write the checkpoint');
    }
  }

  async #continuation(file: Chained): Promise<Chained | undefined> {
    if (file.fingerprint === undefined) return undefined;
    const others = (await candidates(this.spec.path)).filter(
      (found) => !sameInode(found, file.place) && found.path !== this.spec.path,
    );
    const found = await findContent(others, {
      fingerprint: file.fingerprint,
      at: file.next,
      check: hash(file.before),
    });
    if (found === undefined) return undefined;
    const copy = await this.#open(found);
    if (!sameInode(copy.place, found)) {
      // Rotated once more since.
      await copy.bytes.close();
      return this.#continuation(file);
    }
    this.#takeOver(copy, file, { offset: file.offset, checkedAt: file.next, before: file.before });
    copy.long = file.long;
    copy.acked = file.acked;
    copy.superseded = true;
    this.spec.claim?.(inodeKey(found));
    return copy;
  }

  #takeOver(
    file: Chained,
    from: {
      fingerprint?: string | undefined;
      incarnation: number;
      source: string;
      generation: string;
    },
    mark: Mark,
  ): void {
    file.fingerprint = from.fingerprint;
    file.incarnation = from.incarnation;
    if (from.fingerprint !== undefined) {
      file.source = from.source;
      file.generation = from.generation;
      file.id = sourceId(from.source, from.generation);
    }
    file.offset = mark.offset;
    file.next = mark.checkedAt;
    file.before = mark.before;
    file.acked = mark;
  }

  // ---- starting

  async #restore(): Promise<void> {
    const saved = await this.#deps.checkpoints.read(this.spec.key, tailCheckpoint);
    if (saved === undefined) {
      const all = await candidates(this.spec.path);
      if (!(await this.#append(all.filter((found) => this.#begins(found))))) {
        this.#look = true;
      } else if (this.spec.from === 'end') {
        for (const file of this.#files) await skipToEnd(file);
        // What is written while nobody reads is new all the same.
        await this.#deps.checkpoints.writeNow(this.spec.key, this.#snapshot());
      }
    } else {
      this.#past = [...saved.past];
      for (let tries = 0; !(await this.#resume(saved, await candidates(this.spec.path))); tries++) {
        if (tries > MOST_TRIES) throw new Error('the log is rotated faster than it can be opened');
      }
    }
    this.#restored = true;
  }

  /** @returns false when the files moved meanwhile, and nothing was done. */
  async #resume(saved: TailCheckpoint, all: readonly Found[]): Promise<boolean> {
    const located = new Map<string, TailCheckpoint['files'][number]>();
    for (const one of saved.files) {
      const content = { fingerprint: one.fingerprint, at: one.checkedAt, check: one.check };
      const same = all.filter((found) => sameInode(found, one));
      const found =
        (await findContent(same, content)) ??
        (one.fingerprint === undefined ? undefined : await findContent(all, content));
      if (found !== undefined) located.set(found.path, one);
    }
    const first = all.findIndex((found) => located.has(found.path));
    const chain =
      first !== -1
        ? all.slice(first)
        : all.filter(
            (found) => found.path === this.spec.path || found.modified > saved.at - COARSE,
          );
    const unread = new Set(await this.#unread(chain));
    const wanted = chain.filter((found) => located.has(found.path) || unread.has(found));
    if (!(await this.#append(wanted))) return false;
    let changed = false;
    for (const file of this.#files) {
      const mark = located.get(file.path);
      if (mark !== undefined) {
        const before = await bytesBefore(file.bytes, mark.offset);
        this.#takeOver(file, mark, { offset: mark.offset, checkedAt: mark.offset, before });
        continue;
      }
      const earlier = saved.files.filter((one) => sameInode(file.place, one));
      if (earlier.length === 0) continue;
      file.incarnation = Math.max(...earlier.map((one) => one.incarnation)) + 1;
      changed = true;
    }
    const found = new Set(located.values());
    for (const one of saved.files) {
      if (one.fingerprint !== undefined && !found.has(one)) this.#lost(one);
    }
    // A truncated file's next generation must be on record before its lines go out.
    if (changed) await this.#deps.checkpoints.writeNow(this.spec.key, this.#snapshot());
    return true;
  }

  #lost(one: TailCheckpoint['files'][number]): void {
    this.#deps.measures.lostFiles.inc({ kind: this.spec.kind });
    this.#deps.telemetry.log.warn(
      { path: this.spec.path, offset: one.offset },
      'the file read last is gone or was truncated; what it had beyond the checkpoint is lost',
    );
  }
}

async function bytesBefore(bytes: Bytes, offset: number): Promise<Buffer> {
  const length = Math.min(OVERLAP, offset);
  const buffer = Buffer.alloc(length);
  const read = await bytes.read(buffer, length, offset - length);
  return buffer.subarray(0, read);
}

/** To the beginning of the line that is being written. */
async function skipToEnd(file: Chained): Promise<void> {
  const { size } = await file.bytes.stat();
  const length = Math.min(size, 256 * 1024);
  const buffer = Buffer.allocUnsafe(length);
  const read = await file.bytes.read(buffer, length, size - length);
  const newline = buffer.subarray(0, read).lastIndexOf(10);
  const end = newline === -1 ? size : size - length + newline + 1;
  file.offset = end;
  file.next = end;
  file.size = size;
  file.before = await bytesBefore(file.bytes, end);
  file.acked = { offset: end, checkedAt: end, before: file.before };
}
