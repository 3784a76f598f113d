import type {
  CountSeries,
  LogCount,
  LogQueryable,
  LogRow,
  LogSelect,
} from '../../core/contracts/queryable.ts';
import { compileMatchers, type Labels, labelsKey } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import type { Nanos } from '../../core/time.ts';
import { keep } from '../series/labels.ts';

/** Rows in memory, selected and counted line by line as the contract says; counts its calls. */
export class MemoryLogs implements LogQueryable {
  readonly #rows: readonly LogRow[];
  readonly selects: LogSelect[] = [];
  readonly counts: LogCount[] = [];

  constructor(rows: readonly LogRow[]) {
    this.#rows = rows.toSorted((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
  }

  #matching({ matchers, filters }: Pick<LogSelect, 'matchers' | 'filters'>): LogRow[] {
    const test = compileMatchers(matchers);
    const lines = filters.map(({ op, value }) => {
      const wanted = op.startsWith('|');
      if (!op.endsWith('~')) return (line: string) => line.includes(value) === wanted;
      const regex = compileRegex(value);
      return (line: string) => regex.test(line) === wanted;
    });
    return this.#rows.filter(({ labels, line }) => test(labels) && lines.every((f) => f(line)));
  }

  async *selectLogs(query: LogSelect): AsyncIterable<readonly LogRow[]> {
    this.selects.push(query);
    const { start, end, direction, limit = Infinity } = query;
    const found = this.#matching(query).filter((r) => r.timestamp >= start && r.timestamp < end);
    if (direction === 'backward') found.reverse();
    const rows = found.slice(0, limit);
    for (let i = 0; i < rows.length; i += 3) yield Promise.resolve(rows.slice(i, i + 3));
  }

  countLogs(query: LogCount): Promise<CountSeries[]> {
    this.counts.push(query);
    const { start, end, step, window, measure, by } = query;
    const series = new Map<string, { labels: Labels; points: { at: Nanos; value: number }[] }>();
    for (let at = start; at <= end; at += step) {
      for (const { timestamp, labels: own, line } of this.#matching(query)) {
        if (timestamp <= at - window || timestamp > at) continue;
        const labels = by === undefined ? own : keep(own, by);
        const one = series.get(labelsKey(labels)) ?? { labels, points: [] };
        series.set(labelsKey(labels), one);
        const last = one.points.at(-1);
        const value = measure === 'bytes' ? Buffer.byteLength(line) : 1;
        if (last?.at === at) last.value += value;
        else one.points.push({ at, value });
      }
    }
    return Promise.resolve([...series.values()]);
  }
}
