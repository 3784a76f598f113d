import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { Instance, Runtime, RuntimeEvent } from '../../core/contracts/runtime.ts';
import { formatError } from '../../core/errors.ts';
import { Containers, describeDocker, PrivateEngine } from '../../test/support/docker.ts';
import { until } from '../../test/support/wait.ts';
import { openDocker } from './docker.ts';

/** What only the Docker Engine does; what every runtime does is in the conformance suite. */

const SERVE = 'trap "exit 0" TERM; while true; do sleep 0.05; done';

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(
  options: { host?: string; resync?: number; logRoot?: string } = {},
): Promise<{ runtime: Runtime; metrics: Registry }> {
  const metrics = new Registry();
  const runtime = await openDocker({
    config: {
      host: options.host ?? 'unix:///var/run/docker.sock',
      log_root: options.logRoot ?? '/var/lib/docker',
      resync: options.resync ?? 60_000,
    },
    telemetry: { log: pino({ level: 'silent' }), metrics, clock: systemClock },
  });
  cleanups.push(() => runtime.close());
  return { runtime, metrics };
}

function containers(docker?: Containers['docker']): Containers {
  const made = new Containers(docker);
  cleanups.push(() => made.remove());
  return made;
}

interface Watched {
  readonly events: RuntimeEvent[];
  readonly lists: (readonly Instance[])[];
  readonly problems: unknown[];
}

function watch(runtime: Runtime): Watched {
  const watched: Watched = { events: [], lists: [], problems: [] };
  const stop = new AbortController();
  cleanups.push(() => stop.abort());
  const onProblem = (error: unknown): void => {
    watched.problems.push(error);
  };
  void (async () => {
    for await (const news of runtime.watch({ onProblem }, stop.signal)) {
      if (news.kind === 'event') watched.events.push(news.event);
      else watched.lists.push(news.instances);
    }
  })();
  return watched;
}

const eventOf = (watched: Watched, id: string, action: string): Promise<RuntimeEvent> =>
  until(`${action} of ${id}`, () =>
    watched.events.find((event) => event.action === action && event.instance.id === id),
  );

