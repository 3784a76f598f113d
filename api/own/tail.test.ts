import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReflexarcError } from '../../core/errors.ts';
import { encodeLogs } from '../../core/records/codec.ts';
import { FIELD } from '../../core/records/log.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.api.stop());

const WEB = { labels: { service: 'web' }, resource: {} };
const DB = { labels: { service: 'db' }, resource: {} };
const record = (line: string, stream = WEB, fields?: Record<string, unknown>) => ({
  timestamp: '2026-01-01T00:00:00.000000001Z',
  id: line,
  line,
  stream,
  ...(fields === undefined ? {} : { fields }),
});

const publish = (...records: ReturnType<typeof record>[]) =>
  server.bus.publish('logs', [{ key: 'k', value: encodeLogs(records), records: records.length }]);

const tailPath = (query: string) => `/api/tail?query=${encodeURIComponent(query)}`;

/** Lines of an answer as they come, without the empty ones. */
async function* lines(response: Response): AsyncGenerator {
  let rest = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part !== '') yield JSON.parse(part);
  }
}

const until = async (condition: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 10_000 && !condition(); turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(condition()).toBe(true);
};

it('sends what passes from now on, through the pipeline', async () => {
  await publish(record('before'));
  const response = await server.get(tailPath('{service="web"} |= "x" | logfmt | code >= 500'));
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  expect(server.bus.subscriptions.map(({ options }) => options)).toEqual([
    { start: 'latest', ephemeral: true },
  ]);
  await publish(record('x code=200'), record('x code=503'), record('x code=500', DB));
  await publish(record('y code=500'), record('x code=500', WEB, { [FIELD.metadata]: { id: '7' } }));
  const tail = lines(response);
  const timestamp = '1767225600000000001';
  expect([(await tail.next()).value, (await tail.next()).value]).toEqual([
    { timestamp, labels: { service: 'web', code: '503' }, line: 'x code=503' },
    { timestamp, labels: { service: 'web', id: '7', code: '500' }, line: 'x code=500' },
  ]);
  await tail.return(undefined);
});

it('ends when the client leaves', async () => {
  const client = new AbortController();
  const response = await server.get(tailPath('{service="web"}'), { signal: client.signal });
  expect(server.bus.subscriptions).toHaveLength(1);
  expect(await server.metrics.metrics()).toContain('reflexarc_api_tails 1');
  client.abort();
  await expect(response.text()).rejects.toThrow();
  await until(() => server.bus.subscriptions.length === 0);
  expect(server.clock.pending).toBe(0);
  expect(await server.metrics.metrics()).toContain('reflexarc_api_tails 0');
});

it('ends when the server stops', async () => {
  const response = await server.get(tailPath('{service="web"}'));
  const text = response.text();
  await server.api.stop();
  expect((await text).trim()).toBe('');
  expect(server.bus.subscriptions).toEqual([]);
});

it('an empty line now and then shows that it lives', async () => {
  const response = await server.get(tailPath('{service="web"}'));
  const reader = response.body!.getReader();
  await reader.read();
  await server.clock.advance(15_000);
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('\n');
  await reader.cancel();
});

it('drops the lines of a client that does not read, says how many, and holds up nobody', async () => {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${tailPath('{service="web"}')} HTTP/1.0\r\nHost: localhost\r\n\r\n`);
  await until(() => server.bus.subscriptions.length === 1);
  socket.pause();
  const dropped = async () =>
    Number(/reflexarc_api_tail_dropped_total (\d+)/.exec(await server.metrics.metrics())?.[1]);
  const line = 'x'.repeat(100_000);
  let sent = 0;
  // Until the operating system's buffers and ours are full.
  while ((await dropped()) === 0 && sent < 2000) {
    await publish(record(line));
    await new Promise((resolve) => setImmediate(resolve));
    sent++;
  }
  const lost = await dropped();
  expect(lost).toBeGreaterThan(0);
  let text = '';
  let arrived = 0;
  socket.on('data', (chunk: Buffer) => {
    arrived += chunk.length;
    text = (text + chunk.toString('latin1')).slice(-4096);
  });
  socket.resume();
  await until(() => text.includes(`{"dropped":${lost}}`));
  expect(arrived).toBeGreaterThan((sent - lost) * line.length);
  await publish(record('after'));
  await until(() => text.includes('"line":"after"'));
  socket.destroy();
});

describe('refusals', () => {
  it.each([
    ['/api/tail', 400, "'query' is required"],
    [tailPath('{'), 400, ''],
    [tailPath('rate({a="b"}[1m])'), 400, 'only log queries can be tailed'],
    [`${tailPath('{a="b"}')}&since=1h`, 400, 'unknown parameter'],
  ])('%s', async (path, status, message) => {
    const response = await server.get(path);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(message);
  });

  it('a bus that cannot be read', async () => {
    server.bus.subscribe = () => Promise.reject(new ReflexarcError('unavailable', 'bus is away'));
    const response = await server.get(tailPath('{a="b"}'));
    expect(response.status).toBe(503);
    expect(await server.metrics.metrics()).toContain('reflexarc_api_tails 0');
  });

  it('more tails than are kept up with', async () => {
    const clients = new AbortController();
    const open = await Promise.all(
      Array.from({ length: 32 }, () => server.get(tailPath('{a="b"}'), { signal: clients.signal })),
    );
    expect(open.every(({ status }) => status === 200)).toBe(true);
    const response = await server.get(tailPath('{a="b"}'));
    expect(response.status).toBe(429);
    expect(await response.text()).toContain('32 tails are open');
    clients.abort();
    await until(() => server.bus.subscriptions.length === 0);
    expect((await server.get(tailPath('{a="b"}'))).status).toBe(200);
  });
});
