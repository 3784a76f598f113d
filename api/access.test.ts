import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTokens } from './access.ts';
import { startTestServer, type TestServer } from './testing/server.ts';

const ONE = 'token-one-0123456789';
const TWO = 'token-two-0123456789';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'reflexarc-api-'));
  await writeFile(join(folder, 'token'), `${TWO}\n`);
});
afterAll(() => rm(folder, { recursive: true }));

describe('with tokens', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({
      listen: '0.0.0.0:0',
      config: {
        tokens: [
          { name: 'one', token: ONE },
          { name: 'two', token_file: join(folder, 'token') },
        ],
      },
    });
  });
  afterAll(() => server.api.stop());

  it.each([
    ['/api/status', `Bearer ${ONE}`, 200],
    ['/api/status', `bearer ${TWO}`, 200],
    ['/api/status', undefined, 401],
    ['/api/status', `Bearer ${ONE}x`, 401],
    ['/api/status', 'Bearer', 401],
    ['/api/status', `Basic ${ONE}`, 401],
    ['/loki/api/v1/labels', undefined, 401],
    ['/api/v1/labels', undefined, 401],
    ['/metrics', undefined, 401],
    ['/openapi.json', undefined, 401],
    ['/nothing', undefined, 401],
    ['/healthz', undefined, 200],
    ['/readyz', undefined, 200],
    ['/readyz?x=1', 'Bearer wrong', 200],
    ['//healthz', undefined, 401],
    ['/healthz/../api/status', undefined, 401],
  ])('%s with %s is %i', async (path, authorization, status) => {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    const response = await server.get(path, { headers });
    expect(response.status).toBe(status);
    expect(response.headers.get('www-authenticate')).toBe(
      status === 401 ? 'Bearer realm="reflexarc"' : null,
    );
    if (status === 401) expect(await response.text()).toMatch(/token/);
  });

  it('any Host is answered', async () => {
    expect(await hostStatus(server, 'logs.example.com')).toBe(200);
  });
});

describe('tokens that cannot be used', () => {
  it.each([
    [[{ name: 'a', token_file: '/nowhere/token' }], /cannot read tokens\[0\]\.token_file/],
    [[{ name: 'a', token: ONE, token_file: '/x' }], /exclude each other/],
    [[{ name: 'a' }], /neither token nor token_file/],
    [[{ name: 'a', token: 'short' }], /shorter than 16 characters/],
  ])('%j', (tokens, message) => expect(() => readTokens(tokens)).toThrow(message));
});

/** fetch does not let the Host header be chosen. */
function hostStatus(server: TestServer, host: string): Promise<number> {
  const { port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const asked = request({ port, path: '/healthz', headers: { Host: host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('without tokens only names of this machine are answered', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.api.stop());

  it.each([
    ['localhost', 200],
    ['LOCALHOST:4440', 200],
    ['127.0.0.1', 200],
    ['127.0.0.1:80', 200],
    ['127.8.8.8:80', 200],
    ['[::1]:4440', 200],
    ['[::ffff:127.0.0.1]', 200],
    ['evil.example.com', 403],
    ['evil.example.com:4440', 403],
    ['127.0.0.1.evil.example.com', 403],
    ['localhost.evil.example.com', 403],
    ['[::2]', 403],
    ['192.168.1.1', 403],
    ['::1', 403],
  ])('Host %s is %i', async (host, status) => {
    expect(await hostStatus(server, host)).toBe(status);
  });

  it('no other origin may read: there are no CORS headers', async () => {
    const response = await server.get('/api/status', {
      headers: { Origin: 'https://evil.example.com' },
    });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    const preflight = await server.get('/loki/api/v1/push', {
      method: 'OPTIONS',
      headers: { Origin: 'https://evil.example.com', 'Access-Control-Request-Method': 'POST' },
    });
    expect(preflight.status).toBe(404);
  });
});
