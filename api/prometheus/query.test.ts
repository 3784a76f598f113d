import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
const NOW = 1767225600;

beforeAll(async () => {
  server = await startTestServer({ config: { query: { max_series: 3, max_range: '31d' } } });
  const sample = (name: string, labels: Record<string, string>, ago: number, value: number) => ({
    labels: { __name__: name, ...labels },
    timestamp: (NOW - ago) * 1000,
    value,
  });
  server.store.samples = [
    ...[30, 20, 10, 0].map((ago) => sample('up', { job: 'a' }, ago, 1)),
    ...[30, 20, 10, 0].map((ago) => sample('up', { job: 'b' }, ago, ago === 0 ? 0 : 1)),
    ...[0, 1, 2, 3].map((index) => sample('many', { n: `${index}` }, 0, index)),
    sample('odd', { kind: 'nan' }, 0, Number.NaN),
    sample('odd', { kind: 'inf' }, 0, Number.NEGATIVE_INFINITY),
  ];
});
afterAll(() => server.api.stop());

const ask = async (path: string, params: [string, string][], post = false) => {
  const text = new URLSearchParams(params);
  const response = await server.get(
    post ? path : `${path}?${text.toString()}`,
    post ? { method: 'POST', body: text } : undefined,
  );
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  return { status: response.status, body: (await response.json()) as object };
};
const entries = (params: object) => Object.entries(params);

describe('answers', () => {
  const A = { __name__: 'up', job: 'a' };
  const B = { __name__: 'up', job: 'b' };
  it.each([
    [
      '/api/v1/query',
      { query: 'up' },
      {
        resultType: 'vector',
        result: [
          { metric: A, value: [NOW, '1'] },
          { metric: B, value: [NOW, '0'] },
        ],
      },
    ],
    [
      '/api/v1/query',
      { query: 'up == 0', time: `${NOW}.25`, timeout: '5s' },
      { resultType: 'vector', result: [{ metric: B, value: [NOW + 0.25, '0'] }] },
    ],
    [
      '/api/v1/query',
      { query: 'up', time: '2025-12-31T23:59:50Z' },
      {
        resultType: 'vector',
        result: [
          { metric: A, value: [NOW - 10, '1'] },
          { metric: B, value: [NOW - 10, '1'] },
        ],
      },
    ],
    ['/api/v1/query', { query: 'nothing' }, { resultType: 'vector', result: [] }],
    ['/api/v1/query', { query: '1e-7' }, { resultType: 'scalar', result: [NOW, '0.0000001'] }],
    ['/api/v1/query', { query: '"text"' }, { resultType: 'string', result: [NOW, 'text'] }],
    [
      '/api/v1/query',
      { query: 'up{job="a"}[15s]' },
      {
        resultType: 'matrix',
        result: [
          {
            metric: A,
            values: [
              [NOW - 10, '1'],
              [NOW, '1'],
            ],
          },
        ],
      },
    ],
    [
      '/api/v1/query',
      { query: 'odd' },
      {
        resultType: 'vector',
        result: [
          { metric: { __name__: 'odd', kind: 'inf' }, value: [NOW, '-Inf'] },
          { metric: { __name__: 'odd', kind: 'nan' }, value: [NOW, 'NaN'] },
        ],
      },
    ],
    [
      '/api/v1/query_range',
      { query: 'sum(up)', start: `${NOW - 20}`, end: `${NOW}`, step: '10' },
      {
        resultType: 'matrix',
        result: [
          {
            metric: {},
            values: [
              [NOW - 20, '2'],
              [NOW - 10, '2'],
              [NOW, '1'],
            ],
          },
        ],
      },
    ],
    [
      '/api/v1/query_range',
      { query: '7', start: `${NOW}`, end: `${NOW}`, step: '1m' },
      { resultType: 'matrix', result: [{ metric: {}, values: [[NOW, '7']] }] },
    ],
    [
      '/api/v1/query_range',
      { query: 'nothing', start: `${NOW - 60}`, end: `${NOW}`, step: '0.5' },
      { resultType: 'matrix', result: [] },
    ],
    ['/api/v1/labels', {}, ['__name__', 'job', 'kind', 'n']],
    ['/api/v1/labels', { 'match[]': 'up' }, ['__name__', 'job']],
    ['/api/v1/labels', { start: '1', end: '2' }, []],
    ['/api/v1/labels', { start: `${NOW}`, end: `${NOW}`, 'match[]': 'up' }, ['__name__', 'job']],
    ['/api/v1/series', { 'match[]': 'up{job="a"}' }, [A]],
    ['/api/v1/series', { 'match[]': 'nothing' }, []],
  ])('%s %j', async (path, params, data) => {
    for (const post of [false, true]) {
      const { status, body } = await ask(path, entries(params), post);
      expect(body).toEqual({ status: 'success', data });
      expect(status).toBe(200);
    }
  });

  it.each([
    ['/api/v1/label/job/values', ['a', 'b']],
    ['/api/v1/label/none/values', []],
  ])('%s', async (path, data) => {
    expect((await ask(path, [])).body).toEqual({ status: 'success', data });
  });

  it('several match[] are alternatives', async () => {
    const { body } = await ask('/api/v1/series', [
      ['match[]', 'up{job="b"}'],
      ['match[]', 'odd{kind="nan"}'],
    ]);
    expect(body).toEqual({
      status: 'success',
      data: [
        { __name__: 'odd', kind: 'nan' },
        { __name__: 'up', job: 'b' },
      ],
    });
  });

  it.each([
    ['/api/v1/labels', { limit: '1' }, ['__name__']],
    ['/api/v1/series', { limit: '1', 'match[]': 'up' }, [{ __name__: 'up', job: 'a' }]],
  ])('a limit that cuts is a warning: %s', async (path, params, data) => {
    expect((await ask(path, entries(params))).body).toEqual({
      status: 'success',
      data,
      warnings: ['results truncated due to limit'],
    });
  });

  it('says whose API it is', async () => {
    expect((await ask('/api/v1/status/buildinfo', [])).body).toMatchObject({
      status: 'success',
      data: { version: expect.stringMatching(/^2\./) },
    });
  });
});

