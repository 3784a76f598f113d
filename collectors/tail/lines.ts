import { isAscii, isUtf8 } from 'node:buffer';

/**
 * One line: its text without the line break, the offset of its first byte, and how many bytes were
 * cut off. False: it cannot be taken now; reading stops before it.
 */
export type TakeLine = (text: string, offset: number, cut: number) => boolean;

export interface LineLimits {
  /** Bytes of a line; longer ones are cut at a character's border. */
  readonly max: number;
  readonly onInvalid: (lines: number) => void;
}

/**
 * The whole lines of a chunk that stands at `offset` of its file.
 * @returns the bytes that are done: up to the last line break, or to the line that was not taken.
 */
export function takeLines(
  chunk: Buffer,
  offset: number,
  limits: LineLimits,
  take: TakeLine,
): { readonly done: number; readonly held: boolean } {
  const end = chunk.lastIndexOf(10) + 1;
  const part = chunk.subarray(0, end);
  // One text for the chunk where a character is a byte: slices of it cost next to nothing.
  if (isAscii(part)) {
    const text = part.toString('latin1');
    for (let from = 0; from < end; ) {
      const to = text.indexOf('\n', from);
      const cut = Math.max(0, to - from - limits.max);
      if (!take(text.slice(from, to - cut), offset + from, cut)) return { done: from, held: true };
      from = to + 1;
    }
    return { done: end, held: false };
  }
  const valid = isUtf8(part);
  for (let from = 0; from < end; ) {
    const to = part.indexOf(10, from);
    const kept = to - from > limits.max ? cutAt(part, from, from + limits.max) : to;
    if (!valid && !isUtf8(part.subarray(from, kept))) limits.onInvalid(1);
    if (!take(part.toString('utf8', from, kept), offset + from, to - kept)) {
      return { done: from, held: true };
    }
    from = to + 1;
  }
  return { done: end, held: false };
}

/** The last border between characters at or before `to`. */
export function cutAt(bytes: Buffer, from: number, to: number): number {
  let at = to;
  // A character has four bytes at most; what is no UTF-8 is cut where it is.
  while (at > from && to - at < 4 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at--;
  return ((bytes[at] ?? 0) & 0xc0) === 0x80 ? to : at;
}
