import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { messageOf, ReflexarcError } from '../../core/errors.ts';
import { fileError } from './lock.ts';

type Key = string | number | (string | number)[];

/** One table of an environment. Reads see what is committed. */
export interface Table {
  get(key: Key): Buffer | undefined;
  /** By key; `start` inclusive. Read it to the end or leave the loop at once: it pins a snapshot. */
  entries(start?: Key): Iterable<{ key: Key; value: Buffer }>;
  /** Only within `Environment.commit`. The bytes must not change until the commit settles. */
  put(key: Key, value: Uint8Array): void;
  /** Only within `Environment.commit`. Absent is fine. */
  remove(key: Key): void;
}

export interface EnvironmentOptions {
  readonly file: string;
  readonly tables: readonly string[];
  /** Address space kept for the file, so that it need not be mapped anew while it grows. */
  readonly mapSize: number;
}

// What must be free for an error to have another reason than a full disk.
const SPARE_BYTES = 1024 * 1024;

// Lines may hold what only their owner may read. lmdb-js passes it on for the file and its lock
// file (env.cpp), but does not declare it.
const OWNER_ONLY = { permissionsMode: 0o600 };

/**
 * An lmdb file. Several tables, one commit at a time, durable when it resolves.
 *
 * How lmdb-js 3.5 is used, and why:
 * - `overlappingSync: false`: a write's promise resolves after the commit, and the commit includes
 *   fdatasync and the synced meta page. With it on (the default) that promise means visible, not
 *   durable, and `flushed` never settles after a failed commit.
 * - `eventTurnBatching: false` and one explicit `batch` per commit: all of it is in one
 *   transaction; when a write in it fails, the whole transaction is aborted and the promise rejects.
 *   No other write is ever under way, so that a failure cannot take foreign writes along.
 * - The rejection's reason is in a second promise, `commitError`, which must be caught as well.
 * - lmdb reports a short write, which is how a disk gets full, as EIO: the free space tells.
 * - After a failed write of a meta page lmdb refuses every further transaction, and lmdb-js would
 *   hang on that for ever. So the file is opened anew after every failed commit.
 * - The map grows by itself (an lmdb-js addition): there is no MAP_FULL. `mapSize` only spares the
 *   remapping.
 */
export class Environment {
  readonly #options: EnvironmentOptions;
  #root: RootDatabase<Buffer, Key>;
  #tables: Map<string, Database<Buffer, Key>>;
  #committing = false;
  #closed = false;
  /** False after a failed commit until the file is open again. */
  #usable = true;

  /** @throws permission, unavailable, disk_full */
  constructor(options: EnvironmentOptions) {
    this.#options = options;
    [this.#root, this.#tables] = this.#open();
  }

  #open(): [RootDatabase<Buffer, Key>, Map<string, Database<Buffer, Key>>] {
    const { file, tables, mapSize } = this.#options;
    try {
      const root = open<Buffer, Key>({
        ...OWNER_ONLY,
        path: file,
        noSubdir: true,
        maxDbs: tables.length + 1,
        mapSize,
        encoding: 'binary',
        overlappingSync: false,
        eventTurnBatching: false,
      });
      const opened = tables.map(
        (name) => [name, root.openDB<Buffer, Key>(name, { encoding: 'binary' })] as const,
      );
      return [root, new Map(opened)];
    } catch (error) {
      throw this.#failure(error);
    }
  }

  table(name: string): Table {
    const database = (): Database<Buffer, Key> => {
      const found = this.#tables.get(name);
      if (found === undefined) throw new ReflexarcError('internal', `no table ${name}`);
      if (!this.#usable || this.#closed) {
        throw new ReflexarcError('unavailable', 'the data file is not open', {
          where: { file: this.#options.file },
        });
      }
      return found;
    };
    return {
      get: (key) => database().getBinary(key),
      entries: (start) => database().getRange(start === undefined ? {} : { start }),
      put: (key, value) => {
        void database().put(key, Buffer.from(value.buffer, value.byteOffset, value.length));
      },
      remove: (key) => {
        void database().remove(key);
      },
    };
  }

  /**
   * All that `write` puts and removes, or nothing. Resolves when it is durable. One at a time.
   * `write` must not throw: what it wrote before would be committed.
   *
   * @throws disk_full, permission, unavailable; nothing was written, and the next commit may
   * succeed
   */
  async commit(write: () => void): Promise<void> {
    if (this.#committing) throw new ReflexarcError('internal', 'commits may not overlap');
    this.#committing = true;
    try {
      if (!this.#usable) this.#reopen();
      await this.#root.batch(write);
    } catch (error) {
      if (!this.#usable) throw error;
      const reason = await (error as { commitError?: Promise<unknown> }).commitError?.catch(
        (cause: unknown) => cause,
      );
      this.#usable = false;
      await this.#root.close();
      this.#reopen();
      throw this.#failure(reason ?? error);
    } finally {
      this.#committing = false;
    }
  }

  #reopen(): void {
    [this.#root, this.#tables] = this.#open();
    this.#usable = true;
  }

  #failure(error: unknown): ReflexarcError {
    const { file } = this.#options;
    const code = (error as { code?: unknown }).code;
    // lmdb-js gives the system's number.
    const known: Readonly<Record<number, string>> = {
      1: 'EPERM',
      13: 'EACCES',
      28: 'ENOSPC',
      30: 'EROFS',
      122: 'EDQUOT',
    };
    const name = typeof code === 'number' ? known[code] : undefined;
    if (name !== undefined) {
      return fileError(
        Object.assign(new Error(messageOf(error), { cause: error }), { code: name }),
        file,
      );
    }
    if (isFull(dirname(file))) {
      return new ReflexarcError('disk_full', 'no space is left for the data folder', {
        cause: error,
        where: { file },
        hint: 'make room on this disk',
      });
    }
    return new ReflexarcError('unavailable', `the data file cannot be used: ${messageOf(error)}`, {
      cause: error,
      where: { file },
    });
  }

  /** The commit under way must have settled. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#usable) await this.#root.close();
  }
}

function isFull(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize < SPARE_BYTES;
}
