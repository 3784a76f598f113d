import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestServer, type TestServer } from './testing/server.ts';

/** Whatever is sent: a refusal that says why, never a 5xx, and never a server that is gone. */

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ config: { query: { max_lines: 100, max_series: 20 } } });
  const now = BigInt(server.clock.now()) * 1_000_000n;
  server.store.rows = Array.from({ length: 20 }, (_, index) => ({
    timestamp: now - BigInt(index) * 1_000_000_000n,
    labels: { service: index % 2 === 0 ? 'web' : 'db' },
    line: `level=info n=${index}`,
    id: `${index}`,
  }));
  server.store.samples = Array.from({ length: 20 }, (_, index) => ({
    labels: { __name__: 'up', job: `j${index % 3}` },
    timestamp: server.clock.now() - index * 1000,
    value: index,
  }));
});
afterAll(() => server.api.stop());

const seed =
  (process.env['FUZZ_SEED'] ?? '') === '' ? {} : { seed: Number(process.env['FUZZ_SEED']) };

const PATHS = [
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
  '/api/status',
];

const NAMES = [
  'start',
  'end',
  'since',
  'time',
  'step',
  'interval',
  'limit',
  'direction',
  'timeout',
  'match[]',
  'match',
  'until',
  'case',
  'service',
];

const times = fc.oneof(
  fc.constantFrom(
    '1767225600',
    '1767225000.5',
    '2026-01-01T00:00:00Z',
    '1767225600000000000',
    '0',
    '-1',
    '1e10',
    '1h',
    '15',
    '0.1',
    'NaN',
    '99999999999999999999',
  ),
  fc.double().map(String),
  fc.bigInt().map(String),
  fc.string(),
);

const queries = fc.oneof(
  fc.constantFrom(
    '{service="web"}',
    'up',
    'rate(up[1m])',
    'vector(1)+vector(1)',
    'rate({service=~".+"} | logfmt | n > 3 [1m])',
    'up[5m]',
    '1',
    '"x"',
    '{}',
    '{service="web"} |~ "("',
    'topk(2, up)',
  ),
  fc.string({
    unit: fc.constantFrom(
      ...'{}()[]|=~!"`\\,+-*/%^<>0123456789abmsh_:. \n'.split(''),
      'up',
      'service',
      'rate',
      'sum by',
      'offset',
      '@',
      'and',
      'bool',
    ),
  }),
  fc.string({ unit: 'binary' }),
);

const parameters = fc.record({
  path: fc.constantFrom(...PATHS),
  query: fc.option(queries, { nil: undefined }),
  others: fc.dictionary(fc.constantFrom(...NAMES), fc.oneof(times, queries), { maxKeys: 4 }),
  post: fc.boolean(),
});

it('queries', async () => {
  await fc.assert(
    fc.asyncProperty(parameters, async ({ path, query, others, post }) => {
      const text = new URLSearchParams(others);
      if (query !== undefined) text.set('query', query.toWellFormed());
      const response = await server.get(
        post ? path : `${path}?${text.toString()}`,
        post ? { method: 'POST', body: text } : undefined,
      );
      const body = await response.text();
      expect({ status: response.status < 500, body }).toEqual({
        status: true,
        body: expect.stringMatching(/./),
      });
    }),
    { numRuns: 400, ...seed },
  );
});

it('paths and methods', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'),
      fc.oneof(
        fc.webPath(),
        fc
          .string()
          .map((text) => `/loki/api/v1/label/${encodeURIComponent(text.toWellFormed())}/values`),
        fc
          .string()
          .map((text) => `/api/v1/label/${encodeURIComponent(text.toWellFormed())}/values`),
        fc.constantFrom(...PATHS, '/loki/api/v1/push', '/healthz', '/metrics', '/openapi.json'),
      ),
      async (method, path) => {
        const response = await server.get(path, { method });
        await response.arrayBuffer();
        expect(response.status).toBeLessThan(500);
      },
    ),
    { numRuns: 200, ...seed },
  );
});

const entry = fc.oneof(
  fc.tuple(
    fc.oneof(fc.constant('1767225600000000000'), fc.string(), fc.integer()),
    fc.oneof(fc.string({ unit: 'binary' }), fc.anything()),
  ),
  fc.tuple(
    fc.constant('1767225600000000000'),
    fc.string({ unit: 'binary' }),
    fc.oneof(
      fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
      fc.jsonValue(),
    ),
  ),
  fc.jsonValue(),
);
const pushes = fc.oneof(
  fc.record({
    streams: fc.array(
      fc.record({
        stream: fc.oneof(
          fc.constant({ service: 'web' }),
          fc.dictionary(
            fc.oneof(fc.constantFrom('a', '__proto__', 'constructor'), fc.string()),
            fc.string(),
          ),
          fc.jsonValue(),
        ),
        values: fc.oneof(fc.array(entry), fc.jsonValue()),
      }),
      { maxLength: 3 },
    ),
  }),
  fc.jsonValue(),
);

it('pushes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        pushes.map((body) => JSON.stringify(body) ?? ''),
        fc.string(),
      ),
      async (body) => {
        const response = await server.get('/loki/api/v1/push', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body,
        });
        await response.arrayBuffer();
        expect(response.status).toBeLessThan(500);
      },
    ),
    { numRuns: 400, ...seed },
  );
});
