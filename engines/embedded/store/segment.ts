import { join } from 'node:path';
import { messageOf } from '../../../core/errors.ts';
import { formatRfc3339 } from '../../../core/time.ts';
import { checksumOf, removeFile, sizeOf } from './files.ts';
import type { SegmentEntry } from './manifest.ts';
import type { Report } from './report.ts';

/** One sealed file of rows. Removed when it has retired and no query reads it any more. */
export class Segment {
  readonly entry: SegmentEntry;
  readonly path: string;
  readonly references: ReadonlySet<number>;
  #state: 'unread' | 'good' | 'lost' = 'unread';
  #readers = 0;
  #retired = false;

  constructor(folder: string, entry: SegmentEntry) {
    this.entry = entry;
    this.path = join(folder, entry.file);
    this.references = new Set(entry.streams);
  }

  get lost(): boolean {
    return this.#state === 'lost';
  }

  /**
   * Reads it back, the first time or when a query stumbled over it: Parquet alone would not notice
   * every flipped bit. Says so, once, when it is not what was written.
   */
  verify(report: Report, again = false): void {
    if (this.#state === 'lost' || (this.#state === 'good' && !again)) return;
    const problem = this.#problem();
    if (problem === undefined) {
      this.#state = 'good';
      return;
    }
    this.#state = 'lost';
    report.count('corrupt_total');
    report.log(
      'error',
      {
        code: 'corrupt',
        file: this.path,
        rows: this.entry.rows,
        from: formatRfc3339(this.entry.min),
        to: formatRfc3339(this.entry.max),
      },
      `segment cannot be read back: ${problem}. Its rows are missing from answers; put the file back from a copy and start again, or leave it: it is left out, with a warning at each answer that lacks it, until its age or the store's size removes it`,
    );
  }

  #problem(): string | undefined {
    try {
      const size = sizeOf(this.path);
      if (size === 0) return 'the file is gone or empty';
      if (size !== this.entry.bytes) return `it has ${size} bytes instead of ${this.entry.bytes}`;
      return checksumOf(this.path) === this.entry.crc ? undefined : 'its checksum does not match';
    } catch (error) {
      return messageOf(error);
    }
  }

  overlaps(from: bigint, to: bigint): boolean {
    return this.entry.min < to && this.entry.max >= from;
  }

  pin(): void {
    this.#readers++;
  }

  unpin(): void {
    this.#readers--;
    this.#removeIfUnused();
  }

  /** The manifest no longer names it. */
  retire(): void {
    this.#retired = true;
    this.#removeIfUnused();
  }

  #removeIfUnused(): void {
    if (this.#retired && this.#readers === 0) removeFile(this.path);
  }
}
