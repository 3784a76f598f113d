import { randomUUID } from 'node:crypto';
import { Counter, Gauge, Histogram } from 'prom-client';
import { formatBytes } from '../../core/bytes.ts';
import type { BusReader, Delivery, Subscription } from '../../core/contracts/bus.ts';
import type {
  CountSeries,
  LineFilter,
  LogCount,
  LogQueryable,
  LogRow,
  LogSelect,
  MilliRange,
  Queryable,
  SampleQueryable,
  SampleSeries,
} from '../../core/contracts/queryable.ts';
import { labelsKey, type Matcher } from '../../core/labels.ts';
import { decodeSamples } from '../../core/records/codec.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { Telemetry } from '../../core/service.ts';
import { millisToNanos, type Nanos, nanosToMillis, parseRfc3339 } from '../../core/time.ts';
import { LogWindow, logKey } from './logs.ts';
import { mergeCounts, mergeSamples } from './merge.ts';
import { Repeats } from './repeats.ts';
import { SampleWindow, sampleKey } from './samples.ts';
import { Scanner, safeLiteral } from './scan.ts';

/** What rules look at. */
export interface Needs {
  readonly logs: readonly {
    readonly matchers: readonly Matcher[];
    readonly filters: readonly LineFilter[];
    /** Lines are read, and not only counted. */
    readonly rows: boolean;
    /** Milliseconds. */
    readonly lookback: number;
  }[];
  readonly samples: readonly { readonly matchers: readonly Matcher[]; readonly lookback: number }[];
}

/** What has just passed: rows by the key of their selection, and selections with new samples. */
export interface News {
  readonly logs: ReadonlyMap<string, readonly LogRow[]>;
  readonly samples: ReadonlySet<string>;
}

export interface WindowOptions {
  /** Bytes; when it is exceeded the oldest go. */
  readonly maxBytes: number;
  /** How far back the bus is replayed at most, milliseconds; what is older is the store's. */
  readonly maxReplay: number;
}

/** A tick may be evaluated late, and records come late: kept beyond the lookback, milliseconds. */
const SLACK = 60_000;

export function windowMetrics({ metrics: registry }: Telemetry) {
  const registers = [registry];
  return {
    bytes: new Gauge({
      name: 'reflexarc_alerting_window_bytes',
      help: 'Memory that the records and samples of the rules take',
      registers,
    }),
    evicted: new Counter({
      name: 'reflexarc_alerting_window_evicted_total',
      help: 'Records and samples given up because the window was full; the store is asked for them',
      registers,
    }),
    asked: new Counter({
      name: 'reflexarc_alerting_window_store_queries_total',
      help: "Queries that needed what is older than the window's beginning",
      registers,
    }),
    repeats: new Counter({
      name: 'reflexarc_alerting_window_repeats_total',
      help: 'Records that came again and were dropped',
      registers,
    }),
    bad: new Counter({
      name: 'reflexarc_alerting_bad_records_total',
      help: 'Records that could not be decoded; ingest makes them dead letters',
      labelNames: ['topic'],
      registers,
    }),
    read: new Counter({
      name: 'reflexarc_alerting_records_total',
      help: 'Lines scanned (of messages that may concern a rule), and lines decoded because a rule may want them',
      labelNames: ['what'],
      registers,
    }),
    handling: new Histogram({
      name: 'reflexarc_alerting_window_delivery_seconds',
      help: 'Time taken for one delivery of the bus',
      labelNames: ['topic'],
      buckets: [0.0001, 0.001, 0.01, 0.1, 1],
      registers,
    }),
  };
}

export type WindowMetrics = ReturnType<typeof windowMetrics>;

/**
 * The alert engine's memory: of what passes on the bus, what some rule looks at. Answers queries as
 * a store would; for times before its beginning the store is asked, and the answers are merged.
 */
