import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogCount, LogRow, LogSelect } from '../../core/contracts/queryable.ts';
import type { LabelSelect, Store } from '../../core/contracts/store.ts';
import { isReflexarcError } from '../../core/errors.ts';
import { compileMatchers, type Labels, labelsKey, type Matcher } from '../../core/labels.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import {
  encodeLogs,
  encodeRecords,
  encodeSamples,
  lineId,
  sourceId,
} from '../../core/records/codec.ts';
import { FIELD, type LogRecord, type Stream } from '../../core/records/log.ts';
import { isStale, type Sample, STALE_MARKER } from '../../core/records/metric.ts';
import { compileRegex } from '../../core/regex.ts';
import { formatRfc3339, nanosToMillis } from '../../core/time.ts';

/** An empty place that a store can be opened on again and again, one at a time: a restart. */
export interface StorePlace {
  open(): Promise<Store>;
  /** Every store is closed by then. */
  dispose(): Promise<void>;
}

const T0 = 1_767_323_045_000_000_000n;
const never = new AbortController().signal;
const ALL = { start: 0n, end: 2n ** 62n };

const streamOf = (labels: Labels, resource: Stream['resource'] = {}): Stream => ({
  labels,
  resource,
});
const web = streamOf(
  { service: 'web', container: 'web-1', stream: 'stdout', level: 'info' },
  {
    'service.name': 'web',
    'container.id': 'c0ffee',
    'reflexarc.start': '2026-01-02T03:00:00.000000000Z',
    'reflexarc.source': 'docker:c0ffee',
    'reflexarc.generation': '1',
  },
);
const pushed = streamOf({ service: 'api', job: 'pushed', empty: '' });

function placed(
  position: LogRecord['position'],
  line: string,
  nanos = T0,
  stream = web,
): LogRecord {
  const { 'reflexarc.source': source = '', 'reflexarc.generation': generation = '' } =
    stream.resource;
  const id = lineId(sourceId(source, generation), position ?? 0);
  return {
    timestamp: formatRfc3339(nanos),
    id,
    ...(position === undefined ? {} : { position }),
    line,
    stream,
  };
}

const free = (id: string, line: string, nanos = T0, stream = pushed): LogRecord => ({
  timestamp: formatRfc3339(nanos),
  id,
  line,
  stream,
});

async function rowsOf(store: Store, query: Partial<LogSelect> = {}): Promise<LogRow[]> {
  const rows: LogRow[] = [];
  const whole = { ...ALL, matchers: [], filters: [], direction: 'forward' as const, ...query };
  for await (const part of store.selectLogs(whole, never)) rows.push(...part);
  return rows;
}
const linesOf = async (store: Store, query: Partial<LogSelect> = {}): Promise<string[]> =>
  (await rowsOf(store, query)).map(({ line }) => line);

