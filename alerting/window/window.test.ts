import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { BusReader, Handler } from '../../core/contracts/bus.ts';
import type {
  CountSeries,
  LogCount,
  LogRow,
  LogSelect,
  MilliRange,
  SampleSeries,
} from '../../core/contracts/queryable.ts';
import { type Labels, labelsKey } from '../../core/labels.ts';
import { encodeLogs, encodeSamples } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { Sample } from '../../core/records/metric.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { formatRfc3339, type Nanos } from '../../core/time.ts';
import { project } from './logs.ts';
import { type Needs, type News, Window, windowMetrics } from './window.ts';

const NOW = Date.UTC(2026, 0, 1);
const nanos = (ms: number): Nanos => BigInt(NOW + ms) * 1_000_000n;

/** Everything that ever passed, asked naively: what a window and a store must say together. */
class Naive {
  readonly rows: LogRow[] = [];
  readonly samples: Sample[] = [];

  select(query: Omit<LogSelect, 'matchers' | 'filters'>): LogRow[] {
    const sign = query.direction === 'forward' ? 1 : -1;
    return this.rows
      .filter(({ timestamp }) => timestamp >= query.start && timestamp < query.end)
      .sort((a, b) => sign * (Number(a.timestamp - b.timestamp) || (a.id < b.id ? -1 : 1)))
      .slice(0, query.limit);
  }

  count(query: Omit<LogCount, 'matchers' | 'filters'>): CountSeries[] {
    const series = new Map<string, { labels: Labels; points: Map<Nanos, number> }>();
    for (const { labels, timestamp, line } of this.rows) {
      const kept = query.by === undefined ? labels : project(labels, query.by);
      for (let at = query.start; at <= query.end; at += query.step) {
        if (timestamp <= at - query.window || timestamp > at) continue;
        const one = series.get(labelsKey(kept)) ?? { labels: kept, points: new Map() };
        series.set(labelsKey(kept), one);
        const value = query.measure === 'bytes' ? Buffer.byteLength(line) : 1;
        one.points.set(at, (one.points.get(at) ?? 0) + value);
      }
    }
    return [...series.values()].map(({ labels, points }) => ({
      labels,
      points: [...points].sort((a, b) => Number(a[0] - b[0])).map(([at, value]) => ({ at, value })),
    }));
  }

  series({ start, end }: MilliRange): SampleSeries[] {
    const found = new Map<string, { labels: Labels; points: [number, number][] }>();
    for (const { labels, timestamp, value } of this.samples) {
      if (timestamp < start || timestamp > end) continue;
      const one = found.get(labelsKey(labels)) ?? { labels, points: [] };
      found.set(labelsKey(labels), one);
      one.points.push([timestamp, value]);
    }
    return [...found.values()].map(({ labels, points }) => {
      points.sort(([a], [b]) => a - b);
      return {
        labels,
        timestamps: Float64Array.from(points, ([time]) => time),
        values: Float64Array.from(points, ([, value]) => value),
      };
    });
  }
}

function makeWindow(needs: Needs, naive: Naive, options = { maxBytes: 1e9, maxReplay: 3_600_000 }) {
  const clock = new ManualClock(NOW);
  const telemetry = { clock, log: pino({ level: 'silent' }), metrics: new Registry() };
  let asked = 0;
  const handlers = new Map<string, Handler>();
  const bus: BusReader = {
    subscribe(topic, _, handler) {
      handlers.set(topic, handler);
      return Promise.resolve({
        lag: () => Promise.resolve(0),
        caughtUp: () => Promise.resolve(),
        close: () => Promise.resolve(),
      });
    },
  };
  const window = new Window(
    {
      telemetry,
      metrics: windowMetrics(telemetry),
      options,
      store: {
        async *selectLogs(query) {
          asked++;
          yield naive.select(query);
        },
        countLogs(query) {
          asked++;
          return Promise.resolve(naive.count(query));
        },
        selectSamples(query) {
          asked++;
          return Promise.resolve(naive.series(query));
        },
      },
    },
    needs,
  );
  let offset = 0;
  const deliver = async (topic: 'logs' | 'metrics', value: Uint8Array): Promise<void> => {
    await handlers.get(topic)?.({
      topic,
      partition: 0,
      messages: [{ key: 'k', value, offset: offset++, timestamp: NOW }],
      end: offset,
      signal: new AbortController().signal,
      heartbeat: () => Promise.resolve(),
    });
  };
  return { window, bus, deliver, clock, asked: () => asked };
}

const matchers = [{ name: 'a', op: '=' as const, value: 'x' }];
const needs = (rows: boolean): Needs => ({
  logs: [{ matchers, filters: [], rows, lookback: 60_000 }],
  samples: [{ matchers, lookback: 60_000 }],
});
const signal = new AbortController().signal;

/** Sorted as labels are, and without the order of equal times. */
const comparable = (series: readonly { labels: Labels }[]): unknown =>
  [...series].sort((a, b) => (labelsKey(a.labels) < labelsKey(b.labels) ? -1 : 1));

const arrivals = fc.array(
  fc.record({
    ms: fc.integer({ min: -200_000, max: 0 }),
    stream: fc.nat(2),
    length: fc.nat(5),
  }),
  { maxLength: 60 },
);

const recordsOf = (given: { ms: number; stream: number; length: number }[]): LogRecord[] =>
  given.map(({ ms, stream, length }, index) => ({
    timestamp: formatRfc3339(nanos(ms)),
    id: `id${String(index).padStart(3, '0')}`,
    line: 'ö'.repeat(length),
    stream: { labels: { a: 'x', n: String(stream) }, resource: {} },
  }));

