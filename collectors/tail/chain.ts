import type { Telemetry } from '../../core/service.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import { inodeKey, sameInode, statFile } from './bytes.ts';
import { candidates, type Found, findContent, openAny } from './candidates.ts';
import { Chained, type TailSpec } from './chained.ts';
import { type TailCheckpoint, tailCheckpoint } from './checkpoint.ts';

const PAST = 32;
const MOST_TRIES = 10;
/** File systems stamp with the kernel's last tick, which is milliseconds ago. */
const COARSE = 100;

/**
 * The files of one log, oldest first: the one at its path, and those that were there before it and
 * are not read to their end.
 */
export class Chain {
  files: Chained[] = [];
  readonly #spec: TailSpec;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #checkpoints: Checkpoints;
  #past: TailCheckpoint['past'] = [];

  constructor(
    spec: TailSpec,
    deps: { telemetry: Telemetry; measures: Measures; checkpoints: Checkpoints },
  ) {
    this.#spec = spec;
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
    this.#checkpoints = deps.checkpoints;
  }

  get checkpoint(): TailCheckpoint {
    return {
      at: this.#telemetry.clock.now(),
      files: this.files.map((file) => file.checkpoint),
      past: this.#past,
    };
  }

  /** Ended files of which everything is durable are the past. */
  prune(): void {
    const over = this.files.filter((file) => file.ended && file.acked.offset >= file.next);
    if (over.length === 0) return;
    this.files = this.files.filter((file) => !over.includes(file));
    for (const file of over) {
      const inode = inodeKey(file.place);
      if (this.files.some((other) => inodeKey(other.place) === inode)) continue;
      const { fingerprint, at, check } = file.content;
      this.#past.push({ inode, ...(fingerprint === undefined ? {} : { fingerprint }), at, check });
    }
    this.#past = this.#past.slice(-PAST);
  }