/** Registers the tests that every engine of the Store passes. */
export function storeConformance(name: string, make: () => Promise<StorePlace>): void {
  describe(`${name}: Store`, { timeout: 120_000 }, () => {
    describe('appending', () => {
      let place: StorePlace;
      let store: Store;
      beforeAll(async () => {
        place = await make();
        store = await place.open();
      });
      afterAll(async () => {
        await store.close();
        await place.dispose();
      });
      const reopen = async (): Promise<void> => {
        await store.close();
        store = await place.open();
      };
      const fresh = async (run: (store: Store) => Promise<void>): Promise<void> => {
        const other = await make();
        const opened = await other.open();
        try {
          await run(opened);
        } finally {
          await opened.close();
          await other.dispose();
        }
      };

      it('gives a row back whole', () =>
        fresh(async (one) => {
          await one.append('logs', [
            encodeLogs([
              placed(42, 'from a container', T0 + 1n),
              {
                ...free('p1', 'pushed', T0 + 2n),
                fields: {
                  [FIELD.metadata]: { trace_id: 'abc' },
                  [FIELD.truncated]: 7,
                  'event.kind': 'event',
                },
              },
            ]),
          ]);
          expect(await rowsOf(one)).toEqual([
            {
              timestamp: T0 + 1n,
              line: 'from a container',
              labels: web.labels,
              id: lineId(sourceId('docker:c0ffee', '1'), 42),
              origin: { id: 'c0ffee', startedAt: '2026-01-02T03:00:00.000000000Z' },
            },
            {
              timestamp: T0 + 2n,
              line: 'pushed',
              // An empty value is no label.
              labels: { service: 'api', job: 'pushed' },
              id: 'p1',
              metadata: { trace_id: 'abc', reflexarc_truncated_bytes: '7' },
            },
          ]);
        }));

      it('stores a line once, by its position, also after a restart', async () => {
        const at = { matchers: [{ name: 'service', op: '=', value: 'web' }] } as const;
        const first = encodeLogs([placed(10, 'a'), placed(20, 'b')]);
        expect(await store.append('logs', [first])).toMatchObject({ stored: 2, repeated: 0 });
        expect(await store.append('logs', [first])).toMatchObject({ stored: 0, repeated: 2 });
        await reopen();
        const more = encodeLogs([placed(10, 'a'), placed(20, 'b'), placed(30, 'c')]);
        expect(await store.append('logs', [more, more])).toMatchObject({ stored: 1, repeated: 5 });
        expect((await linesOf(store, at)).sort()).toEqual(['a', 'b', 'c']);
        // Another generation of the same source begins anew.
        const rotated = streamOf(web.labels, { ...web.resource, 'reflexarc.generation': '2' });
        await store.append('logs', [encodeLogs([placed(10, 'd', T0, rotated)])]);
        expect((await linesOf(store, at)).sort()).toEqual(['a', 'b', 'c', 'd']);
      });

      it('orders positions of two parts', () =>
        fresh(async (one) => {
          const at = (micros: number, counter: number, line: string): LogRecord =>
            placed([micros, counter], line);
          await one.append('logs', [encodeLogs([at(5, 0, 'a'), at(5, 1, 'b'), at(6, 0, 'c')])]);
          const again = [at(5, 1, 'b'), at(6, 0, 'c'), at(6, 1, 'd')];
          expect(await one.append('logs', [encodeLogs(again)])).toMatchObject({
            stored: 1,
            repeated: 2,
          });
          const ids = (await rowsOf(one)).map(({ id }) => id);
          expect(ids).toContain(lineId(sourceId('docker:c0ffee', '1'), [6, 1]));
        }));

      it('stores a pushed line once, by its id, also after a restart', async () => {
        const at = { matchers: [{ name: 'job', op: '=', value: 'pushed' }] } as const;
        const one = encodeLogs([free('i1', 'x'), free('i2', 'x', T0 + 5n), free('i1', 'x')]);
        expect(await store.append('logs', [one])).toMatchObject({ stored: 2, repeated: 1 });
        await reopen();
        expect(await store.append('logs', [one, encodeLogs([free('i3', 'y')])])).toMatchObject({
          stored: 1,
          repeated: 3,
        });
        expect((await linesOf(store, at)).sort()).toEqual(['x', 'x', 'y']);
      });

      it('gives back what can never be stored, and stores the rest', () =>
        fresh(async (one) => {
          const good = encodeLogs([free('g1', 'good')]);
          const late = '{"@timestamp":"9999-01-01T00:00:00Z","message":"too late"}';
          const mixed = Buffer.concat([
            Buffer.from('no json\n'),
            good,
            Buffer.from(`{"message":"no time"}\n${late}\n`),
          ]);
          const result = await one.append('logs', [good, mixed]);
          expect(result).toMatchObject({ stored: 1, repeated: 1 });
          const original = result.rejected.map(({ value, line, original: bytes }) => [
            value,
            line,
            Buffer.from(bytes).toString(),
          ]);
          expect(original).toEqual([
            [1, 0, 'no json'],
            [1, 2, '{"message":"no time"}'],
            [1, 3, late],
          ]);
          for (const { reason } of result.rejected) expect(reason).not.toBe('');
          for (const topic of ['metrics', 'alerts', 'actions'] as const) {
            const refused = await one.append(topic, [Buffer.from('[]\n{"id":"x"}\n')]);
            expect(refused).toMatchObject({ stored: 0, repeated: 0 });
            expect(refused.rejected).toHaveLength(2);
          }
          expect(await linesOf(one)).toEqual(['good']);
        }));

      it('takes a document of another shipper', () =>
        fresh(async (one) => {
          await one.append('logs', [
            Buffer.from(
              '{"@timestamp":"2026-01-02T03:04:05Z","message":"hi","service":{"name":"shop"},"x":1}',
            ),
          ]);
          expect(await rowsOf(one)).toMatchObject([{ line: 'hi', labels: { service: 'shop' } }]);
        }));

      it('keeps the position that was committed with the rows, or none', async () => {
        const commit = { group: 'g', topic: 'logs', partition: 3, next: 17 } as const;
        await store.append('logs', [encodeLogs([free('c1', 'c')])], commit);
        await store.append('logs', [], { ...commit, next: 18 });
        await reopen();
        expect([18, undefined]).toContain(await store.position('g', 'logs', 3));
        expect(await store.position('g', 'logs', 4)).toBeUndefined();
        expect(await store.position('other', 'logs', 3)).toBeUndefined();
      });

      it('keeps the first sample of a series and time, and late ones', () =>
        fresh(async (one) => {
          const at = (timestamp: number, value: number): Sample => ({
            labels: { __name__: 'up', job: 'a' },
            timestamp,
            value,
          });
          await one.append('metrics', [encodeSamples([at(2000, 1), at(3000, 2)])]);
          const again = [at(3000, 9), at(1000, 3), at(1000, 4), at(4000, 5)];
          expect(await one.append('metrics', [encodeSamples(again)])).toMatchObject({
            stored: 2,
            repeated: 2,
          });
          const [series] = await one.selectSamples({ start: 0, end: 9000, matchers: [] }, never);
          expect(series?.labels).toEqual({ __name__: 'up', job: 'a' });
          expect([...(series?.timestamps ?? [])]).toEqual([1000, 2000, 3000, 4000]);
          expect([...(series?.values ?? [])]).toEqual([3, 1, 2, 5]);
        }));

      it('keeps every value that a sample can have', () =>
        fresh(async (one) => {
          const values = [
            0,
            -1.5,
            Number.NaN,
            Number.POSITIVE_INFINITY,
            Number.NEGATIVE_INFINITY,
            STALE_MARKER,
            5e-324,
            Number.MAX_VALUE,
          ];
          const samples = values.map((value, index) => ({
            labels: { __name__: 'm' },
            timestamp: 1000 + index,
            value,
          }));
          await one.append('metrics', [encodeSamples(samples)]);
          const [series] = await one.selectSamples({ start: 0, end: 9000, matchers: [] }, never);
          expect([...(series?.values ?? [])]).toEqual(values);
          expect([...(series?.values ?? [])].map(isStale)).toEqual(values.map(isStale));
          expect(
            await one.selectSamples({ start: 1001, end: 1002, matchers: [] }, never),
          ).toMatchObject([{ timestamps: { length: 2 } }]);
        }));

      it('stops when the signal fires', () =>
        fresh(async (one) => {
          const many = Array.from({ length: 30_000 }, (_, i) =>
            free(`m${i}`, `${i}`, T0 + BigInt(i)),
          );
          await one.append('logs', [encodeLogs(many)]);
          const controller = new AbortController();
          let rows = 0;
          try {
            const query = { ...ALL, matchers: [], filters: [], direction: 'forward' } as const;
            for await (const part of one.selectLogs(query, controller.signal)) {
              rows += part.length;
              controller.abort();
            }
          } catch (error) {
            expect(isReflexarcError(error, 'cancelled')).toBe(true);
          }
          expect(rows).toBeLessThan(30_000);
          const fired = AbortSignal.abort();
          await expect(
            one.selectSamples({ start: 0, end: 1, matchers: [] }, fired),
          ).rejects.toMatchObject({ code: 'cancelled' });
        }));

      it('refuses a pattern that is no RE2', async () => {
        const bad = [{ op: '|~', value: '(' }] as const;
        await expect(rowsOf(store, { filters: bad })).rejects.toMatchObject({ code: 'bad_query' });
      });

      it('keeps alerts and actions, newest first', () =>
        fresh(async (one) => {
          const alerts = [1, 2, 3].map((n) =>
            alert(`a${n}`, T0 / 1_000_000n + BigInt(n), `f${n % 2}`),
          );
          const actions = [1, 2, 3, 4].map((n) =>
            action(`x${n}`, T0 / 1_000_000n + BigInt(n), `case${n % 2}`),
          );
          await one.append('alerts', [encodeRecords(alerts)]);
          await one.append('actions', [encodeRecords(actions)]);
          expect(await one.append('alerts', [encodeRecords(alerts)])).toMatchObject({
            stored: 0,
            repeated: 3,
          });
          const at = Number(T0 / 1_000_000n);
          const range = { start: at, end: at + 10, limit: 10 };
          expect(await one.alerts(range, never)).toEqual([...alerts].reverse());
          expect(await one.alerts({ ...range, limit: 1 }, never)).toEqual([alerts[2]]);
          expect(await one.alerts({ ...range, end: at + 2 }, never)).toEqual([
            alerts[1],
            alerts[0],
          ]);
          expect(await one.alerts({ ...range, fingerprint: 'f0' }, never)).toEqual([alerts[1]]);
          expect(await one.alerts({ ...range, service: 'nobody' }, never)).toEqual([]);
          expect(await one.actions({ ...range, case: 'case1' }, never)).toEqual([
            actions[2],
            actions[0],
          ]);
          expect(await one.actions({ ...range, service: 'web' }, never)).toHaveLength(4);
        }));
    });

    describe('a model in memory', () => {
      let place: StorePlace;
      let store: Store;
      const data = makeData();
      beforeAll(async () => {
        place = await make();
        store = await place.open();
        for (const batch of data.batches)
          await store.append(
            'logs',
            batch.map((part) => encodeLogs(part)),
          );
        for (const batch of data.sampleBatches)
          await store.append('metrics', [encodeSamples(batch)]);
        // Some of it again, and some after a restart.
        await store.close();
        store = await place.open();
        for (const batch of data.batches.slice(3, 6))
          await store.append(
            'logs',
            batch.map((part) => encodeLogs(part)),
          );
      });
      afterAll(async () => {
        await store.close();
        await place.dispose();
      });

      it('has what the model has', async () => {
        expect(await store.stats()).toMatchObject({
          logs: data.rows.length,
          samples: data.samples.length,
        });
      });

      it('selects lines alike', async () => {
        await fc.assert(
          fc.asyncProperty(selectArb, async (query) => {
            const test = compileMatchers(query.matchers);
            const passes = filterOf(query.filters);
            const expected = data.rows.filter(
              (row) =>
                row.timestamp >= query.start &&
                row.timestamp < query.end &&
                test(row.labels) &&
                passes(row.line),
            );
            const { limit, ...unlimited } = query;
            const whole = await rowsOf(store, unlimited);
            expect(whole.map(describeRow).sort()).toEqual(expected.map(describeRow).sort());
            const sign = query.direction === 'forward' ? 1n : -1n;
            for (let i = 1; i < whole.length; i++) {
              expect((whole[i]!.timestamp - whole[i - 1]!.timestamp) * sign >= 0n).toBe(true);
            }
            expect(await rowsOf(store, { ...unlimited, limit })).toEqual(whole.slice(0, limit));
          }),
          { numRuns: 300 },
        );
      });

      it('counts lines alike', async () => {
        await fc.assert(
          fc.asyncProperty(countArb, async (query) => {
            const found = await store.countLogs(query, never);
            const actual = found.map(({ labels, points }) => [
              labelsKey(labels),
              points.map(({ at, value }) => [at, value]),
            ]);
            expect(actual.sort(byFirst)).toEqual(naiveCount(data.rows, query).sort(byFirst));
          }),
          { numRuns: 300 },
        );
      });

      it('selects samples alike', async () => {
        await fc.assert(
          fc.asyncProperty(sampleArb, async (query) => {
            const found = await store.selectSamples(query, never);
            const actual = found.map(({ labels, timestamps, values }) => [
              labelsKey(labels),
              [...timestamps].map((timestamp, index) => [timestamp, values[index]]),
            ]);
            const test = compileMatchers(query.matchers);
            const expected = new Map<string, [number, number][]>();
            for (const { labels, timestamp, value } of data.samples) {
              if (!test(labels) || timestamp < query.start || timestamp > query.end) continue;
              const key = labelsKey(labels);
              expected.set(key, [...(expected.get(key) ?? []), [timestamp, value]]);
            }
            for (const points of expected.values()) points.sort(([a], [b]) => a - b);
            expect(actual.sort(byFirst)).toEqual([...expected].sort(byFirst));
          }),
          { numRuns: 150 },
        );
      });

      it('names labels, values and series alike', async () => {
        await fc.assert(
          fc.asyncProperty(labelArb, async (query) => {
            const tests = query.matchers.map(compileMatchers);
            const sets = new Map<string, Labels>();
            const see = (labels: Labels): void => {
              if (tests.length > 0 && !tests.some((test) => test(labels))) return;
              sets.set(labelsKey(labels), labels);
            };
            const { start, end } = query.range;
            if (query.of === 'logs') {
              for (const row of data.rows) {
                if (row.timestamp >= start && row.timestamp < end) see(row.labels);
              }
            } else {
              for (const { timestamp, labels } of data.samples) {
                const [from, to] = [start, end].map((nanos) => Math.round(nanosToMillis(nanos)));
                if (timestamp >= from! && timestamp <= to!) see(labels);
              }
            }
            const found = await store.series(query, never);
            expect(found.map(labelsKey).sort()).toEqual([...sets.keys()].sort());
            const names = new Set([...sets.values()].flatMap((labels) => Object.keys(labels)));
            expect(await store.labelNames(query, never)).toEqual([...names].sort());
            const values = new Set([...sets.values()].flatMap(({ service }) => service ?? []));
            expect(await store.labelValues('service', query, never)).toEqual([...values].sort());
          }),
          { numRuns: 150 },
        );
      });
    });
  });
}