describe('window and store together', () => {
  // The memory holds what it may: all, some, or next to nothing of what the queries need.
  it.each([1e9, 4000, 300])(
    'answer as if all were in one place, with %i bytes',
    async (maxBytes) => {
      await fc.assert(
        fc.asyncProperty(
          arrivals,
          fc.boolean(),
          fc.constantFrom(1, 500, 30_000, 90_000),
          fc.constantFrom(undefined, [], ['n']),
          fc.constantFrom('lines' as const, 'bytes' as const),
          fc.constantFrom(undefined, 3, 1000),
          async (given, rows, span, by, measure, limit) => {
            const naive = new Naive();
            const set = makeWindow(needs(rows), naive, { maxBytes, maxReplay: 100_000 });
            await set.window.start(set.bus, () => {}, signal);
            const records = recordsOf(given);
            for (const record of records) {
              await set.deliver('logs', encodeLogs([record]));
              const { timestamp, line, id, stream } = record;
              const ms = given[records.indexOf(record)]!.ms;
              expect(formatRfc3339(nanos(ms))).toBe(timestamp);
              naive.rows.push({ timestamp: nanos(ms), line, id, labels: stream.labels });
            }
            const query = {
              start: nanos(-60_000),
              end: nanos(0),
              step: 15_000_000_000n,
              window: BigInt(span) * 1_000_000n,
              measure,
              ...(by === undefined ? {} : { by }),
            };
            const counted = await set.window.countLogs({ matchers, filters: [], ...query }, signal);
            expect(comparable(counted)).toEqual(comparable(naive.count(query)));
            for (const direction of ['forward', 'backward'] as const) {
              const select = {
                start: nanos(-span),
                end: nanos(1),
                direction,
                ...(limit === undefined ? {} : { limit }),
              };
              const found: LogRow[] = [];
              const batches = set.window.selectLogs({ matchers, filters: [], ...select }, signal);
              for await (const batch of batches) found.push(...batch);
              const times = (each: readonly LogRow[]) => each.map(({ timestamp }) => timestamp);
              expect(times(found)).toEqual(times(naive.select(select)));
            }
          },
        ),
        { numRuns: 60 },
      );
    },
  );

  it.each([1e9, 3000, 300])(
    'give samples as if all were in one place, with %i bytes',
    async (maxBytes) => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(fc.record({ ms: fc.integer({ min: -200, max: 0 }), n: fc.nat(2) }), {
            maxLength: 60,
            selector: ({ ms, n }) => `${ms} ${n}`,
          }),
          fc.nat(150),
          async (given, span) => {
            const naive = new Naive();
            const set = makeWindow(needs(true), naive, { maxBytes, maxReplay: 100_000 });
            await set.window.start(set.bus, () => {}, signal);
            for (const { ms, n } of given) {
              const sample: Sample = {
                labels: { __name__: 'm', a: 'x', n: String(n) },
                timestamp: NOW + ms * 1000,
                value: ms,
              };
              await set.deliver('metrics', encodeSamples([sample, sample]));
              naive.samples.push(sample);
            }
            const range = { start: NOW - span * 1000, end: NOW };
            const found = await set.window.selectSamples({ matchers, ...range }, signal);
            expect(comparable(found)).toEqual(comparable(naive.series(range)));
          },
        ),
        { numRuns: 60 },
      );
    },
  );
});

describe('a window', () => {
  const line = (index: number, text = 'l', position?: number): LogRecord => ({
    timestamp: formatRfc3339(nanos(0)),
    id: `id${index}`,
    line: text,
    stream: { labels: { a: 'x' }, resource: { 'reflexarc.source': 's' } },
    ...(position === undefined ? {} : { position }),
  });

  it('tells what passes once it has caught up, and asks no store for what it holds', async () => {
    const set = makeWindow(needs(true), new Naive());
    const news: News[] = [];
    await set.window.start(set.bus, (each) => news.push(each), signal);
    await set.deliver('logs', encodeLogs([line(1, 'one'), line(2, 'two')]));
    expect(news.flatMap(({ logs }) => [...logs.values()].flat().map((row) => row.line))).toEqual([
      'one',
      'two',
    ]);
    const query = { start: nanos(0), end: nanos(0), step: 1n, window: 30_000_000_000n };
    expect(
      await set.window.countLogs({ matchers, filters: [], measure: 'lines', ...query }, signal),
    ).toMatchObject([{ points: [{ value: 2 }] }]);
    expect(set.asked()).toBe(0);
  });

  it('drops what comes again, by position or by id', async () => {
    const set = makeWindow(needs(true), new Naive());
    let rows = 0;
    await set.window.start(
      set.bus,
      (news) => (rows += [...news.logs.values()].flat().length),
      signal,
    );
    const sent = encodeLogs([line(1), line(1), line(2, 'l', 5), line(3, 'l', 4), line(4, 'l', 6)]);
    await set.deliver('logs', sent);
    await set.deliver('logs', sent);
    expect(rows).toBe(3);
  });

  it('gives up what no rule can look at any more', async () => {
    const set = makeWindow(needs(true), new Naive());
    await set.window.start(set.bus, () => {}, signal);
    await set.deliver('logs', encodeLogs([line(1, 'x'.repeat(1000))]));
    expect(set.window.bytes).toBeGreaterThan(1000);
    await set.clock.advance(180_000);
    await set.deliver('logs', encodeLogs([line(2)]));
    expect(set.window.bytes).toBe(0);
  });
});