describe('refusals', () => {
  const RANGE = { query: 'up', start: '1', end: '2', step: '1' };
  it.each([
    ['/api/v1/query', {}, 400, 'bad_data', 'invalid parameter "query"'],
    ['/api/v1/query', { query: 'up +' }, 400, 'bad_data', '1:5: parse error: '],
    [
      '/api/v1/query',
      { query: 'up', time: 'x' },
      400,
      'bad_data',
      'invalid parameter "time": cannot parse "x" to a valid timestamp',
    ],
    [
      '/api/v1/query',
      { query: 'up', timeout: '-1s' },
      400,
      'bad_data',
      'invalid parameter "timeout"',
    ],
    ['/api/v1/query', { query: 'up', limit: '-1' }, 400, 'bad_data', 'limit must be non-negative'],
    [
      '/api/v1/query',
      { query: 'up', lookback_delta: '1h' },
      400,
      'bad_data',
      'lookback_delta is not supported',
    ],
    ['/api/v1/query', { query: 'many' }, 422, 'execution', 'series'],
    ['/api/v1/query_range', { ...RANGE, start: '' }, 400, 'bad_data', 'invalid parameter "start"'],
    [
      '/api/v1/query_range',
      { ...RANGE, end: '0' },
      400,
      'bad_data',
      'invalid parameter "end": end timestamp must not be before start time',
    ],
    ['/api/v1/query_range', { ...RANGE, step: '' }, 400, 'bad_data', 'invalid parameter "step"'],
    [
      '/api/v1/query_range',
      { ...RANGE, step: '0' },
      400,
      'bad_data',
      'zero or negative query resolution step widths are not accepted',
    ],
    [
      '/api/v1/query_range',
      { ...RANGE, end: '11002' },
      400,
      'bad_data',
      'exceeded maximum resolution of 11,000 points per timeseries',
    ],
    [
      '/api/v1/query_range',
      { ...RANGE, end: '3000000', step: '1000' },
      422,
      'execution',
      'limit: 31d) (ask for a shorter time, or raise query.max_range)',
    ],
    ['/api/v1/query_range', { ...RANGE, query: '"a"' }, 400, 'bad_data', 'string'],
    ['/api/v1/query_range', { ...RANGE, query: '"a"', end: '1' }, 400, 'bad_data', 'string'],
    ['/api/v1/query_range', { ...RANGE, query: 'up[5m]' }, 400, 'bad_data', 'range vector'],
    [
      '/api/v1/query_range',
      { ...RANGE, query: 'up[5m]', end: '1' },
      400,
      'bad_data',
      'range vector',
    ],
    ['/api/v1/series', {}, 400, 'bad_data', 'no match[] parameter provided'],
    ['/api/v1/series', { 'match[]': 'up + 1' }, 400, 'bad_data', 'is no series selector'],
    ['/api/v1/series', { 'match[]': '{}' }, 400, 'bad_data', 'parse error'],
    ['/api/v1/series', { 'match[]': 'many' }, 422, 'execution', 'query.max_series (3)'],
    ['/api/v1/label/a-b/values', {}, 400, 'bad_data', 'invalid label name: "a-b"'],
    ['/api/v1/nothing', {}, 404, 'not_found', 'there is no GET /api/v1/nothing'],
  ])('%s %j', async (path, params, status, errorType, message) => {
    const answer = await ask(path, entries(params));
    expect(answer.body).toEqual({
      status: 'error',
      errorType,
      error: expect.stringContaining(message),
    });
    expect(answer.status).toBe(status);
  });

  it('11,000 points and the first are still answered', async () => {
    const { status } = await ask('/api/v1/query_range', entries({ ...RANGE, end: '11001' }));
    expect(status).toBe(200);
  });
});
