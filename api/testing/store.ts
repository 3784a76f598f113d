import type {
  CountSeries,
  LogCount,
  LogRow,
  LogSelect,
  SampleSeries,
} from '../../core/contracts/queryable.ts';
import type {
  HistorySelect,
  LabelSelect,
  StoreReader,
  StoreStats,
} from '../../core/contracts/store.ts';
import { compileMatchers, type Labels, labelsKey } from '../../core/labels.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import type { Sample } from '../../core/records/metric.ts';
import { compileRegex } from '../../core/regex.ts';

/** A store in memory, as plain as the contract allows. */
export class MemoryStore implements StoreReader {
  rows: LogRow[] = [];
  samples: Sample[] = [];
  alertRecords: AlertRecord[] = [];
  actionRecords: ActionRecord[] = [];
  /** Called at the beginning of every read, with its signal. */
  onRead: (signal: AbortSignal) => Promise<void> | void = () => undefined;

  async *selectLogs(query: LogSelect, signal: AbortSignal): AsyncIterable<readonly LogRow[]> {
    await this.onRead(signal);
    const rows = this.#matching(query).filter(
      ({ timestamp }) => timestamp >= query.start && timestamp < query.end,
    );
    if (query.direction === 'backward') rows.reverse();
    for (const row of rows.slice(0, query.limit)) {
      if (signal.aborted) return;
      yield [row];
    }
  }

  #matching({ matchers, filters }: Pick<LogSelect, 'matchers' | 'filters'>): LogRow[] {
    const test = compileMatchers(matchers);
    const lines = filters.map(({ op, value }) => {
      const positive = op === '|=' || op === '|~';
      const regex = op === '|~' || op === '!~' ? compileRegex(value) : undefined;
      return (line: string) => (regex?.test(line) ?? line.includes(value)) === positive;
    });
    return this.rows
      .filter(({ labels, line }) => test(labels) && lines.every((holds) => holds(line)))
      .sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
  }

  async countLogs(query: LogCount, signal: AbortSignal): Promise<readonly CountSeries[]> {
    await this.onRead(signal);
    const series = new Map<string, { labels: Labels; points: Map<bigint, number> }>();
    for (const row of this.#matching(query)) {
      const { by } = query;
      const labels =
        by === undefined
          ? row.labels
          : Object.fromEntries(Object.entries(row.labels).filter(([name]) => by.includes(name)));
      const key = labelsKey(labels);
      const one = series.get(key) ?? { labels, points: new Map<bigint, number>() };
      series.set(key, one);
      for (let at = query.start; at <= query.end; at += query.step) {
        if (row.timestamp <= at - query.window || row.timestamp > at) continue;
        const value = query.measure === 'lines' ? 1 : Buffer.byteLength(row.line);
        one.points.set(at, (one.points.get(at) ?? 0) + value);
      }
    }
    return [...series.values()]
      .map(({ labels, points }) => ({
        labels,
        points: [...points].map(([at, value]) => ({ at, value })),
      }))
      .filter(({ points }) => points.length > 0);
  }

  async selectSamples(
    { start, end, matchers }: Parameters<StoreReader['selectSamples']>[0],
    signal: AbortSignal,
  ): Promise<readonly SampleSeries[]> {
    await this.onRead(signal);
    const test = compileMatchers(matchers);
    const found = this.samples
      .filter(({ labels, timestamp: t }) => t >= start && t <= end && test(labels))
      .sort((a, b) => a.timestamp - b.timestamp);
    return Map.groupBy(found, ({ labels }) => labelsKey(labels))
      .values()
      .map((samples) => ({
        labels: samples[0]?.labels ?? {},
        timestamps: Float64Array.from(samples, ({ timestamp }) => timestamp),
        values: Float64Array.from(samples, ({ value }) => value),
      }))
      .toArray();
  }

  async labelNames(query: LabelSelect, signal: AbortSignal): Promise<readonly string[]> {
    const sets = await this.series(query, signal);
    return [...new Set(sets.flatMap((labels) => Object.keys(labels)))].sort();
  }

  async labelValues(
    name: string,
    query: LabelSelect,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const sets = await this.series(query, signal);
    return [...new Set(sets.flatMap((labels) => labels[name] ?? []))].sort();
  }

  async series(
    { of, range, matchers }: LabelSelect,
    signal: AbortSignal,
  ): Promise<readonly Labels[]> {
    await this.onRead(signal);
    const tests = matchers.map(compileMatchers);
    const all =
      of === 'logs'
        ? this.rows
        : this.samples.map(({ labels, timestamp }) => ({
            labels,
            timestamp: BigInt(timestamp) * 1_000_000n,
          }));
    const sets = new Map<string, Labels>();
    for (const { labels, timestamp } of all) {
      if (timestamp < range.start || timestamp >= range.end) continue;
      if (tests.length > 0 && !tests.some((test) => test(labels))) continue;
      sets.set(labelsKey(labels), labels);
    }
    return [...sets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, labels]) => labels);
  }

  async alerts(query: HistorySelect, signal: AbortSignal): Promise<readonly AlertRecord[]> {
    await this.onRead(signal);
    return newest(this.alertRecords, query, (record) => ({
      fingerprint: record.fingerprint,
      service: record.labels['service'],
    }));
  }

  async actions(query: HistorySelect, signal: AbortSignal): Promise<readonly ActionRecord[]> {
    await this.onRead(signal);
    return newest(this.actionRecords, query, (record) => ({
      fingerprint: record.alert.fingerprint,
      service: record.target?.service,
      case: record.case,
    }));
  }

  async position(): Promise<number | undefined> {
    return undefined;
  }

  async stats(): Promise<StoreStats> {
    return { bytes: 1024, logs: this.rows.length, samples: this.samples.length };
  }
}

function newest<T extends { readonly timestamp: number }>(
  records: readonly T[],
  query: HistorySelect,
  facts: (record: T) => { fingerprint?: string; service?: string | undefined; case?: string },
): T[] {
  return records
    .filter((record) => {
      const fact = facts(record);
      return (
        record.timestamp >= query.start &&
        record.timestamp <= query.end &&
        (query.fingerprint === undefined || query.fingerprint === fact.fingerprint) &&
        (query.service === undefined || query.service === fact.service) &&
        (query.case === undefined || query.case === fact.case)
      );
    })
    .sort((a, b) => b.timestamp - a.timestamp)
    .slice(0, query.limit);
}
