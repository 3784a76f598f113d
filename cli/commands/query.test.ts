import { createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../../api/testing/server.ts';
import { type QueryOptions, query } from './query.ts';

const TOKEN = '0123456789abcdef';
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    config: { tokens: [{ name: 'a', token: TOKEN }], query: { max_lines: 100 } },
  });
  const now = server.clock.now();
  const row = (ago: number, service: string, line: string, index = 0) => ({
    timestamp: BigInt(now - ago) * 1_000_000n,
    labels: { service },
    line,
    id: `${ago}-${index}`,
  });
  server.store.rows = [
    row(3000, 'web', 'one'),
    row(2000, 'db', 'two'),
    row(1000, 'web', 'three'),
    // More than a page of lines at the same time, some of them alike.
    ...Array.from({ length: 30 }, (_, index) => row(600_000, 'bulk', `line ${index >> 1}`, index)),
    ...Array.from({ length: 30 }, (_, index) => row(700_000 - index, 'bulk', `older ${index}`)),
  ];
  server.store.samples = [
    { labels: { __name__: 'up', job: 'a' }, timestamp: now - 60_000, value: 1 },
    { labels: { __name__: 'up', job: 'a' }, timestamp: now, value: 0 },
    { labels: { __name__: 'up' }, timestamp: now, value: Number.NaN },
  ];
});
afterAll(() => server.api.stop());

async function run(options: QueryOptions, tty = false, env: Record<string, string> = {}) {
  const stdout = Object.assign(new PassThrough(), { isTTY: tty });
  const stderr = new PassThrough();
  const code = await query({
    server: server.url,
    token: TOKEN,
    clock: server.clock,
    io: { stdout, stderr, env },
    ...options,
  });
  const text = (stream: PassThrough) => ((stream.read() as Buffer | null) ?? '').toString();
  return { code, out: text(stdout), err: text(stderr) };
}

const T = (second: string) => `2025-12-31T23:59:${second}.000000000Z`;

describe('a query of values', () => {
  it.each([
    [
      'LogQL that is no PromQL',
      'sum by (service) (count_over_time({service="web"} |= "o" [1h]))',
      {},
      0,
      '1',
    ],
    ['what both could be is PromQL', 'count_over_time({service="web"}[1h])', {}, 0, ''],
    [
      'PromQL if one says so',
      'sum(count_over_time({service="web"} |= "o" [1h]))',
      { promql: true },
      2,
      '',
    ],
  ])('is read as %s', async (_, text, options, code, out) => {
    const result = await run({ query: text, output: 'raw', ...options });
    expect(result.code).toBe(code);
    expect(result.out.trim()).toBe(out);
  });
});

