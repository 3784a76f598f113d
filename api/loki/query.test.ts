import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
const MS = 1_000_000n;

beforeAll(async () => {
  server = await startTestServer({ config: { query: { max_lines: 50, max_range: '2d' } } });
  const { store, clock } = server;
  const row = (ago: number, service: string, line: string, metadata?: Record<string, string>) => ({
    timestamp: BigInt(clock.now() - ago) * MS,
    labels: { service, level: service === 'db' ? 'error' : 'info' },
    line,
    id: `${ago}`,
    ...(metadata === undefined ? {} : { metadata }),
  });
  store.rows = [
    row(5000, 'web', 'GET / 200'),
    row(4000, 'db', 'connection lost'),
    row(3000, 'web', 'GET /a 200', { trace_id: 't1', level: 'warn' }),
    row(2000, 'web', 'GET /b 500'),
    row(1000, 'web', 'GET /c 200'),
  ];
});
afterAll(() => server.api.stop());

const WEB = { level: 'info', service: 'web' };
const TRACED = { ...WEB, trace_id: 't1', level_extracted: 'warn' };
const BASE = '1767225595000000000';

const ask = async (path: string, params: Record<string, string>, post = false) => {
  const text = new URLSearchParams(params);
  const response = await server.get(
    post ? path : `${path}?${text.toString()}`,
    post ? { method: 'POST', body: text } : undefined,
  );
  return { status: response.status, type: response.headers.get('content-type'), response };
};

describe('GET and POST /loki/api/v1/query_range', () => {
  const cases: [
    name: string,
    params: Record<string, string>,
    resultType: string,
    result: unknown,
  ][] = [
    [
      'lines, newest first, by stream',
      { query: '{service=~".+"}' },
      'streams',
      [
        {
          stream: { level: 'error', service: 'db' },
          values: [['1767225596000000000', 'connection lost']],
        },
        { stream: TRACED, values: [['1767225597000000000', 'GET /a 200']] },
        {
          stream: WEB,
          values: [
            ['1767225599000000000', 'GET /c 200'],
            ['1767225598000000000', 'GET /b 500'],
            [BASE, 'GET / 200'],
          ],
        },
      ],
    ],
    [
      'forward, limited',
      { query: '{service="web"}', direction: 'forward', limit: '2' },
      'streams',
      [
        { stream: TRACED, values: [['1767225597000000000', 'GET /a 200']] },
        { stream: WEB, values: [[BASE, 'GET / 200']] },
      ],
    ],
    [
      'the end is exclusive, the start inclusive',
      { query: '{service="web"}', start: BASE, end: '1767225597000000000' },
      'streams',
      [{ stream: WEB, values: [[BASE, 'GET / 200']] }],
    ],
    [
      'structured metadata can be filtered on',
      { query: '{service="web"} | trace_id="t1"' },
      'streams',
      [{ stream: TRACED, values: [['1767225597000000000', 'GET /a 200']] }],
    ],
    [
      'interval: at most one line in a time',
      { query: '{service=~".+"}', interval: '2s', direction: 'forward' },
      'streams',
      [
        { stream: TRACED, values: [['1767225597000000000', 'GET /a 200']] },
        {
          stream: WEB,
          values: [
            [BASE, 'GET / 200'],
            ['1767225599000000000', 'GET /c 200'],
          ],
        },
      ],
    ],
    ['nothing is an empty array', { query: '{service="none"}' }, 'streams', []],
    [
      'metric query',
      {
        query: 'sum by (service) (count_over_time({service="web"}[2s]))',
        start: BASE,
        end: '1767225599000000000',
        step: '2',
      },
      'matrix',
      [
        {
          metric: { service: 'web' },
          values: [
            [1767225595, '1'],
            [1767225597, '1'],
            [1767225599, '2'],
          ],
        },
      ],
    ],
    ['no series is an empty array', { query: 'rate({service="none"}[1m])' }, 'matrix', []],
    [
      'a number is a series without labels',
      { query: '1 + 1', start: BASE, end: '1767225597000000000', step: '2' },
      'matrix',
      [
        {
          metric: {},
          values: [
            [1767225595, '2'],
            [1767225597, '2'],
          ],
        },
      ],
    ],
  ];
  for (const post of [false, true]) {
    it.each(cases)(`${post ? 'POST' : 'GET'}: %s`, async (_name, params, resultType, result) => {
      const { status, type, response } = await ask('/loki/api/v1/query_range', params, post);
      const body = (await response.json()) as { data: { stats: unknown } };
      expect({ status, type }).toEqual({ status: 200, type: 'application/json; charset=utf-8' });
      expect(body).toEqual({
        status: 'success',
        data: { resultType, result, stats: expect.any(Object) },
      });
    });
  }

  it('tells what it read', async () => {
    const { response } = await ask('/loki/api/v1/query_range', {
      query: '{service="web"}',
      limit: '2',
    });
    const body = (await response.json()) as { data: { stats: { summary: object } } };
    expect(body.data.stats.summary).toMatchObject({
      totalLinesProcessed: 2,
      totalBytesProcessed: 20,
      totalEntriesReturned: 2,
    });
  });
});