const byFirst = (a: readonly unknown[], b: readonly unknown[]): number =>
  String(a[0]) < String(b[0]) ? -1 : 1;

const describeRow = ({ timestamp, line, labels, id }: LogRow): string =>
  JSON.stringify([String(timestamp), line, labelsKey(labels), id]);

function filterOf(filters: LogSelect['filters']): (line: string) => boolean {
  const tests = filters.map(({ op, value: given }) => {
    // A lone surrogate has no UTF-8; it is stored and searched for as U+FFFD.
    const value = given.toWellFormed();
    const regex = op === '|~' || op === '!~' ? compileRegex(value) : undefined;
    const has = (line: string): boolean => regex?.test(line) ?? line.includes(value);
    return op === '|=' || op === '|~' ? has : (line: string) => !has(line);
  });
  return (line) => tests.every((test) => test(line));
}

function naiveCount(rows: readonly LogRow[], query: LogCount): [string, [bigint, number][]][] {
  const test = compileMatchers(query.matchers);
  const passes = filterOf(query.filters);
  const found = new Map<string, [bigint, number][]>();
  const wanted = rows.filter((row) => test(row.labels) && passes(row.line));
  for (let at = query.start; at <= query.end; at += query.step) {
    const sums = new Map<string, number>();
    for (const { timestamp, labels, line } of wanted) {
      if (timestamp <= at - query.window || timestamp > at) continue;
      const kept =
        query.by === undefined
          ? labels
          : Object.fromEntries(Object.entries(labels).filter(([name]) => query.by?.includes(name)));
      const key = labelsKey(kept);
      const value = query.measure === 'lines' ? 1 : Buffer.byteLength(line);
      sums.set(key, (sums.get(key) ?? 0) + value);
    }
    for (const [key, value] of sums) found.set(key, [...(found.get(key) ?? []), [at, value]]);
  }
  return [...found];
}

