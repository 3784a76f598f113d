import { sourceId } from '../../core/records/codec.ts';
import { type Bytes, fingerprint, hash, type Place } from './bytes.ts';
import type { TailCheckpoint } from './checkpoint.ts';
import type { TailedFile } from './framer.ts';

/** How many bytes before the offset are compared, to notice that a file has become another. */
const OVERLAP = 64;

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

/** How far a file is read: where to go on, and what was there to know the file by. */
export interface Mark {
  readonly offset: number;
  readonly checkedAt: number;
  /** The last bytes before `checkedAt`. */
  readonly before: Buffer;
}

/** One file of a log's chain, held open. */
export class Chained implements TailedFile {
  readonly path: string;
  readonly bytes: Bytes;
  readonly place: Place;
  fingerprint: string | undefined;
  /** How often it was truncated before. */
  incarnation = 0;
  source = '';
  generation = '';
  id = '';
  offset = 0;
  /** The next byte to read: beyond `offset` only within a line over the limit. */
  next = 0;
  /** The last bytes before `next`. */
  before: Buffer = Buffer.alloc(0);
  size = 0;
  /** The furthest byte ever read: growth beyond it is growth. */
  seen = 0;
  /** When it last grew, monotonic. */
  lastGrowth = 0;
  /** The beginning of a line over the limit, whose rest is skipped. */
  long: Buffer | undefined;
  /** What the bus has. */
  acked: Mark = { offset: 0, checkedAt: 0, before: this.before };
  /** Another file has its place: nothing is written to it any more, or soon. */
  superseded = false;
  ended = false;

  constructor(path: string, bytes: Bytes, place: Place) {
    this.path = path;
    this.bytes = bytes;
    this.place = place;
  }

  /** @returns false while its first line is not complete; `final`: it will not be. */
  async identify(spec: TailSpec, final: boolean): Promise<boolean> {
    if (this.id !== '') return true;
    const found = await fingerprint(this.bytes, final);
    if (found === undefined) return false;
    this.fingerprint = found;
    const { source, generation } = spec.name(this.place, found, this.incarnation);
    this.#called(source, generation);
    return true;
  }

  /** Goes on in this file where another one of the same content was. */
  takeOver(
    from: Pick<TailCheckpoint['files'][number], 'incarnation' | 'source' | 'generation'> & {
      readonly fingerprint?: string | undefined;
    },
    mark: Mark,
  ): void {
    this.fingerprint = from.fingerprint;
    this.incarnation = from.incarnation;
    if (from.fingerprint !== undefined) this.#called(from.source, from.generation);
    this.startAt(mark);
  }

  startAt(mark: Mark): void {
    this.offset = mark.offset;
    this.next = mark.checkedAt;
    this.before = mark.before;
    this.acked = mark;
  }

  /** `read`: the bytes from `next` on that are done, with at least what was `before` in front. */
  advance(bytes: number, read: Buffer): void {
    this.next += bytes;
    if (this.long === undefined) this.offset = this.next;
    this.before = Buffer.from(read.subarray(-OVERLAP));
  }

  async bytesBefore(offset: number): Promise<Buffer> {
    const length = Math.min(OVERLAP, offset);
    const buffer = Buffer.alloc(length);
    const read = await this.bytes.read(buffer, length, offset - length);
    return buffer.subarray(0, read);
  }

  /** To the beginning of the line that is being written. */
  async skipToEnd(): Promise<void> {
    const { size } = await this.bytes.stat();
    const length = Math.min(size, 256 * 1024);
    const buffer = Buffer.allocUnsafe(length);
    const read = await this.bytes.read(buffer, length, size - length);
    const newline = buffer.subarray(0, read).lastIndexOf(10);
    const end = newline === -1 ? size : size - length + newline + 1;
    this.size = size;
    this.startAt({ offset: end, checkedAt: end, before: await this.bytesBefore(end) });
  }

  /** How it is known by what is in it, as far as it was read. */
  get content(): { fingerprint: string | undefined; at: number; check: string } {
    return { fingerprint: this.fingerprint, at: this.next, check: hash(this.before) };
  }

  get checkpoint(): TailCheckpoint['files'][number] {
    return {
      device: this.place.device,
      inode: this.place.inode,
      birth: this.place.birth,
      ...(this.fingerprint === undefined ? {} : { fingerprint: this.fingerprint }),
      incarnation: this.incarnation,
      source: this.source,
      generation: this.generation,
      offset: this.acked.offset,
      checkedAt: this.acked.checkedAt,
      check: hash(this.acked.before),
    };
  }

  #called(source: string, generation: string): void {
    this.source = source;
    this.generation = generation;
    this.id = sourceId(source, generation);
  }
}
