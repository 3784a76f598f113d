import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ReflexarcError } from '../core/errors.ts';
import { startTestServer, type TestServer } from './testing/server.ts';

const started: TestServer[] = [];
const start = async (options: Parameters<typeof startTestServer>[0] = {}) => {
  const server = await startTestServer(options);
  started.push(server);
  return server;
};
afterEach(async () => {
  for (const server of started.splice(0)) await server.api.stop();
});

const TOKENS = { tokens: [{ name: 'a', token: '0123456789abcdef' }] };

describe('start', () => {
  it('port 0 takes a free port and tells it', async () => {
    const server = await start();
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
    expect(server.api.ready()).toEqual({ ok: true });
  });

  it.each(['0.0.0.0:0', ':0', '[::]:0'])('%s without a token is refused', async (listen) => {
    await expect(start({ listen })).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining('without a token'),
      hint: expect.stringContaining('tokens'),
    });
  });

  it('with a token any address can be listened on', async () => {
    const server = await start({ listen: '0.0.0.0:0', config: TOKENS });
    expect((await server.get('/healthz')).status).toBe(200);
  });

  it('can have the routes of health alone', async () => {
    const server = await start({ routes: 'health' });
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      expect((await server.get(path)).status).toBe(200);
    }
    const refused = await server.get('/loki/api/v1/labels');
    expect(refused.status).toBe(404);
    expect(await refused.text()).toMatch(/the rest is where `serve` runs/);
  });

  it('a port in use is named, with what to do', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    try {
      await expect(start({ listen: `127.0.0.1:${port}` })).rejects.toMatchObject({
        code: 'unavailable',
        message: `port ${port} of 127.0.0.1 is in use`,
        hint: expect.stringContaining('--listen'),
      });
    } finally {
      other.close();
    }
  });

  it.each([
    ['nonsense', 'not an address'],
    ['192.0.2.1:0', 'this machine has no address 192.0.2.1'],
    ['no-such-host.invalid:0', 'cannot listen on "no-such-host.invalid"'],
  ])('%s: %s', async (listen, message) => {
    await expect(start({ listen, config: TOKENS })).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining(message),
    });
  });
});

describe('queries', () => {
  const QUERY = '/loki/api/v1/query_range?query={a="b"}';

  it('a client that disconnects cancels its query', async () => {
    const server = await start();
    const began = Promise.withResolvers<AbortSignal>();
    server.store.onRead = (signal) => {
      began.resolve(signal);
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    const client = new AbortController();
    const answer = server.get(QUERY, { signal: client.signal }).catch(String);
    const signal = await began.promise;
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
    client.abort();
    await aborted;
    expect(signal.reason).toMatchObject({ code: 'cancelled' });
    await answer;
  });

  it('a POST that disconnects cancels its query too', async () => {
    const server = await start();
    const began = Promise.withResolvers<AbortSignal>();
    server.store.onRead = (signal) => {
      began.resolve(signal);
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    const client = new AbortController();
    const answer = server
      .get('/api/v1/query', {
        method: 'POST',
        body: new URLSearchParams({ query: 'up' }),
        signal: client.signal,
      })
      .catch(String);
    const signal = await began.promise;
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
    client.abort();
    await aborted;
    expect(signal.reason).toMatchObject({ code: 'cancelled' });
    await answer;
  });

  it.each([
    [QUERY, 504, /^the query took longer than 2s \(shorten/],
    ['/api/v1/query?query=up', 503, /"errorType":"timeout","error":"the query took longer than 2s/],
    [
      '/api/v1/query?query=up&timeout=1',
      503,
      /"errorType":"timeout","error":"the query took longer than 1s/,
    ],
    ['/api/alerts', 504, /"code":"timeout"/],
  ])('%s that takes too long is %i', async (path, status, text) => {
    const server = await start({ config: { query: { timeout: '2s' } } });
    const began = Promise.withResolvers<void>();
    server.store.onRead = (signal) => {
      began.resolve();
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    const answer = server.get(path);
    await began.promise;
    await server.clock.advance(2000);
    const response = await answer;
    expect(response.status).toBe(status);
    expect(await response.text()).toMatch(text);
  });

  it('more at once than run and wait are 429', async () => {
    const server = await start({ config: { query: { concurrency: 1 } } });
    const gate = Promise.withResolvers<void>();
    server.store.onRead = () => gate.promise;
    const answers = Array.from({ length: 10 }, () => server.get(QUERY));
    // One runs, eight wait, and only the tenth is answered before the gate opens.
    const refused = await Promise.race(answers);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.text()).toContain('query.concurrency');
    gate.resolve();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(9);
    expect(statuses.filter((status) => status === 429)).toHaveLength(1);
  });

  it.each([
    ['unavailable', QUERY, 503],
    ['unavailable', '/api/v1/query?query=up', 503],
    ['corrupt', QUERY, 500],
    ['internal', '/api/alerts', 500],
  ] as const)('%s from the store on %s is %i', async (code, path, status) => {
    const server = await start();
    server.store.onRead = () => {
      throw new ReflexarcError(code, 'the store says so');
    };
    const response = await server.get(path);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain('the store says so');
  });

  it('a bug of ours is 500 and tells nothing of the inside', async () => {
    const server = await start();
    server.store.onRead = () => {
      throw new TypeError('secret detail');
    };
    const response = await server.get('/api/alerts');
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
  });
});

describe('stop', () => {
  it('waits for a query under way, and takes no new one', async () => {
    const server = await start();
    const began = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    server.store.onRead = () => {
      began.resolve();
      return gate.promise;
    };
    const answer = server.get('/loki/api/v1/query_range?query={a="b"}');
    await began.promise;
    const stopped = server.api.stop();
    expect(server.api.ready().ok).toBe(false);
    gate.resolve();
    expect((await answer).status).toBe(200);
    await stopped;
    await expect(server.get('/healthz')).rejects.toThrow();
  });

  it('cuts off what does not end', async () => {
    const server = await start();
    const began = Promise.withResolvers<void>();
    server.store.onRead = () => {
      began.resolve();
      return new Promise<void>(() => undefined);
    };
    const answer = server.get('/loki/api/v1/query_range?query={a="b"}').then(
      ({ status }) => status,
      () => 'cut',
    );
    await began.promise;
    const stopped = server.api.stop();
    await server.clock.advance(5000);
    await stopped;
    expect([503, 'cut']).toContain(await answer);
  });

  it('twice is once', async () => {
    const server = await start();
    await Promise.all([server.api.stop(), server.api.stop()]);
  });
});

it('metrics tell of requests by route and code', async () => {
  const server = await start();
  await server.get('/loki/api/v1/label/a/values');
  await server.get('/nothing/at/all');
  const response = await server.get('/metrics');
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  expect(text).toContain(
    'reflexarc_api_requests_total{route="/loki/api/v1/label/:name/values",method="GET",code="200"} 1',
  );
  expect(text).toContain('reflexarc_api_requests_total{route="none",method="GET",code="404"} 1');
  expect(text).toContain('process_cpu_seconds_total');
  expect(text).toMatch(/reflexarc_api_request_duration_seconds_count\{route="none"\} 1/);
});

it('a URL that cannot be decoded is a 400', async () => {
  const server = await start();
  const response = await server.get('/loki/api/v1/label/%zz/values');
  expect(response.status).toBe(400);
  expect(response.headers.get('content-type')).toContain('text/plain');
});
