import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writev,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { constants as constantsOfZlib, crc32, zstdCompress, zstdDecompressSync } from 'node:zlib';
import { removeFile, syncFolder, writeError } from './files.ts';

/**
 * The log of what was appended since the last segment, as it came: one frame a call, one sync a
 * group of calls. A frame counts when it is synced; what a crash left half-written at the end never
 * counted.
 *
 * Frame: magic, length of the heading, length of the data as stored and as it was, CRC-32 of all
 * but the magic and itself (u32 each, little endian), the heading, the data; zstd where its two
 * lengths differ.
 */
const MAGIC = 0x31575852;
const HEADER = 20;
const COMPRESS_FROM = 4096;

export interface Frame {
  readonly heading: Uint8Array;
  readonly data: Uint8Array;
}

const writeAsync = promisify(writev);
const compress = promisify(zstdCompress);
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
    onFrame: (frame: Frame) => Promise<void>,
    onDamage: (damage: Damage) => void,
  ): Promise<Wal> {
    const fd = openSync(path, constants.O_RDWR);
    const size = fstatSync(fd).size;
    let at = 0;
    while (at < size) {
      const frame = readFrame(fd, at, size);
      if (frame !== undefined) {
        await onFrame(frame);
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

  /** All of them or none. @throws disk_full, unavailable */
  async append(frames: readonly Frame[]): Promise<void> {
    try {
      let parts: Uint8Array[] = (await Promise.all(frames.map(encode))).flat();
      let at = this.#bytes;
      while (parts.length > 0) {
        const { bytesWritten } = await writeAsync(this.#fd, parts, at);
        at += bytesWritten;
        parts = rest(parts, bytesWritten);
      }
      await syncAsync(this.#fd);
      this.#bytes = at;
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

async function encode({ heading, data }: Frame): Promise<Uint8Array[]> {
  // On another thread, while the records are decoded on this one.
  const stored = data.length < COMPRESS_FROM ? data : await compress(data, { params: FAST });
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(heading.length, 4);
  header.writeUInt32LE(stored.length, 8);
  header.writeUInt32LE(data.length, 12);
  header.writeUInt32LE(checksum(header, heading, stored), 16);
  return [header, heading, stored].filter(({ length }) => length > 0);
}

const FAST = { [constantsOfZlib.ZSTD_c_compressionLevel]: -3 };

/** What a write that stopped in the middle left over. */
function rest(parts: Uint8Array[], written: number): Uint8Array[] {
  let skip = written;
  return parts.flatMap((part) => {
    const from = Math.min(skip, part.length);
    skip -= from;
    return from === part.length ? [] : [part.subarray(from)];
  });
}

const checksum = (header: Buffer, heading: Uint8Array, stored: Uint8Array): number =>
  crc32(stored, crc32(heading, crc32(header.subarray(4, 16))));

function readFrame(fd: number, at: number, size: number): (Frame & { end: number }) | undefined {
  if (at + HEADER > size) return undefined;
  const header = readAt(fd, at, HEADER);
  if (header.readUInt32LE(0) !== MAGIC) return undefined;
  const headingLength = header.readUInt32LE(4);
  const length = header.readUInt32LE(8);
  const end = at + HEADER + headingLength + length;
  if (end > size) return undefined;
  const body = readAt(fd, at + HEADER, headingLength + length);
  const heading = body.subarray(0, headingLength);
  const stored = body.subarray(headingLength);
  if (header.readUInt32LE(16) !== checksum(header, heading, stored)) return undefined;
  const data = length === header.readUInt32LE(12) ? stored : zstdDecompressSync(stored);
  return { heading, data, end };
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