describeDocker('Docker Engine', () => {
  it('tells what ran out of memory', async ({ skip }) => {
    const made = containers();
    const { runtime } = await open();
    const watched = watch(runtime);
    await until('the list', () => watched.lists.length > 0);
    let id = '';
    try {
      id = await made.run('big', 'tail /dev/zero', {
        HostConfig: { Memory: 8 * 1024 ** 2, MemorySwap: 8 * 1024 ** 2 },
      });
    } catch (error) {
      skip(`this machine's control groups limit no memory: ${String(error)}`);
    }
    const died = await eventOf(watched, id, 'die');
    expect(died.attributes).toMatchObject({ exit_code: '137', by_hand: 'false', oom: 'true' });
    expect((await eventOf(watched, id, 'oom')).instance.oomKilled).toBe(true);
    expect(await runtime.inspect(id)).toMatchObject({ oomKilled: true, stoppedByHand: false });
  });

  it.each([
    ['SIGKILL', 'SIGKILL', 'true'],
    ['SIGINT', 'SIGINT', 'true'],
    // Not how one ends a service, though it happens to end this one.
    ['SIGUSR1', 'SIGUSR1', 'false'],
  ])('tells a kill by hand: %s', async (signal, name, byHand) => {
    const made = containers();
    const { runtime } = await open();
    const watched = watch(runtime);
    await until('the list', () => watched.lists.length > 0);
    const id = await made.run('web', 'trap "exit 4" INT USR1; while true; do sleep 0.05; done');
    await until('the trap', async () => (await runtime.inspect(id))?.state === 'running');
    await until('its death', async () => {
      await made.docker
        .getContainer(id)
        .kill({ signal })
        .catch(() => {});
      return watched.events.some((event) => event.action === 'die' && event.instance.id === id);
    });
    const killed = await eventOf(watched, id, 'kill');
    expect(killed.attributes).toMatchObject({ signal: name, by_hand: 'true' });
    const died = await eventOf(watched, id, 'die');
    expect(died.attributes['by_hand']).toBe(byHand);
    expect((await runtime.inspect(id))?.stoppedByHand).toBe(byHand === 'true');
  });

  it('knows what was stopped by hand before it was opened, and what crashed', async () => {
    const made = containers();
    const [stopped, crashed, paused] = await Promise.all([
      made.run('stopped', SERVE),
      made.run('crashed', 'exit 5'),
      made.run('paused', SERVE),
    ]);
    await made.docker.getContainer(stopped).stop();
    await made.docker.getContainer(paused).pause();
    await made.docker.getContainer(crashed).wait();
    const { runtime } = await open();
    const listed = await runtime.list();
    const of = (id: string): Instance | undefined => listed.find((one) => one.id === id);
    expect(of(stopped)).toMatchObject({ state: 'exited', stoppedByHand: true });
    expect(of(crashed)).toMatchObject({ state: 'exited', exitCode: 5, stoppedByHand: false });
    expect(of(paused)).toMatchObject({ state: 'paused', stoppedByHand: true });
  });

  it('names the service after Compose, and what is gone by its last word', async () => {
    const made = containers();
    const { runtime } = await open();
    const watched = watch(runtime);
    await until('the list', () => watched.lists.length > 0);
    const id = await made.run('web', 'true', {
      Labels: { 'com.docker.compose.service': 'web', 'com.docker.compose.project': 'shop' },
      HostConfig: { AutoRemove: true },
    });
    const gone = await eventOf(watched, id, 'destroy');
    expect(gone.instance).toMatchObject({
      name: made.name('web'),
      service: 'web',
      project: 'shop',
      state: 'removing',
      labels: made.label,
    });
    expect(await runtime.inspect(id)).toBeUndefined();
    expect((await runtime.list()).some((one) => one.id === id)).toBe(false);
  });

  it('reads the same from the control group as from the API', async () => {
    const made = containers();
    const { runtime, metrics } = await open();
    const id = await made.run('web', 'head -c 3000000 /dev/zero >/tmp/x; sleep 100', {
      HostConfig: { Memory: 64 * 1024 ** 2, NetworkMode: 'bridge' },
    });
    const stats = await until('what it reads and writes', async () => {
      const read = await runtime.stats(id);
      return read !== undefined && (read.memoryCache ?? 0) > 2_000_000 && read;
    });
    const api = await made.docker.getContainer(id).stats({ stream: false });
    expect(stats.memoryLimit).toBe(64 * 1024 ** 2);
    expect(stats.memoryCache).toBeGreaterThan(0);
    const of = (value: number): number => value / 1e9;
    expect(stats.cpuSeconds).toBeGreaterThan(of(api.cpu_stats.cpu_usage.total_usage) * 0.5);
    expect(stats.cpuSeconds).toBeLessThan(of(api.cpu_stats.cpu_usage.total_usage) * 1.01);
    expect(Object.keys(stats.network ?? {})).toEqual(Object.keys(api.networks));
    expect(stats.processes).toBeGreaterThanOrEqual(1);
    expect(await metrics.metrics()).toMatch(/stats_total\{from="cgroup"\} [1-9]/);
  });

  it('forbids what the state of a container forbids', async () => {
    const made = containers();
    const { runtime } = await open();
    const id = await made.run('web', SERVE);
    await made.docker.getContainer(id).pause();
    await expect(runtime.start(id)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('lists again from time to time', async () => {
    const { runtime } = await open({ resync: 20 });
    const watched = watch(runtime);
    await until('some lists', () => watched.lists.length >= 3);
  });
});

describeDocker('a Docker Engine that goes and comes', () => {
  it('takes up where it was, and tells each event once', { timeout: 120_000 }, async () => {
    const engine = new PrivateEngine();
    cleanups.push(() => engine.remove());
    // Away at first.
    const { runtime, metrics } = await open({
      host: `unix://${engine.socket}`,
      logRoot: engine.root,
    });
    await expect(runtime.list()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(runtime.start('x')).rejects.toMatchObject({ code: 'unavailable' });
    const watched = watch(runtime);
    await until('the problem', () => watched.problems.length > 0);
    expect(formatError(watched.problems[0])).toContain('systemctl start docker');

    await engine.start();
    await until('the first list', () => watched.lists.length === 1);
    const made = new Containers(engine.docker);
    const [always, once] = [
      await made.run('always', SERVE, { HostConfig: { RestartPolicy: { Name: 'always' } } }),
      await made.run('once', SERVE),
    ];
    await eventOf(watched, always, 'start');
    await eventOf(watched, once, 'start');
    const before = await runtime.inspect(always);
    expect(before?.log).toMatchObject({ path: expect.stringContaining(engine.root) });

    await engine.stop();
    await until('the second problem', () => watched.problems.length > 1);
    await engine.start();
    await until('the second list', () => watched.lists.length === 2);
    const after = await until('the engine to restart it', async () => {
      const one = await runtime.inspect(always);
      return one?.state === 'running' && one.startedAt !== before?.startedAt && one;
    });
    expect(after.stoppedByHand).toBe(false);
    const left = await runtime.inspect(once);
    expect(left?.state).toBe('exited');
    // Whoever stops the engine stops what runs on it: it is not for us to bring it back.
    expect(left?.stoppedByHand).toBe(true);
    expect(watched.lists[1]?.map((one) => one.id).sort()).toEqual([always, once].sort());
    const keys = watched.events.map(
      (event) => `${event.time} ${event.action} ${event.instance.id}`,
    );
    expect(new Set(keys).size).toBe(keys.length);
    expect(await metrics.metrics()).toContain('reflexarc_docker_connects_total{result="gap"} 1');
    await runtime.restart(once, { grace: 0 });
    await eventOf(watched, once, 'restart');
    await made.remove();
  });

  it('says what to do about a socket that may not be opened', async ({ skip }) => {
    if (process.getuid?.() !== 0) skip('only root can be somebody else for a moment');
    const folder = mkdtempSync(join(tmpdir(), 'reflexarc-socket-'));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    process.seteuid?.(65_534);
    try {
      const { runtime } = await open();
      const error = await runtime.list().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'permission' });
      expect(formatError(error)).toContain('group docker');
    } finally {
      process.seteuid?.(0);
    }
  });
});

describe('the address of an engine', () => {
  it.each(['/var/run/docker.sock', 'unix://', 'tcp://', 'ssh://host', 'tcp://host:port'])(
    'refuses %s',
    async (host) => {
      await expect(open({ host })).rejects.toMatchObject({ code: 'bad_config' });
    },
  );
});