describe('lines', () => {
  it.each([
    [{}, `${T('59')} {service="web"} three\n${T('57')} {service="web"} one\n`],
    [{ forward: true, output: 'raw' }, 'one\nthree\n'],
    [
      { json: true, limit: 0, since: '1500ms' },
      `{"timestamp":"${T('59')}","labels":{"service":"web"},"line":"three"}\n`,
    ],
    [{ output: 'raw', from: T('57'), to: T('58') }, 'one\n'],
  ])('%j', async (options, out) => {
    expect(await run({ query: '{service="web"}', ...options })).toEqual({ code: 0, out, err: '' });
  });

  it.each([
    [false, 'three\n', 'newest'],
    [true, 'one\n', 'oldest'],
  ])('says aloud that the limit cut: forward %s', async (forward, out, which) => {
    const result = await run({ query: '{service="web"}', limit: '1', output: 'raw', forward });
    expect(result).toEqual({ code: 0, out, err: expect.stringContaining(`only the ${which} 1 `) });
  });

  it('does not say so when the limit is just what there is', async () => {
    const result = await run({ query: '{service="web"}', limit: 2 });
    expect(result.err).toBe('');
  });

  it('nothing found is no failure, as with logcli', async () => {
    const result = await run({ query: '{service="none"}' });
    expect(result).toEqual({ code: 0, out: '', err: 'nothing found\n' });
  });

  it.each([
    [7, false],
    [35, false],
    [7, true],
    [100, true],
  ])('pages of %i lines, forward %s: each line once', async (batch, forward) => {
    const query = '{service="bulk"}';
    if (batch === 7) {
      // 30 lines at one time do not fit in pages of 7.
      const result = await run({ query, limit: 0, output: 'raw', batch, forward });
      expect(result.code).toBe(1);
      expect(result.err).toContain('--batch');
      return;
    }
    const result = await run({ query, limit: 0, output: 'raw', batch, forward });
    const lines = result.out.trimEnd().split('\n');
    expect([...lines].sort()).toEqual(
      server.store.rows
        .filter(({ labels }) => labels['service'] === 'bulk')
        .map(({ line }) => line)
        .sort(),
    );
    expect(result.code).toBe(0);
  });

  it('colours streams on a terminal only, and lets no line play with it', async () => {
    server.store.rows.push({
      timestamp: BigInt(server.clock.now() - 1) * 1_000_000n,
      labels: { service: 'evil' },
      line: '\u001b[31mred\u001b[2J\u0007',
      id: 'evil',
    });
    const ask = { query: '{service="evil"}' };
    const line = (stream: string, text: string) =>
      `2025-12-31T23:59:59.999000000Z ${stream} ${text}\n`;
    const plain = '{service="evil"}';
    expect((await run(ask, true)).out).toMatch(
      // oxlint-disable-next-line no-control-regex
      /Z \x1b\[\d+m\{service="evil"\}\x1b\[0m \x1b\[31mred\\x1b\[2J\\x07\x1b\[0m\n$/,
    );
    expect((await run(ask, true, { NO_COLOR: '1' })).out).toBe(line(plain, 'red\\x1b[2J\\x07'));
    expect((await run(ask, false)).out).toBe(line(plain, '\u001b[31mred\u001b[2J\u0007'));
  });
});

describe('values', () => {
  it.each([
    [
      { query: 'up' },
      'TIME                      VALUE  SERIES\n2026-01-01T00:00:00.000Z  NaN    up\n2026-01-01T00:00:00.000Z  0      up{job="a"}\n',
    ],
    [{ query: '1 + 1' }, 'TIME                      VALUE\n2026-01-01T00:00:00.000Z  2\n'],
    [{ query: 'up{job="a"}', output: 'raw' }, '0\n'],
    [
      { query: 'up{job="a"}', since: '1m', step: '1m' },
      'TIME                      VALUE  SERIES\n2025-12-31T23:59:00.000Z  1      up{job="a"}\n2026-01-01T00:00:00.000Z  0      up{job="a"}\n',
    ],
    [
      { query: 'sum(count_over_time({service="web"}[1m]))', logql: true },
      'TIME                      VALUE  SERIES\n2026-01-01T00:00:00.000Z  2      {}\n',
    ],
    [
      { query: '{__name__="up", job="a"}', promql: true, json: true },
      '{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1767225600,"0"]}]}\n',
    ],
  ])('%j', async (options, out) => {
    const result = await run(options);
    expect({ ...result, out: result.out.split('\n').sort() }).toEqual({
      code: 0,
      out: out.split('\n').sort(),
      err: '',
    });
  });
});

describe('failures are one sentence', () => {
  it.each([
    [{ query: '{' }, 2, 'parse error at line 1'],
    [{ query: 'up +' }, 2, '1:5: parse error'],
    [{ query: ' ' }, 2, 'the query is empty'],
    [{ query: 'up', logql: true, promql: true }, 2, 'exclude each other'],
    [{ query: 'up', since: '1h', from: '5' }, 2, 'exclude each other'],
    [{ query: 'up', since: 'soon' }, 2, '--since "soon"'],
    [{ query: 'up', from: 'soon' }, 2, '--from "soon"'],
    [{ query: 'up', from: '2027-01-01T00:00:00Z' }, 2, '--from is after --to'],
    [{ query: 'up', limit: 'x' }, 2, '--limit "x"'],
    [{ query: 'up', output: 'xml' }, 2, '--output is one of default, raw, json'],
    [{ query: 'up', server: 'ftp://x' }, 2, '--server "ftp://x" is no URL'],
    [{ query: 'up', token: 'wrong' }, 1, 'wants a token'],
    [
      { query: 'up', server: 'no-such-host.invalid' },
      1,
      'no server at http://no-such-host.invalid',
    ],
  ])('%j', async (options, code, err) => {
    const result = await run(options);
    expect(result).toEqual({ code, out: '', err: expect.stringContaining(err) });
    expect(result.err.trimEnd().split('\n')).toHaveLength(1);
  });

  it('a refused connection says where, and what to do', async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as { port: number };
    await new Promise((resolve) => free.close(resolve));
    const result = await run({ query: 'up', server: `127.0.0.1:${port}` });
    expect(result).toEqual({
      code: 1,
      out: '',
      err: `error: no server at http://127.0.0.1:${port}: the connection is refused (start one with \`reflexarc up\`, or name another with --server)\n`,
    });
  });

  it('the token may come from the environment', async () => {
    const stdout = new PassThrough();
    const code = await query({
      query: '1',
      server: server.url,
      clock: server.clock,
      io: { stdout, stderr: new PassThrough(), env: { REFLEXARC_TOKEN: TOKEN } },
    });
    expect(code).toBe(0);
  });

  it('a reader that leaves is no failure', async () => {
    const stdout = new PassThrough({ highWaterMark: 1 });
    stdout.write = () => {
      setImmediate(() =>
        stdout.emit('error', Object.assign(new Error('EPIPE'), { code: 'EPIPE' })),
      );
      return false;
    };
    const code = await query({
      query: '{service="bulk"}',
      server: server.url,
      token: TOKEN,
      clock: server.clock,
      io: { stdout, stderr: new PassThrough(), env: {} },
    });
    expect(code).toBe(0);
  });
});
