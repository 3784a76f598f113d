import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogRow } from '../../core/contracts/queryable.ts';
import { formatLabels } from '../../core/labels.ts';
import { DEFAULT_LIMITS, type Limits } from '../limits.ts';
import type { QueryValue } from '../value.ts';
import { evaluateLogMetric, evaluateLogs } from './evaluate.ts';
import { parseLogQL } from './parse.ts';
import { MemoryLogs } from './testing.ts';

const signal = new AbortController().signal;
const S = 1_000_000_000n;

const row = (
  seconds: number,
  service: string,
  line: string,
  metadata?: LogRow['metadata'],
): LogRow => ({
  timestamp: BigInt(seconds) * S,
  line,
  labels: { service, project: 'p' },
  id: `${service}${seconds}${line}`,
  ...(metadata === undefined ? {} : { metadata }),
});

const ROWS: LogRow[] = [
  row(10, 'api', 'status=200 n=1'),
  row(20, 'api', 'status=500 n=2'),
  row(30, 'api', 'status=500 n=3'),
  row(30, 'db', 'status=200 ü'),
  row(70, 'db', ''),
  row(130, 'api', 'status=404 n=4'),
];

async function logs(
  query: string,
  options: {
    limit?: number;
    direction?: 'forward' | 'backward';
    rows?: LogRow[];
    limits?: Limits;
  } = {},
): Promise<LogRow[]> {
  const expr = parseLogQL(query);
  if (expr.kind !== 'logs') throw new Error(query);
  const { limit = 100, direction = 'forward', rows = ROWS, limits } = options;
  const found: LogRow[] = [];
  const range = { start: 0n, end: 1000n * S, limit, direction };
  for await (const batch of evaluateLogs(expr, new MemoryLogs(rows), range, signal, limits)) {
    expect(batch.length).toBeGreaterThan(0);
    found.push(...batch);
  }
  return found;
}

function metric(
  query: string,
  seconds: number | { start: number; end: number; step: number },
  options: { data?: MemoryLogs; limits?: Limits } = {},
): Promise<QueryValue> {
  const expr = parseLogQL(query);
  if (expr.kind === 'logs') throw new Error(query);
  const times = typeof seconds === 'number' ? { start: seconds, end: seconds, step: 1 } : seconds;
  const range = { start: times.start * 1000, end: times.end * 1000, step: times.step * 1000 };
  return evaluateLogMetric(
    expr,
    options.data ?? new MemoryLogs(ROWS),
    range,
    signal,
    options.limits,
  );
}

function show(value: QueryValue): string[] {
  if (value.type === 'scalar') return [`scalar ${value.value}`];
  if (value.type === 'vector') {
    return value.samples.map(({ labels, value: v }) => `${formatLabels(labels)} ${v}`);
  }
  if (value.type === 'string') return [value.value];
  return value.series.map(({ labels, timestamps, values }) => {
    const points = [...timestamps].map((at, i) => `${at / 1000}:${values[i]}`);
    return `${formatLabels(labels)} ${points.join(' ')}`;
  });
}

