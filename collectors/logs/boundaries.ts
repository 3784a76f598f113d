import { statSync } from 'node:fs';
import { inodeKey, toInode } from '../tail/bytes.ts';
import type { TailedFile } from '../tail/framer.ts';

const KEPT = 20;

/**
 * Which run of a process wrote what, where lines have no time: up to the size that the file had when
 * a run ended, it was that run or an earlier one.
 */
export class Boundaries {
  readonly #path: string;
  #ends: { readonly inode: string; readonly size: number; readonly start: string }[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** The run that began at `start` has just ended. */
  ended(start: string): void {
    const stats = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    if (stats === undefined) return;
    const inode = toInode(stats);
    this.#ends.push({ inode: inodeKey(inode), size: inode.size, start });
    this.#ends = this.#ends.slice(-KEPT);
  }

  /** The start of the run that wrote it; undefined: none that has ended. */
  at(file: TailedFile, offset: number): string | undefined {
    if (this.#ends.length === 0) return undefined;
    const inode = inodeKey(file.place);
    return this.#ends.find((end) => end.inode === inode && offset < end.size)?.start;
  }
}