// A small world, so that queries meet something: few words, few times with many ties.
const WORDS = [
  'GET /api/users 200',
  'error: connection refused',
  'ERROR timeout after 30s',
  'panic: runtime error\n  at main.go:17',
  'naïve café ☕ 日本語',
  'quote \' double " back \\ percent % under _',
  'nul \u0000 inside',
  'lone \ud800 surrogate',
  '\u001b[31mred\u001b[0m',
  '$1 ?; DROP TABLE logs --',
  '',
  ' ',
  'x'.repeat(5000),
  'aab abc a\nc',
  '[a-z]* (.+)',
];
const word = fc.constantFrom(...WORDS);
const lineArb = fc.oneof(
  word,
  fc.tuple(word, word).map(([a, b]) => `${a}${b}`),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const SPAN = 1_000_000;
const timeArb = fc.oneof(
  fc.integer({ min: 0, max: 20 }).map((n) => T0 + BigInt(n * (SPAN / 20))),
  fc.integer({ min: 0, max: SPAN }).map((n) => T0 + BigInt(n)),
);
const SERVICES = ['web', 'api', 'db-1', 'ünï'];
const STREAMS: Stream[] = SERVICES.flatMap((service, index) => [
  streamOf(
    { service, level: 'info' },
    { 'reflexarc.source': `s${index}`, 'reflexarc.generation': '1', 'container.id': `c${index}` },
  ),
  streamOf(
    { service, level: 'error', host: `h${index % 2}` },
    { 'reflexarc.source': `s${index}`, 'reflexarc.generation': '1', 'container.id': `c${index}` },
  ),
  streamOf({ service, job: 'push' }),
]);
const matcherArb: fc.Arbitrary<Matcher> = fc.oneof(
  fc.record({
    name: fc.constantFrom('service', 'level', 'host', 'absent'),
    op: fc.constantFrom('=' as const, '!=' as const),
    value: fc.constantFrom(...SERVICES, 'info', 'h0', ''),
  }),
  fc.record({
    name: fc.constantFrom('service', 'level', 'job'),
    op: fc.constantFrom('=~' as const, '!~' as const),
    value: fc.constantFrom('web|api', 'd.*', '.+', '.*', 'inf', '', '(?i)WEB'),
  }),
);
const filterArb = fc.oneof(
  fc.record({
    op: fc.constantFrom('|=' as const, '!=' as const),
    value: fc.oneof(
      fc
        .tuple(word, fc.nat(10), fc.nat(8))
        .map(([text, from, length]) => text.slice(from, from + length)),
      fc.constantFrom('e', '%', '_', "'", '\\', '\u0000', '\ud800', '日', '$1', ''),
    ),
  }),
  fc.record({
    op: fc.constantFrom('|~' as const, '!~' as const),
    value: fc.constantFrom(
      'a.c',
      '^GET',
      '\\d+s$',
      '(?i)error',
      'users|timeout',
      '[^a-z ]',
      'é.*☕',
      '\\berror\\b',
      '^$',
      '.*',
      '\\x00',
      'a{2,3}',
      // Not \pL: engines have letters of different Unicode versions.
      '[[:upper:]]{4}',
      '(?s)a.c',
      '(?m)^  at',
      '',
      "'",
      '(x+x+)+y',
    ),
  }),
);
const rangeArb = fc
  .tuple(
    fc.oneof(timeArb, fc.constantFrom(0n, T0, -(2n ** 70n))),
    fc.oneof(timeArb, fc.constantFrom(2n ** 62n, T0 + BigInt(SPAN), 2n ** 70n)),
  )
  .map(([start, end]) => ({ start, end }));
const matchersArb = fc.array(matcherArb, { maxLength: 2 });
const selectArb = fc
  .record({
    range: rangeArb,
    matchers: matchersArb,
    filters: fc.array(filterArb, { maxLength: 3 }),
    direction: fc.constantFrom('forward' as const, 'backward' as const),
    limit: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.constant(10_000)),
  })
  .map(({ range, ...rest }) => ({ ...range, ...rest }));
