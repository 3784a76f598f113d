import { createServer, type Server } from 'node:http';
import { PassThrough } from 'node:stream';
import { afterEach, expect, it } from 'vitest';
import { startTestServer } from '../../api/testing/server.ts';
import { encodeLogs } from '../../core/records/codec.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { type TailOptions, tail } from './tail.ts';

const ends: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

const until = async (condition: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 50_000 && !condition(); turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(condition()).toBe(true);
};

function begin(options: Partial<TailOptions> & { server: string }) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const seen = { out: '', err: '' };
  stdout.on('data', (chunk: Buffer) => {
    seen.out += chunk.toString();
  });
  stderr.on('data', (chunk: Buffer) => {
    seen.err += chunk.toString();
  });
  const stop = new AbortController();
  const clock = new ManualClock();
  const code = tail({
    query: '{service="web"}',
    signal: stop.signal,
    clock,
    io: { stdout, stderr, env: {} },
    ...options,
  });
  return { seen, stop, clock, code, stdout };
}

it('prints what passes, until it is stopped', async () => {
  const server = await startTestServer();
  ends.push(() => server.api.stop());
  const { seen, stop, code } = begin({ server: server.url, output: 'json' });
  await until(() => server.bus.subscriptions.length === 1);
  const line = 'a line\u2028that is one';
  await server.bus.publish('logs', [
    {
      key: 'k',
      records: 1,
      value: encodeLogs([
        {
          timestamp: '2026-01-01T00:00:00.000000000Z',
          id: '1',
          line,
          stream: { labels: { service: 'web' }, resource: {} },
        },
      ]),
    },
  ]);
  await until(() => seen.out.endsWith('\n'));
  expect(JSON.parse(seen.out)).toEqual({
    timestamp: '2026-01-01T00:00:00.000000000Z',
    labels: { service: 'web' },
    line,
  });
  stop.abort();
  expect(await code).toBe(0);
  await until(() => server.bus.subscriptions.length === 0);
});

/** Answers each request by the next of the given ways. */
async function scripted(
  ...answers: ((server: Server) => string | undefined)[]
): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const server = createServer((_request, response) => {
    const text = answers[asked++]?.(server);
    if (text === undefined) {
      response.socket?.destroy();
      return;
    }
    response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, asked: () => asked };
}

const LINE = (line: string) =>
  `\n${JSON.stringify({ timestamp: '1767225600000000000', labels: { service: 'web' }, line })}\n`;

it('connects again after an end and after a failure, with growing pauses, and says so', async () => {
  const server = await scripted(
    () => LINE('one'),
    () => undefined,
    () => `${LINE('two')}{"dropped":7}\n`,
    () => LINE('three'),
  );
  const { seen, stop, clock, code } = begin({ server: server.url, output: 'raw' });
  await until(() => clock.pending === 1);
  expect(seen.err).toContain('ended the tail; connecting again');
  await clock.advance(500);
  await until(() => clock.pending === 1);
  expect(seen.err).toContain('trying again in 1 s');
  await clock.advance(999);
  expect(server.asked()).toBe(2);
  await clock.advance(1);
  await until(() => seen.out === 'one\ntwo\n' && clock.pending === 1);
  expect(seen.err).toContain('connected again; lines of the meantime are not shown');
  expect(seen.err).toContain('7 lines left out');
  await clock.advance(500);
  await until(() => seen.out === 'one\ntwo\nthree\n');
  stop.abort();
  expect(await code).toBe(0);
});

it.each([
  [{ server: 'http://127.0.0.1:1' }, 1, 'no server at http://127.0.0.1:1'],
  [{ output: 'xml' }, 2, '--output is one of'],
  [{ query: 'rate({a="b"}[1m])' }, 2, 'only log queries can be tailed'],
  [{ query: '{' }, 2, 'error: '],
])('%j ends it at once', async (options, expected, message) => {
  const server = await startTestServer();
  ends.push(() => server.api.stop());
  const { code, seen } = begin({ server: server.url, ...options });
  expect(await code).toBe(expected);
  await until(() => seen.err.includes(message));
});

it('a reader that leaves ends it', async () => {
  const server = await startTestServer();
  ends.push(() => server.api.stop());
  const { code, stdout } = begin({ server: server.url });
  await until(() => server.bus.subscriptions.length === 1);
  stdout.emit('error', Object.assign(new Error('EPIPE'), { code: 'EPIPE' }));
  expect(await code).toBe(0);
});
