import { decodeLogs, STREAM_MARK, StreamCache } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { LogWindow } from './logs.ts';

const NEWLINE = 10;
/** Streams of one message alternate between a few tails (stdout, stderr, levels). */
const RECENT = 4;

/** A stream's text at the end of its lines, and the windows whose matchers its labels meet. */
interface Tail {
  readonly bytes: Buffer;
  readonly windows: readonly LogWindow[];
}

export interface ScanCounts {
  lines: number;
  decoded: number;
  bad: number;
}

/**
 * Finds in messages of `logs` the lines that some window wants, and decodes no other: most of what
 * passes concerns no rule. A line's stream is known by its last bytes, without decoding; then only
 * the texts that a window's filters need are looked for.
 */
export class Scanner {
  readonly #windows: readonly LogWindow[];
  readonly #literals: ReadonlyMap<LogWindow, Buffer | undefined>;
  readonly #cache = new StreamCache();
  readonly #tails = new Map<string, Tail>();
  #recent: Tail[] = [];
  readonly counts: ScanCounts = { lines: 0, decoded: 0, bad: 0 };

  constructor(windows: readonly LogWindow[]) {
    this.#windows = windows;
    this.#literals = new Map(windows.map((window) => [window, safeLiteral(window.literal)]));
  }

  /** Calls `take` with each record that may concern windows, and these windows. */
  scan(value: Uint8Array, take: (record: LogRecord, windows: readonly LogWindow[]) => void): void {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const hits = new Map<LogWindow, number>();
    /** Where the window's literal next stands, from the place that is looked at now. */
    const nextHit = (window: LogWindow, from: number): number => {
      const literal = this.#literals.get(window);
      if (literal === undefined) return from;
      let hit = hits.get(window);
      if (hit === undefined || hit < from) {
        hit = bytes.indexOf(literal, from);
        if (hit === -1) hit = Number.POSITIVE_INFINITY;
        hits.set(window, hit);
      }
      return hit;
    };
    if (!this.#windows.some((window) => nextHit(window, 0) < bytes.length)) return;
    let from = 0;
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from);
      const to = newline === -1 ? bytes.length : newline;
      const tail = this.#tailOf(bytes, from, to);
      this.counts.lines++;
      // A foreign shipper's line: its stream is not to be had without decoding.
      let wanted = tail === undefined ? this.#windows : tail.windows;
      if (wanted.length > 0) {
        const start = from;
        wanted = wanted.filter((window) => nextHit(window, start) < to);
      }
      if (wanted.length > 0) {
        const { records, bad } = decodeLogs(bytes.subarray(from, to), this.#cache);
        this.counts.decoded++;
        this.counts.bad += bad.length;
        const record = records[0];
        if (record !== undefined) {
          const windows =
            tail === undefined
              ? wanted.filter((window) => window.matches(record.stream.labels))
              : wanted;
          if (windows.length > 0) take(record, windows);
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
        windows: this.#windows.filter((window) => window.matches(stream.labels)),
      };
      if (this.#tails.size >= 10_000) this.#tails.clear();
      this.#tails.set(text, tail);
    }
    this.#recent = [tail, ...this.#recent.slice(0, RECENT - 1)];
    return tail;
  }
}

/**
 * The longest part of a text that every JSON writer spells alike: some escape `<`, `/` or what is
 * not ASCII.
 */
export function safeLiteral(text: string | undefined): Buffer | undefined {
  const parts = text?.match(/[A-Za-z0-9 !#$%()*+,.:;=?@[\]^_`{|}~-]+/g) ?? [];
  const longest = [...parts].sort((a, b) => b.length - a.length)[0];
  return longest === undefined ? undefined : Buffer.from(longest);
}
