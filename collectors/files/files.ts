import { constants, promises as fs } from 'node:fs';
import { basename, dirname, extname, resolve } from 'node:path';
import type { FileConfig, ReflexarcConfig } from '../../core/config/reflexarc.ts';
import { messageOf } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import { Streams } from '../streams.ts';
import { inodeKey, statFile } from '../tail/bytes.ts';
import { tailCheckpoint } from '../tail/checkpoint.ts';
import { plainFramer } from '../tail/plain.ts';
import type { Tail } from '../tail/tail.ts';
import type { Tailing } from '../tail/tailing.ts';

const PREFIX = 'collect/files/';
/** How often the patterns are looked up for new files. */
const GLOB = 2000;
/** For how long a rotated file may still grow: until its writer has been told. */
const LINGER = 5000;
/** A file that has had no name for so long is not waited for any more. */
const FORGET = 24 * 3_600_000;

interface Entry {
  readonly tail: Tail;
  missingSince: number | undefined;
}

/** The user's files (`sources.files`): found by patterns, again and again. */
export class Files {
  readonly #config: ReflexarcConfig;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #checkpoints: Checkpoints;
  readonly #tailing: Tailing;
  readonly #host: string;
  readonly #stamp: () => string;
  readonly #entries = new Map<string, Entry>();
  /** Which log has (had) a file: a rotated one that a pattern finds as well is read once. */
  readonly #owners = new Map<string, string>();
  readonly #said = new Set<string>();
  #timer: { cancel(): void } | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  #looked = false;

  constructor(deps: {
    config: ReflexarcConfig;
    telemetry: Telemetry;
    measures: Measures;
    checkpoints: Checkpoints;
    tailing: Tailing;
    host: string;
    stamp: () => string;
  }) {
    this.#config = deps.config;
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
    this.#checkpoints = deps.checkpoints;
    this.#tailing = deps.tailing;
    this.#host = deps.host;
    this.#stamp = deps.stamp;
  }

  /** Resolves when the files that are there have been found. */
  async start(): Promise<void> {
    if (this.#config.sources.files.length === 0) return;
    for (const key of await this.#checkpoints.keys(PREFIX)) {
      const saved = await this.#checkpoints.read(key, tailCheckpoint);
      for (const file of saved?.files ?? []) this.#owners.set(inodeKey(file), key);
      for (const past of saved?.past ?? []) this.#owners.set(past.inode, key);
    }
    await this.#look();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  #look(): Promise<void> {
    this.#looking = this.#find().then(() => {
      if (this.#stopped) return;
      this.#timer = this.#telemetry.clock.after(GLOB, () => void this.#look());
    });
    return this.#looking;
  }

  async #find(): Promise<void> {
    const found = new Set<string>();
    for (const config of this.#config.sources.files) {
      try {
        const exclude = config.exclude.map((pattern) => resolve(pattern));
        const patterns = config.paths.map((pattern) => resolve(pattern));
        for (const pattern of patterns) await this.#requireAccess(pattern);
        for await (const path of fs.glob(patterns, { exclude })) {
          if (found.has(path)) continue;
          found.add(path);
          await this.#add(path, config);
        }
        this.#said.delete(config.paths.join());
      } catch (error) {
        this.#say(config.paths.join(), error, 'cannot look up files');
      }
    }
    this.#looked = true;
    const now = this.#telemetry.clock.monotonic();
    for (const [path, entry] of this.#entries) {
      if (found.has(path)) entry.missingSince = undefined;
      else entry.missingSince ??= now;
      if (now - (entry.missingSince ?? now) > FORGET) await this.#forget(path, entry);
    }
  }

  /** `glob` finds nothing in a folder that it may not read, and says nothing. */
  async #requireAccess(pattern: string): Promise<void> {
    const folder = fixedFolder(pattern);
    const mode = folder === dirname(pattern) && !MAGIC.test(pattern) ? SEARCH : SEARCH | READ;
    try {
      await fs.access(folder, mode);
      if (this.#said.delete(pattern)) {
        this.#telemetry.log.info({ path: pattern }, 'the folder of log files can be read again');
      }
    } catch (error) {
      // Not there (yet) is fine.
      if (isRefusal(error)) this.#say(pattern, error, `cannot look up files in ${folder}`);
    }
  }

  async #add(path: string, config: FileConfig): Promise<void> {
    if (this.#entries.has(path) || this.#stopped) return;
    const key = `${PREFIX}${path}`;
    try {
      const inode = await statFile(path);
      if (inode === undefined) return;
      const owner = this.#owners.get(inodeKey(inode));
      if (owner !== undefined && owner !== key) return;
    } catch (error) {
      this.#say(path, error, 'cannot look at file');
      return;
    }
    const service = config.service ?? basename(path, extname(path));
    const host = this.#host;
    const streams = new Streams(
      { ...this.#config.labels, ...config.labels, service, host },
      { 'host.name': host, 'service.name': service, 'log.file.path': path },
    );
    const maxLine = this.#config.sources.max_line;
    const tail = this.#tailing.add(
      {
        path,
        key,
        kind: 'file',
        // A file that came after us has nothing but new lines.
        from: this.#looked ? 'beginning' : config.from,
        older: false,
        maxLine,
        linger: LINGER,
        // Machines made of one image have files of the same numbers.
        name: (place, fingerprint, incarnation) => ({
          source: `file:${place.device}:${place.inode}`,
          generation: `${host}:${place.birth}:${fingerprint}:${incarnation}`,
        }),
        claim: (inode) => this.#claim(inode, key),
      },
      `file:${host}:${path}`,
      (writer) => plainFramer({ writer, streams: () => streams, stamp: this.#stamp }),
    );
    this.#entries.set(path, { tail, missingSince: undefined });
  }

  #claim(inode: string, key: string): boolean {
    const owner = this.#owners.get(inode);
    if (owner !== undefined && owner !== key) return false;
    this.#owners.set(inode, key);
    return true;
  }

  async #forget(path: string, { tail }: Entry): Promise<void> {
    this.#entries.delete(path);
    await this.#tailing.remove(tail);
    await this.#checkpoints.remove(tail.spec.key);
    for (const [inode, owner] of this.#owners) {
      if (owner === tail.spec.key) this.#owners.delete(inode);
    }
  }

  #say(about: string, error: unknown, message: string): void {
    const code = (error as NodeJS.ErrnoException).code ?? 'internal';
    this.#measures.readErrors.inc({ kind: 'file', code });
    if (this.#said.has(about)) return;
    this.#said.add(about);
    this.#telemetry.log.error(
      {
        err: error,
        path: about,
        reason: messageOf(error),
        ...(isRefusal(error)
          ? { hint: 'let this user read the folder and enter it; it is tried again' }
          : {}),
      },
      message,
    );
  }
}

const { R_OK: READ, X_OK: SEARCH } = constants;
const MAGIC = /[*?[\]{}()!]/;

/** The folder that a pattern begins with. */
function fixedFolder(pattern: string): string {
  const magic = pattern.search(MAGIC);
  const fixed = magic === -1 ? pattern : pattern.slice(0, magic);
  return fixed.slice(0, Math.max(1, fixed.lastIndexOf('/')));
}

const isRefusal = (error: unknown): boolean =>
  ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
