import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { messageOf, ReflexarcError } from '../../../core/errors.ts';

/** Files that must be there after a power loss. All of this runs on the store's own thread. */

export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Of another's making, which did not ask who may read it: from here on its owner alone. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r+');
  try {
    fchmodSync(fd, 0o600);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** All or nothing: written beside, synced, renamed over, folder synced. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeAll(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(
      fd,
      bytes,
      at,
      bytes.length - at,
      position === undefined ? null : position + at,
    );
  }
}

export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

export const checksumOf = (path: string): number => crc32(readFileSync(path));

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

/** What a failed write means to whoever asked for it. */
export function writeError(error: unknown, path: string): ReflexarcError {
  const code = errnoOf(error);
  const text = messageOf(error);
  // DuckDB says it in words.
  if (code === 'ENOSPC' || code === 'EDQUOT' || /no space left|disk full|quota/i.test(text)) {
    return new ReflexarcError('disk_full', `no space left for ${path}`, {
      cause: error,
      where: { file: path },
      hint: 'free space on this disk, or lower `store.max_size`; nothing is lost meanwhile',
    });
  }
  return new ReflexarcError('unavailable', `cannot write ${path}: ${text}`, {
    cause: error,
    where: { file: path },
    hint: 'look at the disk and the permissions of the data folder',
  });
}
