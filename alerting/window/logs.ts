import type {
  CountSeries,
  LineFilter,
  LogCount,
  LogRow,
  LogSelect,
} from '../../core/contracts/queryable.ts';
import { compileMatchers, type Labels, labelsKey, type Matcher } from '../../core/labels.ts';
import { metadataOf, originOf } from '../../core/records/codec.ts';
import type { LogRecord, Stream } from '../../core/records/log.ts';
import { compileRegex } from '../../core/regex.ts';
import type { Nanos } from '../../core/time.ts';
import { SortedTimes } from './sorted.ts';

/** Newest rows kept of each stream, for evidence, where counting needs no lines. */
const KEPT = 16;
/** What a row costs beside its texts, bytes; measured roughly, and on the safe side. */
const ROW_COST = 200;
const COUNT_COST = 24;

export const logKey = (matchers: readonly Matcher[], filters: readonly LineFilter[]): string =>
  JSON.stringify([matchers, filters]);

/** A stream's labels are one object for all of its lines. */
const keys = new WeakMap<Labels, string>();

interface StreamRows {
  readonly labels: Labels;
  /** The line's bytes where lines are not needed, else the row. */
  readonly sorted: SortedTimes<LogRow | number>;
  /** Oldest first. */
  readonly newest: LogRow[];
}

/** The rows of one selection that passed on the bus, by stream. */
export class LogWindow {
  readonly key: string;
  readonly matchers: readonly Matcher[];
  readonly filters: readonly LineFilter[];
  /** Every row of this time or later that passed is here. */
  begin: Nanos;
  bytes = 0;
  /** The text that every matching line holds; undefined: there is none. */
  readonly literal: string | undefined;
  /** Whether a line's text is kept; where it is only counted it need not be. */
  readonly rows: boolean;
  readonly #labelsMatch: (labels: Labels) => boolean;
  readonly #lineTests: readonly ((line: string) => boolean)[];
  readonly #streams = new Map<string, StreamRows>();

  constructor(
    selection: { matchers: readonly Matcher[]; filters: readonly LineFilter[]; rows: boolean },
    begin: Nanos,
  ) {
    this.matchers = selection.matchers;
    this.filters = selection.filters;
    this.rows = selection.rows;
    this.key = logKey(selection.matchers, selection.filters);
    this.begin = begin;
    this.#labelsMatch = compileMatchers(selection.matchers);
    this.#lineTests = selection.filters.map(compileFilter);
    this.literal = selection.filters
      .filter((filter) => filter.op === '|=' && filter.value !== '')
      .map((filter) => filter.value)
      .sort((a, b) => b.length - a.length)[0];
  }

  matches(labels: Labels): boolean {
    return this.#labelsMatch(labels);
  }

