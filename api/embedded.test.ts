import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../core/clock.ts';
import type { Store } from '../core/contracts/store.ts';
import { encodeSamples } from '../core/records/codec.ts';
import type { Service } from '../core/service.ts';
import type { Embedded } from '../engines/embedded/open.ts';
import { openEmbeddedStore } from '../engines/embedded/store/open.ts';
import { makeFolder, openIn } from '../engines/embedded/testing.ts';
import { startIngest } from '../ingest/ingest.ts';
import { startTestServer, type TestServer } from './testing/server.ts';

/** The API on the embedded engines: what is pushed is tailed, ingested and found. */

let server: TestServer;
let embedded: Embedded;
let store: Store;
let ingest: Service;
let folder: Awaited<ReturnType<typeof makeFolder>>;
const clock = systemClock;

beforeAll(async () => {
  folder = await makeFolder();
  embedded = await openIn(folder.path);
  const telemetry = { log: pino({ level: 'silent' }), metrics: new Registry(), clock };
  store = await openEmbeddedStore({
    folder: join(folder.path, 'store'),
    maxSize: 1024 ** 3,
    maxAge: 7 * 86_400_000,
    memory: 128 * 1024 ** 2,
    telemetry,
  });
  ingest = await startIngest({ telemetry, bus: embedded.bus, store });
  server = await startTestServer({ clock, engines: { bus: embedded.bus, store } });
});
afterAll(async () => {
  await server.api.stop();
  await ingest.stop();
  await store.close();
  await embedded.close();
  await folder.remove();
});

const ask = async (path: string, params: Record<string, string>) => {
  const response = await server.get(`${path}?${new URLSearchParams(params).toString()}`);
  return (await response.json()) as { data: { result: unknown } };
};

/** Until the store has what the bus has. */
async function eventually<T>(read: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const value = await read();
    if (wanted(value) || attempt === 200) return value;
    await clock.sleep(25);
  }
}

it('what is pushed is tailed, stored once, found and counted', async () => {
  const tail = await server.get(
    `/api/tail?query=${encodeURIComponent('{service="shop"} |= "n=1"')}`,
  );
  const nanos = clock.nowNanos();
  const body = JSON.stringify({
    streams: [
      {
        stream: { service: 'shop', level: 'info' },
        values: [
          [`${nanos}`, 'level=info n=1', { trace_id: 't1' }],
          [`${nanos + 1n}`, 'level=info n=2 \u0000 \u2028 😀'],
        ],
      },
    ],
  });
  for (let time = 0; time < 2; time++) {
    const response = await server.get('/loki/api/v1/push', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    expect(response.status).toBe(204);
  }
  const reader = tail.body!.getReader();
  let text = '';
  while (!text.trimStart().includes('\n')) {
    text += Buffer.from((await reader.read()).value ?? []).toString();
  }
  await reader.cancel();
  expect(JSON.parse(text.trim().split('\n')[0]!)).toEqual({
    timestamp: `${nanos}`,
    labels: { service: 'shop', level: 'info', trace_id: 't1' },
    line: 'level=info n=1',
  });

  const found = await eventually(
    () => ask('/loki/api/v1/query_range', { query: '{service="shop"}' }),
    ({ data }) => (data.result as unknown[]).length === 2,
  );
  expect(found.data.result).toEqual([
    {
      stream: { level: 'info', service: 'shop', trace_id: 't1' },
      values: [[`${nanos}`, 'level=info n=1']],
    },
    {
      stream: { level: 'info', service: 'shop' },
      values: [[`${nanos + 1n}`, 'level=info n=2 \u0000 \u2028 😀']],
    },
  ]);
  const counted = await ask('/loki/api/v1/query', {
    query: 'sum by (service) (count_over_time({service="shop"}[5m]))',
  });
  expect(counted.data.result).toEqual([
    { metric: { service: 'shop' }, value: [expect.any(Number), '2'] },
  ]);
});

it('samples are found', async () => {
  const timestamp = clock.now();
  await store.append('metrics', [
    encodeSamples([{ labels: { __name__: 'up', job: 'a' }, timestamp, value: 1 }]),
  ]);
  const { data } = await ask('/api/v1/query', { query: 'up' });
  expect(data.result).toEqual([
    { metric: { __name__: 'up', job: 'a' }, value: [expect.any(Number), '1'] },
  ]);
});

const time = fc.oneof(
  fc.constantFrom(
    '0',
    '-1',
    '1e10',
    '9223372036854775807',
    '-9223372036854775807',
    '0001-01-01T00:00:00Z',
    '9e9',
  ),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n }).map(String),
  fc.integer().map(String),
);
const word = fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.toWellFormed());
const quoted = word.map((text) => JSON.stringify(text));

it('the store takes whatever times and texts a request brings', async () => {
  const queries = fc.oneof(
    fc
      .tuple(fc.constantFrom('|=', '!=', '|~', '!~'), quoted)
      .map(([op, text]) => `{service=~".+"} ${op} ${text}`),
    fc
      .tuple(fc.constantFrom('=', '!=', '=~', '!~'), quoted)
      .map(([op, text]) => `{service=~".+", level${op}${text}}`),
    quoted.map((text) => `rate({service=${text}}[5m])`),
    quoted.map((text) => `up{job=~${text}}`),
    quoted.map((text) => `{__name__=~".+", job!=${text}}`),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(
        '/loki/api/v1/query_range',
        '/loki/api/v1/query',
        '/loki/api/v1/labels',
        '/loki/api/v1/label/service/values',
        '/loki/api/v1/series',
        '/api/v1/query',
        '/api/v1/query_range',
        '/api/v1/labels',
        '/api/v1/label/job/values',
        '/api/v1/series',
        '/api/alerts',
        '/api/actions',
      ),
      queries,
      fc.dictionary(fc.constantFrom('start', 'end', 'time', 'since', 'until'), time),
      fc.dictionary(fc.constantFrom('service', 'case', 'fingerprint'), word),
      async (path, query, times, words) => {
        const own = path.startsWith('/api/a');
        const params = own
          ? { ...words, ...times }
          : { query, 'match[]': query, step: '86400', ...times };
        if (own)
          for (const name of ['start', 'end', 'time'])
            delete (params as Record<string, string>)[name];
        const response = await server.get(`${path}?${new URLSearchParams(params).toString()}`);
        const text = await response.text();
        expect({ path, fine: response.status < 500, text }).toEqual({ path, fine: true, text });
      },
    ),
    { numRuns: 300 },
  );
});