describe('GET and POST /loki/api/v1/query', () => {
  it.each([
    // What Grafana asks to see whether the data source is alive.
    [
      { query: 'vector(1)+vector(1)', time: '4000000000', direction: 'backward' },
      { resultType: 'vector', result: [{ metric: {}, value: [4000000000, '2'] }] },
    ],
    [{ query: '2 * 3' }, { resultType: 'scalar', result: [1767225600, '6'] }],
    [
      { query: 'sum by (level) (count_over_time({service="db"}[1m]))', time: '1767225600.5' },
      {
        resultType: 'vector',
        result: [{ metric: { level: 'error' }, value: [1767225600.5, '1'] }],
      },
    ],
    [{ query: 'sum(count_over_time({service="none"}[1m]))' }, { resultType: 'vector', result: [] }],
  ])('%j', async (params, data) => {
    for (const post of [false, true]) {
      const { response } = await ask('/loki/api/v1/query', params, post);
      expect(await response.json()).toEqual({
        status: 'success',
        data: { ...data, stats: expect.any(Object) },
      });
    }
  });
});

describe('refusals are plain text', () => {
  it.each([
    ['/loki/api/v1/query_range', { query: '{' }, 400, /^parse error at line 1, col \d+: .+\n$/],
    ['/loki/api/v1/query_range', {}, 400, /'query' is required/],
    [
      '/loki/api/v1/query_range',
      { query: '{a="b"}', limit: '51' },
      400,
      /51 > 50.*query\.max_lines/,
    ],
    [
      '/loki/api/v1/query_range',
      { query: '{a="b"}', since: '3d' },
      400,
      /query length: 3d, limit: 2d.*query\.max_range/,
    ],
    [
      '/loki/api/v1/query_range',
      { query: '{a="b"} |~ "("' },
      400,
      /parse error.*regular expression/,
    ],
    [
      '/loki/api/v1/query',
      { query: '{a="b"}' },
      400,
      /log queries are not supported as an instant query type/,
    ],
    ['/loki/api/v1/query', { query: '1', time: 'x' }, 400, /could not parse 'time' parameter/],
    ['/loki/api/v1/labels', { start: '5', end: '4' }, 400, /end timestamp must not be before/],
    ['/loki/api/v1/labels', { query: '{a="b"} |= "x"' }, 400, /only label matchers/],
    ['/loki/api/v1/series', { 'match[]': '{' }, 400, /parse error/],
    ['/loki/api/v1/nothing', {}, 404, /there is no GET \/loki\/api\/v1\/nothing/],
  ])('%s %j', async (path, params, code, text) => {
    const { status, type, response } = await ask(path, params);
    expect({ status, type }).toEqual({ status: code, type: 'text/plain; charset=utf-8' });
    expect(await response.text()).toMatch(text);
  });

  it('a form of another type is 415', async () => {
    const response = await server.get('/loki/api/v1/query', { method: 'POST', body: '{}' });
    expect(response.status).toBe(415);
    expect(await response.text()).toContain('application/x-www-form-urlencoded');
  });
});

describe('labels and series', () => {
  it.each([
    ['/loki/api/v1/labels', {}, ['level', 'service']],
    ['/loki/api/v1/label', {}, ['level', 'service']],
    ['/loki/api/v1/label/service/values', {}, ['db', 'web']],
    ['/loki/api/v1/label/service/values', { query: '{level="info"}' }, ['web']],
    ['/loki/api/v1/label/none/values', {}, []],
    ['/loki/api/v1/label/not%20a%20label/values', {}, []],
    ['/loki/api/v1/labels', { start: '1', end: '2' }, []],
    ['/loki/api/v1/series', {}, [{ level: 'error', service: 'db' }, WEB]],
    ['/loki/api/v1/series', { 'match[]': '{}' }, [{ level: 'error', service: 'db' }, WEB]],
    ['/loki/api/v1/series', { 'match[]': '{service="web"}' }, [WEB]],
    ['/loki/api/v1/series', { match: '{service="none"}' }, []],
  ])('%s %j', async (path, params, data) => {
    for (const post of [false, true]) {
      const { response } = await ask(path, params, post);
      expect(await response.json()).toEqual({ status: 'success', data });
    }
  });
});

it('says whose API it is', async () => {
  const { response } = await ask('/loki/api/v1/status/buildinfo', {});
  expect(await response.json()).toMatchObject({
    version: expect.stringMatching(/^3\./),
    revision: expect.stringMatching(/^reflexarc-/),
  });
});
