import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  write,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { crc32, constants as zlibConstants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { removeFile, syncFolder, writeError } from './files.ts';

/**
 * The log of what was appended since the last segment, as it came: one frame a group of calls.
 * A frame counts when it is synced; what a crash left half-written at the end never counted.
 *
 * Frame: magic, length as stored, length as it was, CRC-32 of the rest (all u32, little endian),
 * then the payload; zstd where the two lengths differ.
 */
const MAGIC = 0x31575852;
const HEADER = 16;
const COMPRESS_FROM = 4096;

const writeAsync = promisify(write);
const syncAsync = promisify(fdatasync);

/** A frame in the middle of the file that cannot be read back, though it was once acknowledged. */
export interface Damage {
  readonly offset: number;
  readonly bytes: number;
}

export class Wal {
  readonly path: string;
  #fd: number;
  #bytes: number;
  /** A failed write left something behind that could not be cut off. */
  #poisoned = false;

  private constructor(path: string, fd: number, bytes: number) {
    this.path = path;
    this.#fd = fd;
    this.#bytes = bytes;
  }

  static create(path: string): Wal {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      syncFolder(dirname(path));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return new Wal(path, fd, 0);
  }

  /** Hands every whole frame to `onFrame`, cuts the torn end off, and goes on after it. */
  static async recover(
    path: string,
    onFrame: (payload: Buffer) => Promise<void>,
    onDamage: (damage: Damage) => void,
  ): Promise<Wal> {
    const fd = openSync(path, constants.O_RDWR);
    const size = fstatSync(fd).size;
    let at = 0;
    while (at < size) {
      const frame = readFrame(fd, at, size);
      if (frame !== undefined) {
        await onFrame(frame.payload);
        at = frame.end;
        continue;
      }
      const next = findFrame(fd, at + 1, size);
      if (next === undefined) break; // the torn end
      onDamage({ offset: at, bytes: next - at });
      at = next;
    }
    if (at < size) ftruncateSync(fd, at);
    return new Wal(path, fd, at);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get poisoned(): boolean {
    return this.#poisoned;
  }

  /** @throws disk_full, unavailable: the frame does not count. */
  async append(payload: Buffer): Promise<void> {
    const stored =
      payload.length < COMPRESS_FROM
        ? payload
        : zstdCompressSync(payload, {
            params: { [zlibConstants.ZSTD_c_compressionLevel]: -3 },
          });
    const frame = Buffer.allocUnsafe(HEADER + stored.length);
    frame.writeUInt32LE(MAGIC, 0);
    frame.writeUInt32LE(stored.length, 4);
    frame.writeUInt32LE(payload.length, 8);
    frame.set(stored, HEADER);
    frame.writeUInt32LE(checksum(frame.subarray(4, 12), frame.subarray(HEADER)), 12);
    try {
      for (let at = 0; at < frame.length; ) {
        const { bytesWritten } = await writeAsync(
          this.#fd,
          frame,
          at,
          frame.length - at,
          this.#bytes + at,
        );
        at += bytesWritten;
      }
      await syncAsync(this.#fd);
      this.#bytes += frame.length;
    } catch (error) {
      this.#cutBack();
      throw writeError(error, this.path);
    }
  }

  #cutBack(): void {
    try {
      ftruncateSync(this.#fd, this.#bytes);
    } catch {
      // Whoever sees `poisoned` begins another file; the frame may count at the next start, and
      // its rows are then found to be repeats.
      this.#poisoned = true;
    }
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  remove(): void {
    this.close();
    removeFile(this.path);
  }
}

const checksum = (lengths: Uint8Array, stored: Uint8Array): number => crc32(stored, crc32(lengths));

function readFrame(
  fd: number,
  at: number,
  size: number,
): { readonly payload: Buffer; readonly end: number } | undefined {
  if (at + HEADER > size) return undefined;
  const header = readAt(fd, at, HEADER);
  if (header.readUInt32LE(0) !== MAGIC) return undefined;
  const length = header.readUInt32LE(4);
  const end = at + HEADER + length;
  if (end > size) return undefined;
  const stored = readAt(fd, at + HEADER, length);
  if (header.readUInt32LE(12) !== checksum(header.subarray(4, 12), stored)) return undefined;
  const payload = length === header.readUInt32LE(8) ? stored : zstdDecompressSync(stored);
  return { payload, end };
}

/** The next whole frame at or after `from`: only there after damage in the middle. */
function findFrame(fd: number, from: number, size: number): number | undefined {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  const step = 1 << 20;
  for (let at = from; at < size; at += step) {
    const part = readAt(fd, at, Math.min(step + 3, size - at));
    for (let found = part.indexOf(magic); found !== -1; found = part.indexOf(magic, found + 1)) {
      if (readFrame(fd, at + found, size) !== undefined) return at + found;
    }
  }
  return undefined;
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  while (at < length) {
    const read = readSync(fd, bytes, at, length - at, position + at);
    if (read === 0) break;
    at += read;
  }
  return bytes.subarray(0, at);
}