export class Window implements Queryable {
  readonly #telemetry: Telemetry;
  readonly #metrics: WindowMetrics;
  readonly #store: LogQueryable & SampleQueryable;
  readonly #options: WindowOptions;
  readonly #logs = new Map<string, LogWindow>();
  readonly #samples = new Map<string, SampleWindow>();
  readonly #lookbacks = new Map<string, number>();
  readonly #scanner: Scanner;
  readonly #sampleLiterals: readonly (Buffer | undefined)[];
  readonly #repeats = new Repeats();
  /** Which windows a series belongs to, by its labels' text. */
  readonly #series = new Map<string, readonly SampleWindow[]>();
  readonly #subscriptions: Subscription[] = [];
  #live = false;
  #closed = false;
  #onNews: (news: News) => void = () => {};
  #trimmed = 0;
  #warned = Number.NEGATIVE_INFINITY;

  constructor(
    deps: {
      telemetry: Telemetry;
      metrics: WindowMetrics;
      store: LogQueryable & SampleQueryable;
      options: WindowOptions;
    },
    needs: Needs,
  ) {
    this.#telemetry = deps.telemetry;
    this.#metrics = deps.metrics;
    this.#store = deps.store;
    this.#options = deps.options;
    const now = deps.telemetry.clock.now();
    const begin = (lookback: number): number =>
      Math.floor(now - Math.min(lookback + SLACK, deps.options.maxReplay));
    for (const need of mergeNeeds(needs.logs, (each) => logKey(each.matchers, each.filters))) {
      const window = new LogWindow(need, millisToNanos(begin(need.lookback)));
      this.#logs.set(window.key, window);
      this.#lookbacks.set(window.key, need.lookback);
    }
    for (const need of mergeNeeds(needs.samples, (each) => sampleKey(each.matchers))) {
      const window = new SampleWindow(need.matchers, begin(need.lookback));
      this.#samples.set(window.key, window);
      this.#lookbacks.set(window.key, need.lookback);
    }
    this.#scanner = new Scanner([...this.#logs.values()]);
    this.#sampleLiterals = [...this.#samples.values()].map(({ matchers }) => {
      const wanted = matchers.find(({ op, value }) => op === '=' && value !== '');
      const literal = safeLiteral(wanted?.value);
      return literal === undefined ? undefined : Buffer.from(literal);
    });
  }

  /** Replays the bus and resolves when it has caught up; then `onNews` is called with what passes. */
  async start(bus: BusReader, onNews: (news: News) => void, signal: AbortSignal): Promise<void> {
    const subscribe = async (
      topic: 'logs' | 'metrics',
      windows: readonly { begin: number }[],
      take: (delivery: Delivery) => void,
    ): Promise<void> => {
      if (windows.length === 0) return;
      const from = Math.min(...windows.map(({ begin }) => begin));
      const subscription = await bus.subscribe(
        topic,
        `alerting-window-${randomUUID()}`,
        (delivery) => {
          const started = this.#telemetry.clock.monotonic();
          take(delivery);
          const seconds = (this.#telemetry.clock.monotonic() - started) / 1000;
          this.#metrics.handling.observe({ topic }, seconds);
          return Promise.resolve(undefined);
        },
        { ephemeral: true, start: { time: millisToNanos(from) } },
      );
      this.#subscriptions.push(subscription);
      if (this.#closed) await subscription.close();
      await subscription.caughtUp(signal);
    };
    const logs = [...this.#logs.values()].map(({ begin }) => ({ begin: nanosToMillis(begin) }));
    await Promise.all([
      subscribe('logs', logs, (delivery) => this.#takeLogs(delivery)),
      subscribe('metrics', [...this.#samples.values()], (delivery) => this.#takeSamples(delivery)),
    ]);
    this.#onNews = onNews;
    this.#live = true;
  }

  async close(): Promise<void> {
    this.#live = false;
    this.#closed = true;
    await Promise.all(this.#subscriptions.map((subscription) => subscription.close()));
  }

  get bytes(): number {
    let total = 0;
    for (const window of this.#logs.values()) total += window.bytes;
    for (const window of this.#samples.values()) total += window.bytes;
    return total;
  }

  logWindow(key: string): LogWindow | undefined {
    return this.#logs.get(key);
  }

  sampleWindow(key: string): SampleWindow | undefined {
    return this.#samples.get(key);
  }

  #takeLogs({ messages }: Delivery): void {
    const logs = new Map<string, LogRow[]>();
    const { counts } = this.#scanner;
    const before = { ...counts };
    for (const { value } of messages) {
      this.#scanner.scan(value, (record, windows) => {
        const time = parseRfc3339(record.timestamp);
        if (time === undefined) return;
        if (this.#repeats.isRepeat(record)) {
          this.#metrics.repeats.inc();
          return;
        }
        for (const window of windows) {
          const row = window.add(record, time);
          if (row === undefined || !this.#live) continue;
          const rows = logs.get(window.key);
          if (rows === undefined) logs.set(window.key, [row]);
          else rows.push(row);
        }
      });
    }
    this.#metrics.read.inc({ what: 'scanned' }, counts.lines - before.lines);
    this.#metrics.read.inc({ what: 'decoded' }, counts.decoded - before.decoded);
    this.#metrics.bad.inc({ topic: 'logs' }, counts.bad - before.bad);
    this.#trim();
    if (logs.size > 0) this.#onNews({ logs, samples: new Set() });
  }

  #takeSamples({ messages }: Delivery): void {
    const touched = new Set<string>();
    for (const { value } of messages) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      if (
        !this.#sampleLiterals.some((literal) => literal === undefined || bytes.includes(literal))
      ) {
        continue;
      }
      const { records, bad } = decodeSamples(value);
      if (bad.length > 0) this.#metrics.bad.inc({ topic: 'metrics' }, bad.length);
      this.#add(records, touched);
    }
    this.#trim();
    if (this.#live && touched.size > 0) this.#onNews({ logs: new Map(), samples: touched });
  }

  #add(samples: readonly Sample[], touched: Set<string>): void {
    for (const sample of samples) {
      const key = labelsKey(sample.labels);
      let windows = this.#series.get(key);
      if (windows === undefined) {
        windows = [...this.#samples.values()].filter((window) => window.matches(sample.labels));
        // Label sets that come and go forever cost time, not memory.
        if (this.#series.size >= 100_000) this.#series.clear();
        this.#series.set(key, windows);
      }
      for (const window of windows) if (window.add(sample, key)) touched.add(window.key);
    }
  }

  /** Our own results, so that later rules of the group see them before the bus brings them back. */
  remember(samples: readonly Sample[]): void {
    this.#add(samples, new Set());
  }

  /** At most once a second, or when memory is short. */
  #trim(): void {
    const now = this.#telemetry.clock.now();
    if (Math.abs(now - this.#trimmed) >= 1000) {
      this.#trimmed = now;
      const oldest = (key: string): number => {
        const lookback = this.#lookbacks.get(key) ?? 0;
        // PromQL's `@` looks at a fixed time: what is far back is the store's.
        return now - (Number.isFinite(lookback) ? lookback : this.#options.maxReplay) - SLACK;
      };
      for (const [key, window] of this.#logs) window.trim(millisToNanos(oldest(key)));
      for (const [key, window] of this.#samples) window.trim(oldest(key));
      this.#metrics.bytes.set(this.bytes);
    }
    if (this.bytes > this.#options.maxBytes) this.#evict(now);
  }

  #evict(now: number): void {
    let evicted = 0;
    // Halving the largest again and again: whatever is in the way is the rule that wants too much.
    while (this.bytes > this.#options.maxBytes * 0.9) {
      const largest = [...this.#logs.values(), ...this.#samples.values()].sort(
        (a, b) => b.bytes - a.bytes,
      )[0];
      if (largest === undefined || largest.bytes === 0) break;
      evicted +=
        largest instanceof LogWindow
          ? largest.trim(largest.middle())
          : largest.trim(largest.middle());
    }
    this.#metrics.evicted.inc(evicted);
    if (now - this.#warned < 60_000) return;
    this.#warned = now;
    this.#telemetry.log.warn(
      { evicted, limit: formatBytes(this.#options.maxBytes) },
      "the rules' window is full: its oldest records are given up and the store is asked for them; narrow the rules' selectors or shorten their ranges",
    );
  }

  async *selectLogs(query: LogSelect, signal: AbortSignal): AsyncIterable<readonly LogRow[]> {
    const window = this.#logs.get(logKey(query.matchers, query.filters));
    if (window === undefined || !window.rows) {
      this.#metrics.asked.inc();
      yield* this.#store.selectLogs(query, signal);
      return;
    }
    const { begin } = window;
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    const limit = (): { limit?: number } => (Number.isFinite(left) ? { limit: left } : {});
    const here = (): LogRow[] => {
      const start = query.start > begin ? query.start : begin;
      return window.select({ start, end: query.end, direction: query.direction, ...limit() });
    };
    // Taken at once: what passes while the store answers is not part of this answer.
    const rows = query.direction === 'backward' || query.start >= begin ? here() : undefined;
    if (rows !== undefined && rows.length > 0) {
      left -= rows.length;
      yield rows;
    }
    if (query.start < begin && left > 0) {
      this.#metrics.asked.inc();
      const end = query.end < begin ? query.end : begin;
      if (query.start < end) {
        for await (const batch of this.#store.selectLogs({ ...query, end, ...limit() }, signal)) {
          left -= batch.length;
          yield batch;
        }
      }
    }
    if (rows === undefined && left > 0) {
      const later = here();
      if (later.length > 0) yield later;
    }
  }

  async countLogs(query: LogCount, signal: AbortSignal): Promise<readonly CountSeries[]> {
    const window = this.#logs.get(logKey(query.matchers, query.filters));
    if (window === undefined) {
      this.#metrics.asked.inc();
      return this.#store.countLogs(query, signal);
    }
    const { begin } = window;
    const parts: CountSeries[][] = [window.count(query)];
    for (let at = query.start; at <= query.end; at += query.step > 0n ? query.step : 1n) {
      const from = at - query.window;
      const last: Nanos = begin - 1n < at ? begin - 1n : at;
      if (from >= last) continue;
      this.#metrics.asked.inc();
      const older = await this.#store.countLogs(
        { ...query, start: last, end: last, window: last - from },
        signal,
      );
      parts.push(
        older.map(({ labels, points }) => ({
          labels,
          points: points.map(({ value }) => ({ at, value })),
        })),
      );
    }
    return parts.length === 1 ? (parts[0] ?? []) : mergeCounts(parts);
  }

  async selectSamples(
    query: MilliRange & { readonly matchers: readonly Matcher[] },
    signal: AbortSignal,
  ): Promise<readonly SampleSeries[]> {
    const window = this.#samples.get(sampleKey(query.matchers));
    if (window === undefined) {
      this.#metrics.asked.inc();
      return this.#store.selectSamples(query, signal);
    }
    const { begin } = window;
    const here = window.select({ start: Math.max(query.start, begin), end: query.end });
    if (query.start >= begin) return here;
    this.#metrics.asked.inc();
    // Times are whole milliseconds.
    const end = Math.min(query.end, Math.ceil(begin) - 1);
    if (query.start > end) return here;
    return mergeSamples(await this.#store.selectSamples({ ...query, end }, signal), here);
  }
}

/** One need for each selection: the longest lookback, and rows where anybody reads them. */
function mergeNeeds<T extends { readonly lookback: number; readonly rows?: boolean }>(
  needs: readonly T[],
  keyOf: (need: T) => string,
): T[] {
  const merged = new Map<string, T>();
  for (const need of needs) {
    const key = keyOf(need);
    const other = merged.get(key);
    merged.set(
      key,
      other === undefined
        ? need
        : {
            ...need,
            lookback: Math.max(need.lookback, other.lookback),
            ...(need.rows === undefined ? {} : { rows: need.rows || other.rows === true }),
          },
    );
  }
  return [...merged.values()];
}
