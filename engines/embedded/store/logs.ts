import { isUtf8 } from 'node:buffer';
import { LogCursor, lineId, metadataOf, StreamCache } from '../../../core/records/codec.ts';
import { FIELD, type LogRecord, type Position, type Stream } from '../../../core/records/log.ts';
import { LogHead } from '../../../core/records/log-head.ts';
import { Numbers, Rows, Texts } from './columns.ts';
import type { Dictionary, Entry } from './dictionary.ts';
import type { Lane } from './lane.ts';
import { type BadRow, type Decoded, NO_TIME, type Sifted, type Table } from './table.ts';

/** Log lines: the rows `from` to `to` of those that the table holds. */
interface LogBatch extends Decoded {
  readonly from: number;
  readonly to: number;
  readonly runs: readonly Run[];
  /** Rows that are told from their repeats by id. */
  readonly unplaced: readonly { readonly row: number; readonly id: string }[];
}

/** Neighbours of one stream. */
interface Run {
  readonly entry: Entry;
  readonly from: number;
  to: number;
}

/** A source's highest position, and when it was last seen. */
export interface Mark {
  readonly source: string;
  readonly generation: string;
  first: number;
  second: number;
  seen: number;
}

export class LogTable implements Table<LogBatch> {
  readonly topic = 'logs';
  readonly reference = 'stream';
  readonly order = 'ts, seq';
  readonly columns = [
    { name: 'stream', type: 'INTEGER' },
    { name: 'p0', type: 'BIGINT' },
    { name: 'p1', type: 'BIGINT' },
    { name: 'line', type: 'VARCHAR' },
    // Null where it follows from the stream and the position.
    { name: 'id', type: 'VARCHAR' },
    { name: 'metadata', type: 'VARCHAR' },
    { name: 'fields', type: 'VARCHAR' },
  ] as const;

  readonly #dictionary: Dictionary;
  readonly #cache = new StreamCache();
  readonly #head = new LogHead();
  readonly #marks = new Map<string, Mark>();
  /** The same by entry, for as long as no mark is taken away. */
  #markOf = new Map<Entry, Mark>();