const countArb: fc.Arbitrary<LogCount> = fc
  .record({
    matchers: matchersArb,
    filters: fc.array(filterArb, { maxLength: 1 }),
    start: fc.integer({ min: -SPAN, max: SPAN }).map((n) => T0 + BigInt(n)),
    length: fc.integer({ min: 0, max: 2 * SPAN }),
    step: fc.integer({ min: SPAN / 50, max: SPAN }).map(BigInt),
    window: fc.integer({ min: 1, max: SPAN }).map(BigInt),
    measure: fc.constantFrom('lines' as const, 'bytes' as const),
    by: fc.constantFrom(undefined, [], ['service'], ['level', 'absent']),
  })
  .map(({ length, by, ...rest }) => ({
    ...rest,
    // Windows side by side are what is asked for most.
    window: length % 3 === 0 ? rest.step : rest.window,
    end: rest.start + BigInt(length),
    ...(by === undefined ? {} : { by }),
  }));
const M0 = Number(T0 / 1_000_000n);
const milliArb = fc.integer({ min: -10, max: 300 }).map((n) => M0 + n * 10);
const sampleArb = fc.record({
  start: milliArb,
  end: milliArb,
  matchers: fc.array(
    fc.oneof(
      matcherArb,
      fc.record({
        name: fc.constant('__name__'),
        op: fc.constantFrom('=' as const, '=~' as const),
        value: fc.constantFrom('up', 'cpu', 'c.*'),
      }),
    ),
    { maxLength: 2 },
  ),
});
const labelArb: fc.Arbitrary<LabelSelect> = fc.record({
  of: fc.constantFrom('logs' as const, 'metrics' as const),
  range: fc.oneof(
    rangeArb,
    fc.tuple(milliArb, milliArb).map(([a, b]) => ({
      start: BigInt(a) * 1_000_000n,
      end: BigInt(b) * 1_000_000n,
    })),
  ),
  matchers: fc.array(matchersArb, { maxLength: 2 }),
});

