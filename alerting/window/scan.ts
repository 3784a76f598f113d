import { decodeLogs, STREAM_MARK, StreamCache } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { LogWindow } from './logs.ts';

const NEWLINE = 10;
/** Streams of one message alternate between a few tails (stdout, stderr, levels). */
const RECENT = 4;

/** What the windows of one stream want to see in a line. */
interface Wanted {
  /** Those that want every line. */
  readonly all: readonly LogWindow[];
  /** Those that want lines with a text. */
  readonly some: readonly { readonly window: LogWindow; readonly literal: string }[];
  /** Any of these texts. */
  readonly any: RegExp;
}

/** A stream's text at the end of its lines. */
interface Tail extends Wanted {
  readonly bytes: Buffer;
}

export interface ScanCounts {
  lines: number;
  decoded: number;
  bad: number;
}

/**
 * Finds in messages of `logs` the lines that some window wants, and decodes no other: most of what
 * passes concerns no rule. A line's stream is known by its last bytes, without decoding; then only
 * the texts that a window's filters need are looked for, all of them at once.
 */
export class Scanner {
  readonly #windows: readonly LogWindow[];
  readonly #cache = new StreamCache();
  readonly #tails = new Map<string, Tail>();
  readonly #foreign: Wanted;
  #recent: Tail[] = [];
  readonly counts: ScanCounts = { lines: 0, decoded: 0, bad: 0 };

  constructor(windows: readonly LogWindow[]) {
    this.#windows = windows;
    this.#foreign = wantedBy(windows);
  }

  /** Calls `take` with each record that may concern windows, and these windows. */
  scan(value: Uint8Array, take: (record: LogRecord, windows: readonly LogWindow[]) => void): void {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    let from = 0;
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from);
      const to = newline === -1 ? bytes.length : newline;
      this.counts.lines++;
      const tail = this.#tailOf(bytes, from, to);
      // A foreign shipper's line: its stream is not to be had without decoding.
      const wanted = tail ?? this.#foreign;
      const windows = concerned(wanted, bytes, from, to - (tail?.bytes.length ?? 0));
      if (windows.length > 0) {
        const { records, bad } = decodeLogs(bytes.subarray(from, to), this.#cache);
        this.counts.decoded++;
        this.counts.bad += bad.length;
        const record = records[0];
        if (record !== undefined) {
          const matched =
            tail === undefined
              ? windows.filter((window) => window.matches(record.stream.labels))
              : windows;
          if (matched.length > 0) take(record, matched);
        }
      }
      from = to + 1;
    }
  }

  #tailOf(bytes: Buffer, from: number, to: number): Tail | undefined {
    for (const [index, tail] of this.#recent.entries()) {
      const start = to - tail.bytes.length;
      if (start <= from || bytes.compare(tail.bytes, 0, tail.bytes.length, start, to) !== 0)
        continue;
      if (index > 0) {
        this.#recent.splice(index, 1);
        this.#recent.unshift(tail);
      }
      return tail;
    }
    const mark = bytes.indexOf(STREAM_MARK, from);
    if (mark === -1 || mark >= to) return undefined;
    const text = bytes.toString('utf8', mark, to);
    let tail = this.#tails.get(text);
    if (tail === undefined) {
      const stream = decodeLogs(bytes.subarray(from, to), this.#cache).records[0]?.stream;
      // In the cache stands what is a stream's text and nothing else.
      if (stream === undefined || this.#cache.get(text) !== stream) return undefined;
      tail = {
        bytes: Buffer.from(bytes.subarray(mark, to)),
        ...wantedBy(this.#windows.filter((window) => window.matches(stream.labels))),
      };
      if (this.#tails.size >= 10_000) this.#tails.clear();
      this.#tails.set(text, tail);
    }
    this.#recent = [tail, ...this.#recent.slice(0, RECENT - 1)];
    return tail;
  }
}

function wantedBy(windows: readonly LogWindow[]): Wanted {
  const all: LogWindow[] = [];
  const some: { window: LogWindow; literal: string }[] = [];
  for (const window of windows) {
    const literal = safeLiteral(window.literal);
    if (literal === undefined) all.push(window);
    else some.push({ window, literal });
  }
  // Texts without any operator, so that there is nothing to backtrack.
  const texts = some.map(({ literal }) => literal.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return { all, some, any: new RegExp(texts.join('|')) };
}

function concerned(
  { all, some, any }: Wanted,
  bytes: Buffer,
  from: number,
  to: number,
): readonly LogWindow[] {
  if (some.length === 0) return all;
  // The literals are ASCII: bytes and characters are the same there, whatever stands beside them.
  const text = bytes.toString('latin1', from, to);
  if (!any.test(text)) return all;
  const found = some.filter(({ literal }) => text.includes(literal));
  return [...all, ...found.map(({ window }) => window)];
}

/**
 * The longest part of a text that every JSON writer spells alike: some escape `<`, `/` or what is
 * not ASCII.
 */
export function safeLiteral(text: string | undefined): string | undefined {
  const parts = text?.match(/[A-Za-z0-9 !#$%()*+,.:;=?@[\]^_`{|}~-]+/g) ?? [];
  return [...parts].sort((a, b) => b.length - a.length)[0];
}