  readonly #stream = new Numbers('INTEGER');
  readonly #first = new Numbers('BIGINT');
  readonly #second = new Numbers('BIGINT');
  readonly #line = new Texts();
  readonly #id = new Texts();
  readonly #metadata = new Texts();
  readonly #fields = new Texts();
  /** What was decoded since the last insert, which empties it. */
  readonly #rows = new Rows([
    this.#stream,
    this.#first,
    this.#second,
    this.#line,
    this.#id,
    this.#metadata,
    this.#fields,
  ]);

  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  decode(values: readonly Uint8Array[]): LogBatch {
    const from = this.#rows.count;
    const runs: Run[] = [];
    const unplaced: { row: number; id: string }[] = [];
    const bad: BadRow[] = [];
    for (const [value, given] of values.entries()) {
      // Lines are taken as they stand, and DuckDB takes nothing but UTF-8.
      const bytes = isUtf8(given) ? given : Buffer.from(Buffer.from(given).toString());
      const source = this.#line.addSource(bytes);
      const cursor = new LogCursor(bytes, this.#cache, this.#head);
      let stream: Stream | undefined;
      let run: Run | undefined;
      const reject = (reason: string): void => {
        const { line } = cursor;
        // Copied: whoever gave the bytes has them back before the answer is read.
        bad.push({ value, line, original: new Uint8Array(lineOf(given, line)), reason });
      };
      while (cursor.next()) {
        const { record, error } = cursor;
        if (error !== undefined) {
          reject(error.message);
          continue;
        }
        const now = record === undefined ? cursor.stream : record.stream;
        const seconds = record === undefined ? cursor.head.seconds : secondsOf(record.timestamp);
        if (seconds === undefined) {
          reject(NO_TIME);
          continue;
        }
        const row = this.#rows.count;
        if (run === undefined || now !== stream) {
          stream = now;
          run = { entry: this.#dictionary.ofStream(now), from: row, to: row };
          runs.push(run);
        }
        run.to = row + 1;
        const id =
          record === undefined
            ? this.#addHead(row, cursor, run.entry, source)
            : this.#addRecord(row, record, seconds, run.entry);
        if (id !== undefined) unplaced.push({ row, id });
        this.#stream.set(row, run.entry.id);
        this.#rows.count++;
      }
    }
    const to = this.#rows.count;
    return { rows: to - from, from, to, runs, unplaced, bad };
  }

  /** @returns the id, where the row is told from its repeats by it */
  #addHead(
    row: number,
    { head, bytes }: LogCursor,
    entry: Entry,
    source: number | undefined,
  ): string | undefined {
    const { lineFrom, lineTo, parts } = head;
    this.#rows.times.push(head.seconds, head.nanos);
    if (head.escaped) this.#line.unescape(row, bytes, lineFrom, lineTo);
    else if (source === undefined) this.#line.copy(row, bytes, lineFrom, lineTo);
    else this.#line.refer(row, source, lineFrom, lineTo - lineFrom);
    if (parts === 0 || entry.source === undefined) {
      const id = bytes.toString('utf8', head.idFrom, head.idTo);
      this.#id.set(row, id);
      return id;
    }
    this.#first.set(row, head.first);
    // Null where the position is one number, so that the id can be made again.
    if (parts === 2) this.#second.set(row, head.second);
    if (!head.idIs(entry.idPrefix)) this.#id.copy(row, bytes, head.idFrom, head.idTo);
    return undefined;
  }

  #addRecord(row: number, record: LogRecord, seconds: number, entry: Entry): string | undefined {
    this.#rows.times.push(seconds, Number(record.timestamp.slice(20, 29)));
    this.#line.set(row, record.line);
    const position = placeOf(record, entry);
    if (position === undefined || lineId(entry.idPrefix, position) !== record.id) {
      this.#id.set(row, record.id);
    }
    if (position !== undefined) {
      this.#first.set(row, typeof position === 'number' ? position : position[0]);
      if (typeof position !== 'number') this.#second.set(row, position[1]);
    }
    if (record.fields !== undefined) {
      const { [FIELD.metadata]: _, ...others } = record.fields;
      const shown = metadataOf(record);
      if (shown !== undefined) this.#metadata.set(row, JSON.stringify(shown));
      if (!isEmpty(others)) this.#fields.set(row, JSON.stringify(others));
    }
    return position === undefined ? record.id : undefined;
  }

  async sift(batches: readonly LogBatch[], now: number, lane: Lane<LogBatch>): Promise<Sifted> {
    const rows = this.#rows;
    const undo = new Map<Mark, Mark>();
    const made: string[] = [];
    /** 1 where a row is no repeat; rows of no batch are of a call that failed. */
    const fresh = new Uint8Array(rows.count);
    const unplaced = new Map<string, bigint>();
    for (const batch of batches) {
      for (const run of batch.runs) this.#siftRun(run, now, fresh, undo, made);
      for (const { row, id } of batch.unplaced) {
        if (unplaced.has(id)) continue;
        unplaced.set(id, rows.times.get(row));
        fresh[row] = 1;
      }
    }
    const known = await lane.knownIds(unplaced);
    const counts: { stored: number; repeated: number }[] = [];
    const ids: string[] = [];
    const references = new Set<number>();
    const kept = new Uint32Array(rows.count);
    let count = 0;
    for (const batch of batches) {
      for (const { row, id } of batch.unplaced) {
        if (fresh[row] === 0) continue;
        if (known.has(id)) fresh[row] = 0;
        else ids.push(id);
      }
      const before = count;
      for (const { entry, from, to } of batch.runs) {
        const beforeRun = count;
        for (let row = from; row < to; row++) if (fresh[row] === 1) kept[count++] = row;
        if (count > beforeRun) references.add(entry.id);
      }
      const stored = count - before;
      counts.push({ stored, repeated: batch.rows - stored });
    }
    if (count < rows.count) rows.keep(kept.subarray(0, count));
    return {
      rows,
      counts,
      ids,
      references,
      undo: () => {
        for (const [mark, before] of undo) Object.assign(mark, before);
        for (const key of made) this.#marks.delete(key);
        this.#markOf.clear();
      },
    };
  }

  /** A position above all that were seen of its source is fresh; from then on it is not. */
  #siftRun(
    { entry, from, to }: Run,
    now: number,
    fresh: Uint8Array,
    undo: Map<Mark, Mark>,
    made: string[],
  ): void {
    let mark: Mark | undefined;
    for (let row = from; row < to; row++) {
      const first = this.#first.get(row);
      if (Number.isNaN(first)) continue;
      const second = this.#second.get(row) || 0;
      if (mark === undefined) {
        mark = this.#markFor(entry, made);
        if (!undo.has(mark)) undo.set(mark, { ...mark });
        mark.seen = now;
      }
      if (first < mark.first || (first === mark.first && second <= mark.second)) continue;
      mark.first = first;
      mark.second = second;
      fresh[row] = 1;
    }
  }

  #markFor(entry: Entry, made: string[]): Mark {
    let mark = this.#markOf.get(entry);
    if (mark !== undefined) return mark;
    const { name, generation } = entry.source ?? { name: '', generation: '' };
    const key = keyOf(name, generation);
    mark = this.#marks.get(key);
    if (mark === undefined) {
      const first = Number.NEGATIVE_INFINITY;
      mark = { source: name, generation, first, second: 0, seen: 0 };
      this.#marks.set(key, mark);
      made.push(key);
    }
    this.#markOf.set(entry, mark);
    return mark;
  }

  marks(): readonly Mark[] {
    return [...this.#marks.values()].map((mark) => ({ ...mark }));
  }

  setMark(mark: Mark): void {
    this.#marks.set(keyOf(mark.source, mark.generation), { ...mark });
    this.#markOf.clear();
  }

  /** Sources that nothing was heard of since then. */
  expireMarks(before: number): void {
    for (const [key, mark] of this.#marks) if (mark.seen < before) this.#marks.delete(key);
    this.#markOf.clear();
  }
}

const keyOf = (source: string, generation: string): string => `${source}\u0000${generation}`;
const firstOf = (position: Position): number =>
  typeof position === 'number' ? position : position[0];
const secondOf = (position: Position): number => (typeof position === 'number' ? 0 : position[1]);

/** The position by which a record is told from its repeats; undefined: by its id. */
function placeOf(record: LogRecord, entry: Entry): Position | undefined {
  const { position } = record;
  if (position === undefined || entry.source === undefined) return undefined;
  const safe = Number.isSafeInteger(firstOf(position)) && Number.isSafeInteger(secondOf(position));
  return safe ? position : undefined;
}

function isEmpty(fields: object): boolean {
  for (const _ in fields) return false;
  return true;
}

/** Of the wire's own form, nine digits and `Z`; undefined where it is no time or does not fit. */
function secondsOf(timestamp: string): number | undefined {
  const seconds = Date.parse(`${timestamp.slice(0, 10)}T${timestamp.slice(11, 19)}Z`) / 1000;
  // A day that goes on after 23:59:59, or NaN.
  if (!(Math.abs(seconds) < 9.2e9) || Number(timestamp.slice(11, 13)) > 23) return undefined;
  return seconds;
}

/** The bytes of one line of an NDJSON value. */
export function lineOf(bytes: Uint8Array, line: number): Uint8Array {
  let from = 0;
  for (let at = 0; at < line; at++) from = bytes.indexOf(10, from) + 1;
  const to = bytes.indexOf(10, from);
  return bytes.subarray(from, to === -1 ? bytes.length : to);
}
