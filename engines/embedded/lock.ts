import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pid } from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { messageOf, ReflexarcError } from '../../core/errors.ts';
import { formatMillis } from '../../core/time.ts';

export interface FolderLock {
  release(): void;
}

// SQLite's result codes, https://www.sqlite.org/rescode.html
const BUSY = 5;
const NOT_A_DATABASE = 26;

/**
 * One process owns a data folder. The lock is the one that SQLite holds on an (empty) database
 * file: Node itself has no file locks, and this one is the kernel's. It ends with its process,
 * however that ends, so that nothing is left behind by a kill -9, no reused pid is taken for the
 * owner, and two containers that share the folder see each other though each has its own pids.
 * `owner.json` beside it only serves the message.
 *
 * @throws locked, permission, bad_config (the path is no folder), corrupt, disk_full
 */
export function lockFolder(folder: string, now: number): FolderLock {
  const owner = join(folder, 'owner.json');
  makeFolder(folder);
  const file = join(folder, 'lock');
  let database: DatabaseSync | undefined;
  try {
    const fresh = !existsSync(file);
    database = new DatabaseSync(file, { timeout: 0 });
    // By its path: opening and closing it here would give up the lock that this process may hold.
    if (fresh) chmodSync(file, 0o600);
    database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    if (database?.isOpen === true) database.close();
    throw refusal(error, folder, file, owner);
  }
  signOwner(owner, now);
  const held = database;
  return {
    release() {
      if (!held.isOpen) return;
      rmSync(owner, { force: true });
      held.close();
    },
  };
}

function signOwner(owner: string, now: number): void {
  try {
    writeFileSync(owner, JSON.stringify({ pid, host: hostname(), since: formatMillis(now) }), {
      mode: 0o600,
    });
  } catch {
    // A full disk is no reason not to start: the next one's message then names nobody.
    rmSync(owner, { force: true });
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new ReflexarcError('bad_config', 'the data folder is a file', {
        cause: error,
        where: { file: folder },
        hint: 'name a folder, or a path where one can be made',
      });
    }
    throw fileError(error, folder);
  }
}

function refusal(error: unknown, folder: string, file: string, owner: string): ReflexarcError {
  const code = (error as { errcode?: number }).errcode;
  if (code === undefined) return fileError(error, file);
  // The low byte is the primary code.
  switch (code & 0xff) {
    case BUSY: {
      const { text, remedy } = describeOwner(owner);
      return new ReflexarcError('locked', `the data folder is in use by ${text}`, {
        cause: error,
        where: { file: folder },
        hint: `one process owns a data folder: ${remedy}, or start this one with another folder`,
      });
    }
    case NOT_A_DATABASE:
      return new ReflexarcError('corrupt', 'the lock file is damaged', {
        cause: error,
        where: { file },
        hint: 'delete this file; it holds nothing, and is made anew',
      });
    default:
      return new ReflexarcError(
        'permission',
        `the data folder cannot be written: ${messageOf(error)}`,
        {
          cause: error,
          where: { file },
          hint: `let the user who runs this own the folder (chown -R), or name another`,
        },
      );
  }
}

function describeOwner(owner: string): { text: string; remedy: string } {
  try {
    const { pid, host, since } = JSON.parse(readFileSync(owner, 'utf8')) as Record<string, unknown>;
    const here = host === hostname() ? '' : ` on ${String(host)}`;
    return {
      text: `process ${String(pid)}${here}, since ${String(since)}`,
      remedy: `stop that one first (kill ${String(pid)}${here})`,
    };
  } catch {
    // It has the lock, and has not come to writing its name.
    return { text: 'another process', remedy: 'stop that one first' };
  }
}

/** What the system says about a file of the data folder, in our codes. */
export function fileError(error: unknown, file: string): ReflexarcError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ReflexarcError('disk_full', 'no space is left for the data folder', {
      cause: error,
      where: { file },
      hint: 'make room on this disk',
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new ReflexarcError(
      'permission',
      `the data folder cannot be written: ${messageOf(error)}`,
      {
        cause: error,
        where: { file },
        hint: 'let the user who runs this own the folder (chown -R), or name another',
      },
    );
  }
  return new ReflexarcError('unavailable', `the data folder cannot be used: ${messageOf(error)}`, {
    cause: error,
    where: { file },
  });
}
