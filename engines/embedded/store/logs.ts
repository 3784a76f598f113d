import { decodeLogs, lineId, metadataOf, StreamCache } from '../../../core/records/codec.ts';
import { FIELD, type LogRecord, type Position } from '../../../core/records/log.ts';
import type { Dictionary, Entry } from './dictionary.ts';
import type { Lane } from './lane.ts';
import { type BadRow, type Cell, type Decoded, NO_TIME, type Sifted, type Table } from './table.ts';

/** Log lines. */
interface LogBatch extends Decoded {
  readonly times: bigint[];
  readonly entries: Entry[];
  readonly records: LogRecord[];
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
  readonly #marks = new Map<string, Mark>();

  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  decode(values: readonly Uint8Array[]): LogBatch {
    const times: bigint[] = [];
    const entries: Entry[] = [];
    const records: LogRecord[] = [];
    const bad: BadRow[] = [];
    for (const [value, bytes] of values.entries()) {
      const decoded = decodeLogs(bytes, this.#cache);
      for (const { line, original, error } of decoded.bad) {
        bad.push({ value, line, original, reason: error.message });
      }
      for (const [index, record] of decoded.records.entries()) {
        const time = nanosOf(record.timestamp);
        if (time === undefined) {
          const line = decoded.lines[index] ?? 0;
          bad.push({ value, line, original: lineOf(bytes, line), reason: NO_TIME });
          continue;
        }
        times.push(time);
        entries.push(this.#dictionary.ofStream(record.stream));
        records.push(record);
      }
    }
    return { rows: records.length, times, entries, records, bad };
  }

  async sift(batches: readonly LogBatch[], now: number, lane: Lane<LogBatch>): Promise<Sifted> {
    const undo = new Map<Mark, Mark>();
    const made: string[] = [];
    const repeats = new Set<LogRecord>();
    const unplaced = new Map<string, bigint>();
    for (const { records, entries, times } of batches) {
      for (const [index, record] of records.entries()) {
        const entry = entries[index];
        const position = entry === undefined ? undefined : placeOf(record, entry);
        if (position === undefined) {
          if (unplaced.has(record.id)) repeats.add(record);
          else unplaced.set(record.id, times[index] ?? 0n);
        } else if (entry !== undefined && !this.#passes(entry, position, now, undo, made)) {
          repeats.add(record);
        }
      }
    }
    const known = await lane.knownIds(unplaced);
    const counts: { stored: number; repeated: number }[] = [];
    const times: bigint[] = [];
    const cells: Cell[][] = this.columns.map(() => []);
    const [streams, p0, p1, lines, ids, metadata, fields] = cells as [
      Cell[],
      Cell[],
      Cell[],
      Cell[],
      Cell[],
      Cell[],
      Cell[],
    ];
    const newIds: string[] = [];
    const references = new Set<number>();
    for (const batch of batches) {
      let stored = 0;
      for (let index = 0; index < batch.records.length; index++) {
        const record = batch.records[index];
        const entry = batch.entries[index];
        const time = batch.times[index];
        if (record === undefined || entry === undefined || time === undefined) continue;
        if (repeats.size > 0 && repeats.has(record)) continue;
        const position = placeOf(record, entry);
        if (position === undefined) {
          if (known.has(record.id)) continue;
          newIds.push(record.id);
        }
        stored++;
        times.push(time);
        references.add(entry.id);
        streams.push(entry.id);
        p0.push(position === undefined ? null : BigInt(firstOf(position)));
        // Null where the position is one number, so that the id can be made again.
        p1.push(typeof position === 'object' ? BigInt(position[1]) : null);
        lines.push(record.line);
        const derived = position !== undefined && lineId(entry.idPrefix, position) === record.id;
        ids.push(derived ? null : record.id);
        // Most lines have none, and this is the hot path.
        if (record.fields === undefined) {
          metadata.push(null);
          fields.push(null);
          continue;
        }
        const { [FIELD.metadata]: _, ...others } = record.fields;
        const shown = metadataOf(record);
        metadata.push(shown === undefined ? null : JSON.stringify(shown));
        fields.push(isEmpty(others) ? null : JSON.stringify(others));
      }
      counts.push({ stored, repeated: batch.records.length - stored });
    }
    return {
      times,
      cells,
      counts,
      ids: newIds,
      references,
      undo: () => {
        for (const [mark, before] of undo) Object.assign(mark, before);
        for (const key of made) this.#marks.delete(key);
      },
    };
  }

  /** Whether the position is above all that were seen of its source; from then on it is not. */
  #passes(
    entry: Entry,
    position: Position,
    now: number,
    undo: Map<Mark, Mark>,
    made: string[],
  ): boolean {
    const { name, generation } = entry.source ?? { name: '', generation: '' };
    const key = keyOf(name, generation);
    const first = firstOf(position);
    const second = secondOf(position);
    const mark = this.#marks.get(key);
    if (mark === undefined) {
      this.#marks.set(key, { source: name, generation, first, second, seen: now });
      made.push(key);
      return true;
    }
    if (!undo.has(mark)) undo.set(mark, { ...mark });
    mark.seen = now;
    if (first < mark.first || (first === mark.first && second <= mark.second)) return false;
    mark.first = first;
    mark.second = second;
    return true;
  }

  marks(): readonly Mark[] {
    return [...this.#marks.values()].map((mark) => ({ ...mark }));
  }

  setMark(mark: Mark): void {
    this.#marks.set(keyOf(mark.source, mark.generation), { ...mark });
  }

  /** Sources that nothing was heard of since then. */
  expireMarks(before: number): void {
    for (const [key, mark] of this.#marks) if (mark.seen < before) this.#marks.delete(key);
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

let lastDay = '';
let lastDaySeconds = Number.NaN;

/** The wire's own form, nine digits and `Z`; undefined where it is no time or does not fit. */
export function nanosOf(timestamp: string): bigint | undefined {
  const day = timestamp.slice(0, 10);
  if (day !== lastDay) {
    lastDay = day;
    lastDaySeconds = Date.parse(`${day}T00:00:00Z`) / 1000;
  }
  const hours = Number(timestamp.slice(11, 13));
  const minutes = Number(timestamp.slice(14, 16));
  const seconds = Number(timestamp.slice(17, 19));
  if (!(hours < 24 && minutes < 60 && seconds < 60)) return undefined;
  const total = lastDaySeconds + hours * 3600 + minutes * 60 + seconds;
  if (!(Math.abs(total) < 9.2e9)) return undefined;
  return BigInt(total) * 1_000_000_000n + BigInt(Number(timestamp.slice(20, 29)));
}

/** The bytes of one line of an NDJSON value. */
export function lineOf(bytes: Uint8Array, line: number): Uint8Array {
  let from = 0;
  for (let at = 0; at < line; at++) from = bytes.indexOf(10, from) + 1;
  const to = bytes.indexOf(10, from);
  return bytes.subarray(from, to === -1 ? bytes.length : to);
}
