import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { until } from '../../test/support/wait.ts';
import { DockerClient, parseHost } from './client.ts';
import { engineError } from './errors.ts';

describe('errors of the engine', () => {
  it.each([
    [{ statusCode: 404 }, 'not_found'],
    [{ statusCode: 409 }, 'conflict'],
    [{ statusCode: 403 }, 'permission'],
    [{ statusCode: 501 }, 'not_supported'],
    [{ statusCode: 500 }, 'unavailable'],
    [{ code: 'EACCES' }, 'permission'],
    [{ code: 'ENOENT' }, 'unavailable'],
    [{ code: 'ECONNREFUSED' }, 'unavailable'],
    [{ code: 'ECONNRESET' }, 'unavailable'],
    [{ message: 'socket hang up' }, 'unavailable'],
    [{ name: 'AbortError' }, 'cancelled'],
    [{}, 'unavailable'],
  ])('%j is %s', (fields, code) => {
    const cause = Object.assign(new Error('it'), fields);
    const error = engineError(cause, 'list', 'unix:///x');
    expect(error).toMatchObject({ code, cause });
    expect(engineError(error, 'list', 'unix:///x')).toBe(error);
  });
});

describe('the address', () => {
  it.each([
    ['unix:///run/d.sock', { socketPath: '/run/d.sock' }],
    ['tcp://h', { host: 'h', port: 2375, protocol: 'http' }],
    ['http://h:1', { host: 'h', port: 1, protocol: 'http' }],
    ['https://h/', { host: 'h', port: 2376, protocol: 'https' }],
    ['tcp://[::1]:5', { host: '::1', port: 5, protocol: 'http' }],
  ])('%s', (host, address) => expect(parseHost(host)).toEqual(address));
});

describe('a call', () => {
  let server: Server | undefined;
  afterEach(async () => {
    server?.closeAllConnections();
    server?.close();
    if (server !== undefined) await once(server, 'close');
    server = undefined;
  });

  /** An engine that answers as told. */
  async function engine(answer: Parameters<typeof createServer>[1], clock = systemClock) {
    server = createServer(answer as never);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const metrics = new Registry();
    const telemetry = { log: pino({ level: 'silent' }), metrics, clock };
    return { client: new DockerClient(`tcp://127.0.0.1:${port}`, telemetry), metrics };
  }

  it.each(['before the answer', 'in the middle of it'])('times out %s', async (when) => {
    const clock = new ManualClock();
    let asked = false;
    const { client, metrics } = await engine((_, answer) => {
      asked = true;
      if (when !== 'before the answer') (answer as { write(text: string): void }).write('{');
    }, clock);
    const call = client.read('list', (docker, abortSignal) =>
      docker.listContainers({ abortSignal }),
    );
    const failed = call.catch((error: unknown) => error);
    await until('the question', () => asked);
    await clock.advance(10_000);
    expect(await failed).toMatchObject({ code: 'timeout' });
    expect(await metrics.metrics()).toContain('calls_total{call="list",result="timeout"} 1');
    expect(clock.pending).toBe(0);
    client.close();
  });

  it('is given up with its signal', async () => {
    const { client } = await engine(() => {});
    const abort = new AbortController();
    const call = client.read(
      'list',
      (docker, abortSignal) => docker.listContainers({ abortSignal }),
      { signal: abort.signal },
    );
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    client.close();
  });

  it('is made again when a kept connection was dead, if it only asks', async () => {
    let asked = 0;
    const { client } = await engine((request, answer) => {
      asked++;
      if (asked === 1) request.socket.resetAndDestroy();
      else answer.end('[]');
    });
    const ask = () =>
      client.read('list', (docker, abortSignal) => docker.listContainers({ abortSignal }));
    expect(await ask()).toEqual([]);
    expect(asked).toBe(2);
    asked = 0;
    const write = client.separately('stop x', (docker) => docker.getContainer('x').stop(), {});
    await expect(write).rejects.toMatchObject({ code: 'unavailable' });
    expect(asked).toBe(1);
    client.close();
  });

  it('waits for others: a storm is not passed on to the engine', async () => {
    let most = 0;
    let now = 0;
    const { client } = await engine((_, answer) => {
      now++;
      most = Math.max(most, now);
      setImmediate(() => {
        now--;
        answer.end('[]');
      });
    });
    await Promise.all(
      Array.from({ length: 50 }, () =>
        client.read('list', (docker, abortSignal) => docker.listContainers({ abortSignal })),
      ),
    );
    expect(most).toBeLessThanOrEqual(4);
    client.close();
  });
});