describe('log queries', () => {
  it.each([
    ['{service="api"}', ['status=200 n=1', 'status=500 n=2', 'status=500 n=3', 'status=404 n=4']],
    ['{service="api"} |= "500"', ['status=500 n=2', 'status=500 n=3']],
    [
      '{service="api"} | logfmt | status >= 404',
      ['status=500 n=2', 'status=500 n=3', 'status=404 n=4'],
    ],
    ['{project="p"} != "status"', ['']],
    ['{service="none"}', []],
  ])('%s', async (query, expected) =>
    expect((await logs(query)).map(({ line }) => line)).toEqual(expected),
  );

  it('the limit counts what passed', async () => {
    const query = '{service="api"} | logfmt | status >= 404';
    const lines = async (limit: number, direction: 'forward' | 'backward') =>
      (await logs(query, { limit, direction })).map(({ line }) => line);
    expect(await lines(2, 'forward')).toEqual(['status=500 n=2', 'status=500 n=3']);
    expect(await lines(2, 'backward')).toEqual(['status=404 n=4', 'status=500 n=3']);
    expect(await lines(0, 'forward')).toEqual([]);
  });

  it('labels hold what parsers found and structured metadata', async () => {
    const rows = [row(1, 'api', 'a=1', { trace_id: 'x', service: 'other' })];
    const [found] = await logs('{service="api"} | trace_id="x" | logfmt', { rows });
    expect(found?.labels).toEqual({
      service: 'api',
      project: 'p',
      trace_id: 'x',
      service_extracted: 'other',
      a: '1',
    });
    const [plain] = await logs('{service="api"}', { rows });
    expect(plain?.labels['trace_id']).toBe('x');
  });

  it('a pushable query hands its limit on', async () => {
    const data = new MemoryLogs(ROWS);
    const expr = parseLogQL('{service="api"} |= "n="');
    if (expr.kind !== 'logs') throw new Error('logs');
    const range = { start: 0n, end: 100n * S, limit: 2, direction: 'backward' as const };
    const found: LogRow[] = [];
    for await (const batch of evaluateLogs(expr, data, range, signal)) found.push(...batch);
    expect(found.length).toBe(2);
    expect(data.selects[0]).toMatchObject({ limit: 2, filters: [{ op: '|=', value: 'n=' }] });
  });

  it('stops at the limit of rows read', async () => {
    const run = logs('{project="p"} | json | x="1"', { limits: { ...DEFAULT_LIMITS, maxRows: 3 } });
    await expect(run).rejects.toMatchObject({ code: 'limit_exceeded' });
  });

  it('stops when the caller gives up', async () => {
    const controller = new AbortController();
    const expr = parseLogQL('{project="p"}');
    if (expr.kind !== 'logs') throw new Error('logs');
    const range = { start: 0n, end: 1000n * S, limit: 10, direction: 'forward' as const };
    const run = async () => {
      for await (const _ of evaluateLogs(expr, new MemoryLogs(ROWS), range, controller.signal)) {
        controller.abort();
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('metric queries', () => {
  it.each([
    ['count_over_time({service="api"}[1m])', 60, ['{project="p", service="api"} 3']],
    ['count_over_time({service="api"}[30s])', 60, []],
    ['count_over_time({service="api"}[31s])', 60, ['{project="p", service="api"} 1']],
    ['rate({service="api"}[1m])', 60, ['{project="p", service="api"} 0.05']],
    ['bytes_over_time({service="db"}[1m])', 60, ['{project="p", service="db"} 13']],
    ['bytes_over_time({service="db"}[1m])', 100, ['{project="p", service="db"} 0']],
    ['bytes_rate({service="db"}[13s])', 31, ['{project="p", service="db"} 1']],
    ['count_over_time({service="api"}[1m] offset 1m)', 120, ['{project="p", service="api"} 3']],
    ['absent_over_time({service="api", x=~"y|"}[1m])', 60, []],
    ['absent_over_time({service="none", x=~"y|"}[1m])', 60, ['{service="none"} 1']],
    ['sum(count_over_time({project="p"}[1m]))', 60, ['{} 4']],
    [
      'sum by (service) (count_over_time({project="p"}[1m]))',
      60,
      ['{service="api"} 3', '{service="db"} 1'],
    ],
    ['sum without (service) (count_over_time({project="p"}[1m]))', 60, ['{project="p"} 4']],
    [
      'sum by (status) (count_over_time({project="p"} | logfmt [1m]))',
      60,
      ['{status="200"} 2', '{status="500"} 2'],
    ],
    ['count(count_over_time({project="p"}[1m]))', 60, ['{} 2']],
    ['max(count_over_time({project="p"}[1m]))', 60, ['{} 3']],
    ['min(count_over_time({project="p"}[1m]))', 60, ['{} 1']],
    ['avg(count_over_time({project="p"}[1m]))', 60, ['{} 2']],
    ['topk(1, count_over_time({project="p"}[1m]))', 60, ['{project="p", service="api"} 3']],
    ['bottomk(1, count_over_time({project="p"}[1m]))', 60, ['{project="p", service="db"} 1']],
    ['sum(count_over_time({project="p"}[1m])) > 3', 60, ['{} 4']],
    ['sum(count_over_time({project="p"}[1m])) > 4', 60, []],
    ['sum(count_over_time({project="p"}[1m])) > bool 4', 60, ['{} 0']],
    [
      'sum(rate({service="api"} |= "500" [1m])) / sum(rate({service="api"}[1m])) > 0.5',
      60,
      ['{} 0.6666666666666666'],
    ],
    [
      'sum by (service) (count_over_time({project="p"}[1m])) and on (service) sum by (service) (count_over_time({service="db"}[1m]))',
      60,
      ['{service="db"} 1'],
    ],
    [
      'sum by (service) (count_over_time({project="p"}[1m])) unless sum by (service) (count_over_time({service="db"}[1m]))',
      60,
      ['{service="api"} 3'],
    ],
    ['sum(count_over_time({service="none"}[1m])) or vector(0)', 60, ['{} 0']],
    ['vector(1) / 0', 60, ['{} NaN']],
    ['1 + 2 * 3', 60, ['scalar 7']],
    ['1 > 2', 60, ['scalar 0']],
    ['count_over_time({service="api"} | json | __error__="" [1m])', 60, []],
  ] as const)('%s at %ds', async (query, at, expected) =>
    expect(show(await metric(query, at))).toEqual(expected),
  );

  it('a range query gives a matrix', async () => {
    const range = { start: 0, end: 180, step: 30 };
    expect(show(await metric('count_over_time({project="p"}[1m])', range))).toEqual([
      '{project="p", service="api"} 30:3 60:3 150:1 180:1',
      '{project="p", service="db"} 30:1 60:1 90:1 120:1',
    ]);
    expect(show(await metric('1 + 1', { start: 0, end: 60, step: 30 }))).toEqual([
      '{} 0:2 30:2 60:2',
    ]);
    expect(show(await metric('absent_over_time({service="api"}[30s])', range))).toEqual([
      '{service="api"} 0:1 60:1 90:1 120:1 180:1',
    ]);
  });

  it('counts where the data is, when the pipeline lets it', async () => {
    const data = new MemoryLogs(ROWS);
    await metric('sum by (service) (rate({project="p"} |= "status" [1m] offset 30s))', 120, {
      data,
    });
    expect(data.selects).toEqual([]);
    expect(data.counts).toMatchObject([
      { start: 90n * S, end: 90n * S, window: 60n * S, measure: 'lines', by: ['service'] },
    ]);
  });

  it('reading lines counts as counting does', async () => {
    const at = fc.integer({ min: 0, max: 300 });
    const some = fc.array(fc.tuple(at, fc.constantFrom('a', 'b'), fc.constantFrom('x', 'ü', '')));
    const grid = fc.record({ start: at, length: at, step: fc.integer({ min: 1, max: 90 }) });
    const window = fc.integer({ min: 1, max: 200 });
    await fc.assert(
      fc.asyncProperty(some, grid, window, async (lines, { start, length, step }, seconds) => {
        const data = new MemoryLogs(lines.map(([t, service, line]) => row(t, service, line)));
        const range = { start, end: start + length, step };
        for (const op of ['count_over_time', 'bytes_rate', 'absent_over_time']) {
          const pushed = await metric(`${op}({project="p"}[${seconds}s])`, range, { data });
          const read = await metric(`${op}({project="p"} | none="" [${seconds}s])`, range, {
            data,
          });
          expect(show(read)).toEqual(show(pushed));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("a parser's error is no silent miscount", async () => {
    await expect(metric('count_over_time({service="api"} | json [1m])', 60)).rejects.toMatchObject({
      code: 'bad_query',
      message: expect.stringContaining('JSONParserErr'),
      hint: expect.stringContaining('__error__=""'),
    });
  });

  it.each([
    ['maxRows', 'sum(count_over_time({project="p"} | logfmt [1m]))', { maxRows: 2 }],
    ['maxSeries', 'count_over_time({project="p"} | logfmt [5m])', { maxSeries: 2 }],
    ['maxPoints', 'vector(1)', { maxPoints: 10 }],
    ['maxCells', 'count_over_time({project="p"} | logfmt [5m])', { maxCells: 100 }],
  ])('stops at %s', async (name, query, limits) => {
    const run = metric(
      query,
      { start: 0, end: 300, step: 10 },
      { limits: { ...DEFAULT_LIMITS, ...limits } },
    );
    await expect(run).rejects.toMatchObject({
      code: 'limit_exceeded',
      message: expect.stringContaining(name),
    });
  });
});
