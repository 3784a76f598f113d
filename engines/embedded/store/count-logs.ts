import type { CountSeries, LogCount } from '../../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../../core/errors.ts';
import { type Labels, labelsKey } from '../../../core/labels.ts';
import type { Columns } from './database.ts';
import type { Entry } from './dictionary.ts';
import { filterLines, oneOf } from './filters.ts';
import type { Lane } from './lane.ts';
import { matching } from './select-logs.ts';
import { clampNanos, type Decoded } from './table.ts';

/**
 * A line at `t` counts in every window with `at - window < t <= at`: those numbered from
 * ceil((t - start) / step) to ceil((t - start + window) / step) - 1. DuckDB counts by the two
 * numbers, of which there are about twice as many pairs as windows, whatever the window's length;
 * the sums of overlapping windows are made here.
 */
export async function countLogs(
  lane: Lane<Decoded>,
  query: LogCount,
  signal: AbortSignal,
): Promise<CountSeries[]> {
  const { step, window } = query;
  if (step <= 0n || window <= 0n) {
    throw new ReflexarcError('bad_query', 'step and window of a count are above zero');
  }
  const filter = filterLines(query.filters);
  const entries = matching(lane, query.matchers);
  if (query.end < query.start || entries.size === 0) return [];
  const last = (query.end - query.start) / step;
  const from = clampNanos(query.start - window + 1n);
  const to = clampNanos(query.start + last * step + 1n);
  if (from >= to) return [];
  const view = await lane.view(from, to, new Set(entries.keys()));
  try {
    const bytes = query.measure === 'bytes';
    const all = entries.size === lane.dictionary?.size;
    const where = `${oneOf('stream', entries.keys(), all)} AND ${filter.sql}`;
    const build = (): string | undefined => {
      const rows = view.sql(bytes ? 'ts, stream, line' : 'ts, stream', where, from, to);
      return rows === undefined ? undefined : aggregate(rows, query, last, bytes);
    };
    const groups = new Map<string, Sums>();
    await view.each(
      build,
      filter.values,
      signal,
      () => groups.clear(),
      (part) => add(part, entries, query.by, groups),
    );
    return [...groups.values()].map((sums) => toSeries(sums, query, last, bytes));
  } finally {
    view.release();
  }
}

function aggregate(
  rows: string,
  { start, step, window }: LogCount,
  last: bigint,
  bytes: boolean,
): string {
  // Large enough that a division never rounds a negative number, whichever bound applies.
  const low = `CASE WHEN ts <= ${start} THEN 0 ELSE (ts - ${start} + ${step - 1n}) // ${step} END`;
  const high = `least((ts - ${start} + ${window - 1n}) // ${step}, ${last})`;
  const size = bytes ? 'sum(strlen(line))::BIGINT' : '0::BIGINT';
  if (window === step) {
    // Both numbers are the same: one division and one key less, which is most of the time it takes.
    const only = `(ts - ${start} + ${step - 1n}) // ${step}`;
    return `SELECT stream, nth, nth, count(*), ${size} FROM (SELECT *, ${only} AS nth FROM (${rows})) GROUP BY stream, nth`;
  }
  return `SELECT stream, low, high, count(*), ${size} FROM (
    SELECT *, ${low} AS low, ${high} AS high FROM (${rows})
  ) WHERE low <= high GROUP BY stream, low, high`;
}

interface Sums {
  readonly labels: Labels;
  /** By window's number: what begins to count there, and what ends to before it. */
  readonly changes: Map<bigint, { lines: number; bytes: number }>;
}

function add(
  part: Columns,
  entries: ReadonlyMap<number, Entry>,
  by: readonly string[] | undefined,
  groups: Map<string, Sums>,
): void {
  const [streams, low, high, lines, bytes] = [
    part.numbers(0),
    part.bigints(1),
    part.bigints(2),
    part.bigints(3),
    part.bigints(4),
  ];
  for (const [index, stream] of streams.entries()) {
    const labels = pick(entries.get(stream)?.labels ?? {}, by);
    const key = labelsKey(labels);
    let sums = groups.get(key);
    if (sums === undefined) {
      sums = { labels, changes: new Map() };
      groups.set(key, sums);
    }
    const count = Number(lines[index] ?? 0n);
    const size = Number(bytes[index] ?? 0n);
    change(sums, low[index] ?? 0n, count, size);
    change(sums, (high[index] ?? 0n) + 1n, -count, -size);
  }
}

function change(sums: Sums, at: bigint, lines: number, bytes: number): void {
  const found = sums.changes.get(at);
  if (found === undefined) sums.changes.set(at, { lines, bytes });
  else {
    found.lines += lines;
    found.bytes += bytes;
  }
}

function pick(labels: Labels, by: readonly string[] | undefined): Labels {
  if (by === undefined) return labels;
  const picked: Record<string, string> = {};
  for (const name of by) {
    const value = labels[name];
    if (value !== undefined && value !== '') picked[name] = value;
  }
  return picked;
}

function toSeries(sums: Sums, query: LogCount, last: bigint, bytes: boolean): CountSeries {
  const changes = [...sums.changes].sort(([a], [b]) => (a < b ? -1 : 1));
  const points: { at: bigint; value: number }[] = [];
  let lines = 0;
  let size = 0;
  for (const [index, [from, delta]] of changes.entries()) {
    lines += delta.lines;
    size += delta.bytes;
    if (lines === 0) continue;
    const next = changes[index + 1]?.[0] ?? last + 1n;
    for (let at = from; at < next && at <= last; at++) {
      points.push({ at: query.start + at * query.step, value: bytes ? size : lines });
    }
  }
  return { labels: sums.labels, points };
}