/** The same at every run, so that a failing query can be looked at again. */
function makeData() {
  const options = { seed: 42, numRuns: 700 };
  const rows: LogRow[] = [];
  const records: LogRecord[] = [];
  const positions = new Map<string, number>();
  const given = fc.sample(
    fc.record({ line: lineArb, time: timeArb, stream: fc.nat(STREAMS.length - 1) }),
    options,
  );
  for (const [index, { line, time, stream: at }] of given.entries()) {
    const stream = STREAMS[at]!;
    const source = stream.resource['reflexarc.source'];
    let record: LogRecord;
    if (source === undefined) record = free(`free-${index}`, line, time, stream);
    else {
      const position = (positions.get(source) ?? 0) + 1 + line.length;
      positions.set(source, position);
      record = placed(position, line, time, stream);
    }
    records.push(record);
    const id = stream.resource['container.id'];
    rows.push({
      timestamp: time,
      // JSON carries a lone surrogate; UTF-8 and so the store does not.
      line: line.toWellFormed(),
      labels: stream.labels,
      id: record.id,
      ...(id === undefined ? {} : { origin: { id } }),
    });
  }
  const batches: LogRecord[][][] = [];
  for (let from = 0; from < records.length; from += 70) {
    batches.push([records.slice(from, from + 40), records.slice(from + 40, from + 70)]);
  }
  const sampled = fc.sample(
    fc.record({
      name: fc.constantFrom('up', 'cpu', 'mem'),
      service: fc.constantFrom(...SERVICES),
      at: fc.nat(290),
      value: fc.double({ noNaN: true }),
    }),
    options,
  );
  const seen = new Set<string>();
  const samples: Sample[] = [];
  const sampleBatches: Sample[][] = [];
  for (const [index, { name, service, at, value }] of sampled.entries()) {
    const sample: Sample = {
      labels: { __name__: name, service },
      timestamp: M0 + at * 10,
      // JSON has one zero.
      value: value + 0 === 0 ? 0 : value,
    };
    if (index % 50 === 0) sampleBatches.push([]);
    sampleBatches.at(-1)!.push(sample);
    const key = `${name} ${service} ${at}`;
    if (!seen.has(key)) samples.push(sample);
    seen.add(key);
  }
  return { rows, batches, samples, sampleBatches };
}

function alert(id: string, timestamp: bigint, fingerprint: string): AlertRecord {
  return {
    id,
    timestamp: Number(timestamp),
    fingerprint,
    state: 'firing',
    cause: 'transition',
    labels: { alertname: 'Down', service: 'web' },
    annotations: { summary: 'ünï "quoted"' },
    activeAt: 1,
    value: Number.NaN,
    rule: { file: 'r.yaml', group: 'g', name: 'Down', kind: 'logql', expr: 'x', for: 0 },
    evidence: [],
    silencedBy: [],
    inhibitedBy: [],
  };
}

function action(id: string, timestamp: bigint, kase: string): ActionRecord {
  return {
    id,
    timestamp: Number(timestamp),
    case: kase,
    phase: 'verified',
    message: 'web is healthy',
    remediation: 'restart',
    alert: { fingerprint: 'f', name: 'Down', labels: { alertname: 'Down' } },
    target: { runtime: 'docker', service: 'web' },
    dryRun: false,
  };
}
