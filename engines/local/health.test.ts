import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../core/testing/clock.ts';
import { HealthCheck, type HealthConfig, probeOf } from './health.ts';

const config = (over: Partial<HealthConfig> = {}): HealthConfig => ({
  interval: 1000,
  timeout: 500,
  retries: 3,
  start_period: 0,
  ...over,
});

describe('HealthCheck', () => {
  it.each([
    // One letter a probe: a success, a failure, no answer in time.
    ['sss', {}, 'healthy'],
    ['ff', {}, 'starting'],
    ['fff', {}, 'unhealthy'],
    ['ttt', {}, 'unhealthy'],
    ['sff', {}, 'healthy'],
    ['sfff', {}, 'unhealthy'],
    ['sffsff', {}, 'healthy'],
    ['ffffs', {}, 'healthy'],
    ['fffff', { start_period: 4000 }, 'starting'],
    ['ffffff', { start_period: 4000 }, 'unhealthy'],
    ['sfff', { start_period: 60_000 }, 'unhealthy'],
    ['f', { retries: 1 }, 'unhealthy'],
  ])('%s with %j is %s', async (story, over, status) => {
    const clock = new ManualClock();
    let at = 0;
    const changes: string[] = [];
    const check = new HealthCheck(
      config(over),
      (signal) => {
        const what = story[at++];
        if (what === 's') return Promise.resolve();
        if (what === 'f') return Promise.reject(new Error('no'));
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
      clock,
      (changed) => changes.push(changed),
    );
    check.start();
    while (at < story.length) await clock.advance(500);
    await clock.advance(500);
    expect(check.status).toBe(status);
    // Only changes are told.
    expect(changes.every((change, index) => change !== changes[index - 1])).toBe(true);
    check.stop();
    await clock.advance(10_000);
    expect(at).toBeGreaterThanOrEqual(story.length);
    expect(clock.pending).toBe(0);
  });
});

describe('probes', () => {
  const here = { cwd: undefined, env: process.env };
  const probe = (over: Partial<HealthConfig>, signal = new AbortController().signal) =>
    probeOf('web', config(over), here)(signal);

  it('ask by HTTP for 2xx or 3xx', async () => {
    const server = createServer((request, answer) => {
      answer.statusCode = Number(request.url?.slice(1));
      answer.end('x'.repeat(100_000));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const at = (status: number) => probe({ http: `http://127.0.0.1:${port}/${status}` });
    for (const status of [200, 204, 302]) await at(status);
    for (const status of [404, 500]) await expect(at(status)).rejects.toThrow(String(status));
    server.close();
    await once(server, 'close');
    await expect(at(200)).rejects.toThrow('ECONNREFUSED');
  });

  it('run a command, and end it when it takes too long', async () => {
    await probe({ exec: ['true'] });
    await expect(probe({ exec: ['false'] })).rejects.toThrow('ended with 1');
    await expect(probe({ exec: ['/not/there'] })).rejects.toThrow('ENOENT');
    await expect(probe({ exec: ['sleep', '100'] }, AbortSignal.timeout(20))).rejects.toThrow();
  });
});
