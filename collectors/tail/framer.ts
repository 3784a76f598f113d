import type { Place } from './bytes.ts';

/** What turns lines of a file into records. */
export interface Framer {
  /** False: not now, ask again (see `TakeLine`). */
  line(text: string, offset: number, cut: number, file: TailedFile): boolean;
  /** Where a line begins that is not complete; reading goes on from there after a restart. */
  low(file: TailedFile): number | undefined;
  /**
   * Asked before a read: whether what is unfinished at the end of what is read stays so, since its
   * writer has ended.
   */
  over(): boolean;
  /** Whether bytes without a line break are a line by themselves once their writer has ended. */
  readonly takesRest: boolean;
  /** Nothing more comes: what is incomplete is all there is. `file` is the last one read. */
  flush(file: TailedFile): void;
}

/** A file as framers see it. */
export interface TailedFile {
  readonly path: string;
  readonly place: Place;
  readonly source: string;
  readonly generation: string;
  /** Short for source and generation: what the lines' ids are made of. */
  readonly id: string;
  /** Offset of the first line not yet taken. */
  readonly offset: number;
}
