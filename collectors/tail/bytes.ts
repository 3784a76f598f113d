import { createHash } from 'node:crypto';
import { type BigIntStats, promises as fs } from 'node:fs';

/** What the file system says about a file. Numbers of inodes pass 2^53: they stay text. */
export interface Inode {
  readonly device: string;
  readonly inode: string;
  /** Nanoseconds; an inode's number is used again, its birth is not. `0` where unknown. */
  readonly birth: string;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
  readonly links: number;
}

export function toInode(stats: BigIntStats): Inode {
  return {
    device: stats.dev.toString(36),
    inode: stats.ino.toString(36),
    birth: stats.birthtimeNs.toString(36),
    size: Number(stats.size),
    modified: Number(stats.mtimeMs),
    links: Number(stats.nlink),
  };
}

/** What tells a file from others, whatever it is called. */
export type Place = Pick<Inode, 'device' | 'inode' | 'birth'>;

export const sameInode = (a: Place, b: Place): boolean =>
  a.inode === b.inode && a.device === b.device && a.birth === b.birth;

export const inodeKey = ({ device, inode, birth }: Place): string => `${device}:${inode}:${birth}`;

/** Bytes by offset: a file, or what a compressed one holds. */
export interface Bytes {
  stat(): Promise<Inode>;
  /** Fewer than asked only at the end. */
  read(into: Buffer, length: number, position: number): Promise<number>;
  close(): Promise<void>;
}

/** @throws the file system's own errors. */
export async function openFile(path: string): Promise<Bytes> {
  const handle = await fs.open(path, 'r');
  return {
    stat: async () => toInode(await handle.stat({ bigint: true })),
    async read(into, length, position) {
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(into, done, length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
        // A growing file's end: the rest is the next turn's.
        if (bytesRead < length - done) break;
      }
      return done;
    },
    close: () => handle.close(),
  };
}

/** Undefined when there is nothing of that name. @throws other errors of the file system */
export async function statFile(path: string): Promise<Inode | undefined> {
  try {
    const stats = await fs.stat(path, { bigint: true });
    return stats.isFile() ? toInode(stats) : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

const FIRST_LOOK = 4096;
/** Docker escapes a piece of 16 KiB to 100 KiB at most, and its time stands at the end. */
const LONGEST_FIRST_LINE = 128 * 1024;

/**
 * The hash of a file's first line, 128 KiB at most. `size`, where given, is all there will ever be.
 * @returns undefined while the first line is not complete.
 */
export async function fingerprint(bytes: Bytes, final = false): Promise<string | undefined> {
  for (let length = FIRST_LOOK; ; length = LONGEST_FIRST_LINE) {
    const buffer = Buffer.allocUnsafe(length);
    const read = await bytes.read(buffer, length, 0);
    const newline = buffer.subarray(0, read).indexOf(10);
    if (newline !== -1) return hash(buffer.subarray(0, newline + 1));
    if (read < length) return final && read > 0 ? hash(buffer.subarray(0, read)) : undefined;
    if (length === LONGEST_FIRST_LINE) return hash(buffer);
  }
}

export const hash = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('base64url').slice(0, 16);