  /**
   * Sees whether another file is at the path, and what was there in between.
   * @returns false when the files moved meanwhile: look again.
   */
  async look(): Promise<boolean> {
    const now = await statFile(this.#spec.path);
    const last = this.files.findLast((file) => !file.ended);
    if (now === undefined) {
      // Deleted, not renamed: it has no name left.
      if (last !== undefined && (await last.bytes.stat()).links === 0) last.superseded = true;
    } else if (last !== undefined && sameInode(now, last.place)) {
      last.superseded = false;
      last.size = now.size;
      return true;
    } else if (this.files.some((file) => sameInode(now, file.place))) return true;
    const newer = last === undefined ? await this.#newest() : await this.#newerThan(last);
    if (newer.length === 0) return true;
    if (last !== undefined) this.#measures.rotations.inc({ kind: this.#spec.kind });
    return this.#append(newer);
  }

  /** The file became shorter or other than what was read: a new generation begins at its start. */
  async replace(file: Chained): Promise<void> {
    const { clock, log } = this.#telemetry;
    this.#measures.truncations.inc({ kind: this.#spec.kind });
    log.info({ path: file.path, offset: file.offset }, 'log file was truncated');
    const fresh = new Chained(file.path, file.bytes, file.place);
    fresh.incarnation = file.incarnation + 1;
    fresh.superseded = file.superseded;
    fresh.lastGrowth = clock.monotonic();
    // What was copied before the truncation and not read yet is in the copy.
    const copy = await this.#copyOf(file);
    const at = this.files.indexOf(file);
    this.files.splice(at, 1, ...(copy === undefined ? [fresh] : [copy, fresh]));
    // Before a line of it goes out: with the same first line, a restart could not tell them apart.
    try {
      await this.#checkpoints.writeNow(this.#spec.key, this.checkpoint);
    } catch (error) {
      log.warn({ err: error, path: file.path }, 'cannot write the checkpoint');
    }
  }

  /** Goes on where the checkpoint says, or begins. */
  async restore(): Promise<void> {
    const { from, key, path } = this.#spec;
    const saved = await this.#checkpoints.read(key, tailCheckpoint);
    this.#past = [...(saved?.past ?? [])];
    for (let tries = 0; ; tries++) {
      const all = await candidates(path);
      if (saved !== undefined ? await this.#resume(saved, all) : await this.#begin(all)) break;
      if (tries > MOST_TRIES) throw new Error('the log is rotated faster than it can be opened');
    }
    if (saved !== undefined || from === 'beginning') return;
    for (const file of this.files) await file.skipToEnd();
    // What is written while nobody reads is new all the same.
    await this.#checkpoints.writeNow(key, this.checkpoint);
  }

  #begin(all: readonly Found[]): Promise<boolean> {
    return this.#append(all.filter((found) => this.#begins(found)));
  }

  /** @returns false when the files moved meanwhile, and nothing was done. */
  async #resume(saved: TailCheckpoint, all: readonly Found[]): Promise<boolean> {
    const located = await locate(saved, all);
    const first = all.findIndex((found) => located.has(found.path));
    const isNewer = (found: Found): boolean =>
      found.path === this.#spec.path || found.modified > saved.at - COARSE;
    const chain = first === -1 ? all.filter(isNewer) : all.slice(first);
    const unread = new Set(await this.#unread(chain));
    const wanted = chain.filter((found) => located.has(found.path) || unread.has(found));
    if (!(await this.#append(wanted))) return false;
    let changed = false;
    for (const file of this.files) {
      const mark = located.get(file.path);
      if (mark !== undefined) {
        const { offset } = mark;
        const before = await file.bytesBefore(offset);
        file.takeOver(mark, { offset, checkedAt: offset, before });
        continue;
      }
      const earlier = saved.files.filter((one) => sameInode(file.place, one));
      if (earlier.length === 0) continue;
      file.incarnation = Math.max(...earlier.map((one) => one.incarnation)) + 1;
      changed = true;
    }
    const found = new Set(located.values());
    for (const one of saved.files) {
      if (one.fingerprint !== undefined && !found.has(one)) this.#lost(one.offset);
    }
    // A truncated file's next generation must be on record before its lines go out.
    if (changed) await this.#checkpoints.writeNow(this.#spec.key, this.checkpoint);
    return true;
  }

  #lost(offset: number): void {
    this.#measures.lostFiles.inc({ kind: this.#spec.kind });
    this.#telemetry.log.warn(
      { path: this.#spec.path, offset },
      'the file read last is gone or was truncated; what it had beyond the checkpoint is lost',
    );
  }

  #begins(found: Found): boolean {
    return this.#spec.older || found.path === this.#spec.path;
  }

  async #newest(): Promise<Found[]> {
    const all = await candidates(this.#spec.path);
    return this.#unread(all.filter((found) => this.#begins(found)));
  }

  /** What was rotated since, oldest first, and the file at the path. */
  async #newerThan(last: Chained): Promise<Found[]> {
    const all = await candidates(this.#spec.path);
    const at = all.findIndex((found) => sameInode(found, last.place));
    const { modified } = await last.bytes.stat();
    const known = new Set(this.files.map((file) => inodeKey(file.place)));
    const newer =
      at === -1
        ? // Rotated away altogether, or compressed: what was written after it is newer.
          all.filter((found) => found.path === this.#spec.path || found.modified >= modified)
        : all.slice(at + 1);
    return this.#unread(newer.filter((found) => !known.has(inodeKey(found))));
  }

  /** Those that are none of the files read before, also compressed. */
  async #unread(all: readonly Found[]): Promise<Found[]> {
    const unread: Found[] = [];
    for (const found of all) {
      const inode = inodeKey(found);
      if (this.#past.some((past) => past.inode === inode)) continue;
      if (found.path.endsWith('.gz') && (await this.#wasRead(found))) continue;
      unread.push(found);
    }
    return unread;
  }

  async #wasRead(found: Found): Promise<boolean> {
    // Also what is being read through a descriptor of its own, and compressed meanwhile.
    for (const file of this.files) await file.identify(this.#spec, false);
    for (const one of [...this.#past, ...this.files.map((file) => file.content)]) {
      if (one.fingerprint === undefined || one.at === 0) continue;
      const content = { fingerprint: one.fingerprint, at: one.at, check: one.check };
      if ((await findContent([found], content)) !== undefined) return true;
    }
    return false;
  }

  /** All of them, behind those that are there. @returns false, and adds none, if one moved away. */
  async #append(found: readonly Found[]): Promise<boolean> {
    const opened: Chained[] = [];
    try {
      for (const one of found) {
        if (this.#spec.claim?.(inodeKey(one)) === false) continue;
        const file = await this.#open(one);
        opened.push(file);
        if (!sameInode(file.place, one)) return false;
      }
      if (opened.length > 0) for (const file of this.files) file.superseded = true;
      this.files.push(...opened.splice(0));
      return true;
    } finally {
      for (const file of opened) await file.bytes.close();
    }
  }

  async #open({ path }: Found): Promise<Chained> {
    const bytes = await openAny(path);
    const place = await bytes.stat();
    const file = new Chained(path, bytes, place);
    file.lastGrowth = this.#telemetry.clock.monotonic();
    file.size = place.size;
    file.superseded = path !== this.#spec.path;
    return file;
  }

  async #copyOf(file: Chained): Promise<Chained | undefined> {
    if (file.fingerprint === undefined) return undefined;
    const others = (await candidates(this.#spec.path)).filter(
      (found) => !sameInode(found, file.place) && found.path !== this.#spec.path,
    );
    const found = await findContent(others, file.content);
    if (found === undefined) return undefined;
    const copy = await this.#open(found);
    if (!sameInode(copy.place, found)) {
      // Rotated once more since.
      await copy.bytes.close();
      return this.#copyOf(file);
    }
    copy.takeOver(file, { offset: file.offset, checkedAt: file.next, before: file.before });
    copy.long = file.long;
    copy.acked = file.acked;
    copy.superseded = true;
    this.#spec.claim?.(inodeKey(found));
    return copy;
  }
}

type Saved = TailCheckpoint['files'][number];

/** Where the files of a checkpoint are now, by path: by inode, else by what is in them. */
async function locate(
  saved: TailCheckpoint,
  all: readonly Found[],
): Promise<ReadonlyMap<string, Saved>> {
  const located = new Map<string, Saved>();
  for (const one of saved.files) {
    const content = { fingerprint: one.fingerprint, at: one.checkedAt, check: one.check };
    const same = all.filter((found) => sameInode(found, one));
    const found =
      (await findContent(same, content)) ??
      (one.fingerprint === undefined ? undefined : await findContent(all, content));
    if (found !== undefined) located.set(found.path, one);
  }
  return located;
}