  /** Whose stream matches. Undefined: the line does not, or it is too old. */
  add(record: LogRecord, time: Nanos): LogRow | undefined {
    if (time < this.begin) return undefined;
    for (const test of this.#lineTests) if (!test(record.line)) return undefined;
    const stream = this.#stream(record.stream);
    const metadata = metadataOf(record);
    const origin = originOf(record.stream);
    const row: LogRow = {
      timestamp: time,
      line: record.line,
      labels: stream.labels,
      id: record.id,
      ...(metadata === undefined ? {} : { metadata }),
      ...(origin === undefined ? {} : { origin }),
    };
    const item = this.rows ? row : Buffer.byteLength(record.line);
    stream.sorted.insert(time, item);
    this.bytes += cost(item);
    if (!this.rows) keepNewest(stream.newest, row);
    return row;
  }

  #stream({ labels }: Stream): StreamRows {
    let key = keys.get(labels);
    if (key === undefined) {
      key = labelsKey(labels);
      keys.set(labels, key);
    }
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = { labels, sorted: new SortedTimes(), newest: [] };
      this.#streams.set(key, stream);
    }
    return stream;
  }

  /** Gives up what is before `begin`. @returns how many rows */
  trim(begin: Nanos): number {
    if (begin <= this.begin) return 0;
    this.begin = begin;
    let dropped = 0;
    for (const [key, { sorted, newest }] of this.#streams) {
      const old = sorted.from(begin);
      sorted.dropFirst(old, (item) => {
        this.bytes -= cost(item);
      });
      dropped += old;
      if (sorted.length === 0) this.#streams.delete(key);
      else while ((newest[0]?.timestamp ?? begin) < begin) newest.shift();
    }
    return dropped;
  }

  /** The time before which about half of the rows lie. */
  middle(): Nanos {
    let largest: SortedTimes<unknown> | undefined;
    for (const { sorted } of this.#streams.values()) {
      if (largest === undefined || sorted.length > largest.length) largest = sorted;
    }
    return largest === undefined ? this.begin : largest.time(largest.length >>> 1) + 1n;
  }

  /** Rows in `[start, end)`, in the order asked for; only where rows are kept. */
  select({ start, end, direction, limit }: Omit<LogSelect, 'matchers' | 'filters'>): LogRow[] {
    const rows: LogRow[] = [];
    for (const { sorted } of this.#streams.values()) {
      let [from, to] = [sorted.from(start), sorted.from(end)];
      if (limit !== undefined && direction === 'forward') to = Math.min(to, from + limit);
      if (limit !== undefined && direction === 'backward') from = Math.max(from, to - limit);
      for (let index = from; index < to; index++) rows.push(sorted.item(index) as LogRow);
    }
    const sign = direction === 'forward' ? 1 : -1;
    if (this.#streams.size > 1 || sign === -1) rows.sort((a, b) => sign * compareRows(a, b));
    return limit === undefined ? rows : rows.slice(0, limit);
  }

  /** Newest first, over all streams for whose labels `wanted` holds; at most 16 of a stream. */
  newest(wanted: (labels: Labels) => boolean, until: Nanos): LogRow[] {
    const found: LogRow[] = [];
    for (const { labels, sorted, newest } of this.#streams.values()) {
      if (!wanted(labels)) continue;
      if (!this.rows) found.push(...newest.filter((row) => row.timestamp <= until));
      else {
        const to = sorted.after(until);
        for (let index = Math.max(0, to - 256); index < to; index++) {
          found.push(sorted.item(index) as LogRow);
        }
      }
    }
    return found.sort((a, b) => compareRows(b, a));
  }

  /** As the contract has it, over what is here. */
  count(query: Omit<LogCount, 'matchers' | 'filters'>): CountSeries[] {
    const groups = new Map<string, { labels: Labels; points: Map<Nanos, number> }>();
    for (const { labels, sorted } of this.#streams.values()) {
      const kept = query.by === undefined ? labels : project(labels, query.by);
      const key = labelsKey(kept);
      const group = groups.get(key) ?? { labels: kept, points: new Map<Nanos, number>() };
      for (let at = query.start; at <= query.end; at += query.step) {
        const from = sorted.after(at - query.window);
        const to = sorted.after(at);
        if (to <= from) continue;
        let value = to - from;
        if (query.measure === 'bytes') {
          value = 0;
          for (let index = from; index < to; index++) value += lineBytes(sorted.item(index));
        }
        group.points.set(at, (group.points.get(at) ?? 0) + value);
      }
      if (group.points.size > 0) groups.set(key, group);
    }
    return [...groups.values()].map(({ labels, points }) => ({
      labels,
      points: [...points]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([at, value]) => ({ at, value })),
    }));
  }
}

function keepNewest(newest: LogRow[], row: LogRow): void {
  let index = newest.length;
  while (index > 0 && (newest[index - 1]?.timestamp ?? 0n) > row.timestamp) index--;
  newest.splice(index, 0, row);
  if (newest.length > KEPT) newest.shift();
}

const cost = (item: LogRow | number): number =>
  typeof item === 'number' ? COUNT_COST : ROW_COST + item.line.length * 2;

const lineBytes = (item: LogRow | number): number =>
  typeof item === 'number' ? item : Buffer.byteLength(item.line);

export function compareRows(a: LogRow, b: LogRow): number {
  if (a.timestamp !== b.timestamp) return a.timestamp < b.timestamp ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

export function project(labels: Labels, by: readonly string[]): Labels {
  const kept: Record<string, string> = {};
  for (const name of by) {
    const value = labels[name];
    if (value !== undefined && value !== '') kept[name] = value;
  }
  return kept;
}

function compileFilter({ op, value }: LineFilter): (line: string) => boolean {
  if (op === '|=') return (line) => line.includes(value);
  if (op === '!=') return (line) => !line.includes(value);
  const regex = compileRegex(value);
  return op === '|~' ? (line) => regex.test(line) : (line) => !regex.test(line);
}
