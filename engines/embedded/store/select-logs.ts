import type { LogSelect } from '../../../core/contracts/queryable.ts';
import { throwIfAborted } from '../../../core/errors.ts';
import { compileMatchers } from '../../../core/labels.ts';
import { lineId } from '../../../core/records/codec.ts';
import type { Columns, Parameter } from './database.ts';
import type { Entry } from './dictionary.ts';
import { filterLines, oneOf } from './filters.ts';
import type { Lane } from './lane.ts';
import type { LogBatch } from './protocol.ts';
import { type Slice, Slices } from './slices.ts';
import { clampNanos, type Decoded } from './table.ts';
import type { View } from './view.ts';

/** Rows of one query to DuckDB; more are asked for from the last row on. */
const PAGE = 8192;

/**
 * Rows in order, in batches. The range is read in slices of time, beginning at the end that is
 * asked for, so that a limit is reached early and a whole day is never sorted at once.
 */
export async function* selectLogs(
  lane: Lane<Decoded>,
  query: LogSelect,
  signal: AbortSignal,
): AsyncGenerator<LogBatch> {
  const from = clampNanos(query.start);
  const to = clampNanos(query.end);
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  const filter = filterLines(query.filters);
  const entries = matching(lane, query.matchers);
  if (entries.size === 0 || left <= 0 || from >= to) return;
  const view = await lane.view(from, to, new Set(entries.keys()));
  try {
    const all = entries.size === lane.dictionary?.size;
    const where = `${oneOf('stream', entries.keys(), all)} AND ${filter.sql}`;
    const down = query.direction === 'backward';
    const limited = query.limit !== undefined && query.limit <= PAGE;
    const slices = new Slices(view, from, to, down, limited ? 150_000 : 2 * PAGE);
    for (let slice = slices.next(); slice !== undefined; slice = slices.next()) {
      let after: Cursor | undefined;
      for (;;) {
        throwIfAborted(signal);
        const page = Math.min(PAGE, left);
        const rows = await readPage(view, where, filter.values, slice, after, down, page, signal);
        left -= rows.rows;
        const whole = rows.rows < page;
        if (rows.rows > 0) {
          yield toBatch(rows, entries, left <= 0);
          after = cursorOf(rows);
        }
        if (left <= 0) return;
        if (whole) break;
      }
      slices.learn(after !== undefined);
    }
  } finally {
    view.release();
  }
}

interface Cursor {
  readonly time: bigint;
  readonly seq: bigint;
}

function cursorOf(rows: Columns): Cursor | undefined {
  const time = rows.bigints(0).at(-1);
  const seq = rows.bigints(1).at(-1);
  return time === undefined || seq === undefined ? undefined : { time, seq };
}

function readPage(
  view: View,
  where: string,
  values: readonly Parameter[],
  slice: Slice,
  after: Cursor | undefined,
  down: boolean,
  page: number,
  signal: AbortSignal,
): Promise<Columns> {
  // The part that other rows of the cursor's own time are in.
  const from = after === undefined || down ? slice.from : after.time;
  const to = after === undefined || !down ? slice.to : after.time + 1n;
  const past =
    after === undefined
      ? 'true'
      : `(ts ${down ? '<' : '>'} ${after.time} OR seq ${down ? '<' : '>'} ${after.seq})`;
  const order = down ? 'DESC' : 'ASC';
  const build = (): string | undefined => {
    const rows = view.sql(
      'ts, seq, stream, line, id, metadata, p0, p1',
      `${where} AND ${past}`,
      from,
      to,
    );
    return rows === undefined
      ? undefined
      : `SELECT * FROM (${rows}) ORDER BY ts ${order}, seq ${order} LIMIT ${page}`;
  };
  return view.read(build, values, signal);
}

/** The streams that all matchers hold for. @throws bad_query */
export function matching(
  lane: Lane<Decoded>,
  matchers: LogSelect['matchers'],
): ReadonlyMap<number, Entry> {
  const test = compileMatchers(matchers);
  const found = new Map<number, Entry>();
  for (const entry of lane.dictionary?.entries() ?? []) {
    if (test(entry.labels)) found.set(entry.id, entry);
  }
  return found;
}

function toBatch(rows: Columns, entries: ReadonlyMap<number, Entry>, last: boolean): LogBatch {
  const places = new Map<number, number>();
  const dictionary: LogBatch['dictionary'][number][] = [];
  const streams: number[] = [];
  const ids: string[] = [];
  const given = rows.nullableTexts(4);
  const p0 = rows.nullableBigints(6);
  const p1 = rows.nullableBigints(7);
  for (const [index, stream] of rows.numbers(2).entries()) {
    const entry = entries.get(stream);
    let place = places.get(stream);
    if (place === undefined) {
      place = dictionary.length;
      places.set(stream, place);
      dictionary.push({ labels: entry?.labels ?? {}, origin: entry?.origin });
    }
    streams.push(place);
    ids.push(given[index] ?? idOf(entry, p0[index] ?? 0n, p1[index] ?? null));
  }
  return {
    times: rows.bigints(0),
    lines: rows.texts(3),
    ids,
    metadata: rows.nullableTexts(5),
    streams,
    dictionary,
    last,
  };
}

/** As the collector made it, from the position. */
function idOf(entry: Entry | undefined, first: bigint, second: bigint | null): string {
  const prefix = entry?.idPrefix ?? '';
  return lineId(prefix, second === null ? Number(first) : [Number(first), Number(second)]);
}
