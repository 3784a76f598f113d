import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startCollect } from '../../collectors/collect.ts';
import { testTelemetry } from '../../collectors/testing/fakes.ts';
import { reflexarcSchema } from '../../core/config/reflexarc.ts';
import type { Bus } from '../../core/contracts/bus.ts';
import { decodeLogs, decodeSamples, StreamCache } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { Sample } from '../../core/records/metric.ts';
import { openDocker } from '../../engines/docker/docker.ts';
import { openEmbedded } from '../../engines/embedded/open.ts';
import { Containers, describeDocker } from '../support/docker.ts';
import { until } from '../support/wait.ts';

/** Collecting on the real Docker Engine, the real embedded bus and state. */
describeDocker('collectors on Docker', () => {
  let folder: string;
  let containers: Containers;
  let logs: LogRecord[];
  let samples: Sample[];
  let stops: (() => Promise<void>)[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'reflexarc-collect-'));
    containers = new Containers();
    logs = [];
    samples = [];
    stops = [];
  });
  afterEach(async () => {
    for (const stop of stops.toReversed()) await stop();
    await containers.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  async function listen(bus: Bus): Promise<void> {
    const cache = new StreamCache();
    const logSubscription = await bus.subscribe('logs', 'test', (delivery) => {
      for (const { value } of delivery.messages) logs.push(...decodeLogs(value, cache).records);
      return Promise.resolve(undefined);
    });
    const metricSubscription = await bus.subscribe('metrics', 'test', (delivery) => {
      for (const { value } of delivery.messages) samples.push(...decodeSamples(value).records);
      return Promise.resolve(undefined);
    });
    stops.push(
      () => logSubscription.close(),
      () => metricSubscription.close(),
    );
  }

  async function start(docker: object = {}): Promise<() => Promise<void>> {
    const telemetry = testTelemetry();
    const config = reflexarcSchema.parse({
      host: 'h',
      sources: { host_metrics: 0, docker: { metrics: '200ms', ...docker } },
    });
    const runtime = await openDocker({ config: config.sources.docker, telemetry });
    const embedded = await openEmbedded({
      folder: join(folder, 'data'),
      maxSize: 1e9,
      maxAge: 3_600_000,
      telemetry,
    });
    await listen(embedded.bus);
    const { bus, state } = embedded;
    const service = await startCollect({ telemetry, config, bus, state, runtimes: [runtime] });
    let stopped = false;
    const stop = async (): Promise<void> => {
      if (stopped) return;
      stopped = true;
      await service.stop();
      for (const one of stops.splice(0)) await one();
      await embedded.close();
      await runtime.close();
    };
    stops.push(stop);
    await until('ready', () => service.ready().ok);
    return async () => {
      stops = stops.filter((one) => one !== stop);
      await stop();
    };
  }

  const of = (id: string, stream = 'stdout'): LogRecord[] =>
    logs.filter(
      (one) => one.stream.resource['container.id'] === id && one.stream.labels['stream'] === stream,
    );
  const lines = (id: string, stream?: string): string[] => of(id, stream).map((one) => one.line);

  it('logs, events, starts and metrics of a container that crashes and is started again', async () => {
    await start();
    const id = await containers.run(
      'web',
      'echo "ERROR: up"; echo oops >&2; head -c 40000 /dev/zero | tr "\\0" x; echo; sleep 0.7; printf last; exit 3',
    );
    await until('the first run', () => lines(id, 'events').some((line) => line.includes('die')));
    await until('its last line', () => lines(id).includes('last') || lines(id).length >= 2);
    await until('metrics', () =>
      samples.some((one) => one.labels['id'] === `/docker/${id}` && one.labels['cpu'] === 'total'),
    );
    await containers.docker.getContainer(id).start();
    await until('the second run', () => lines(id).length >= 5);
    expect(lines(id).slice(0, 4)).toEqual(['ERROR: up', 'x'.repeat(40000), 'last', 'ERROR: up']);
    expect(lines(id, 'stderr')).toContain('oops');
    expect(of(id)[0]?.stream.labels).toMatchObject({ level: 'error', host: 'h' });
    const die = of(id, 'events').find((one) => one.line.startsWith('action=die'));
    expect(die?.line).toMatch(/^action=die .*exit_code=3/);
    expect(die?.stream.labels['level']).toBe('error');
    // Each line, and the event, name the run they came from.
    const starts = of(id).map((one) => one.stream.resource['reflexarc.start']);
    expect(starts[0]).toBeDefined();
    expect(die?.stream.resource['reflexarc.start']).toBe(starts[0]);
    expect(starts.slice(0, 3)).toEqual([starts[0], starts[0], starts[0]]);
    expect(starts[3]).not.toBe(starts[0]);
    expect(starts[3]).toBeDefined();
  });

  it('rotation by the engine, a restart of ours in between, and the removal: each line once', async () => {
    const id = await containers.run(
      'loud',
      'i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo "line $i of many that fill a small file"; done; sleep 0.2; echo end',
      {
        HostConfig: {
          NetworkMode: 'none',
          LogConfig: {
            Type: 'json-file',
            Config: { 'max-size': '100k', 'max-file': '20', compress: 'true' },
          },
        },
      },
    );
    let stop = await start();
    await until('some lines', () => lines(id).length > 100);
    await stop();
    stop = await start();
    await until('the end', () => lines(id).includes('end'));
    await containers.remove();
    await stop();
    const ids = new Map(of(id).map((one) => [one.id, one.line]));
    const expected = Array.from(
      { length: 4000 },
      (_, at) => `line ${at + 1} of many that fill a small file`,
    );
    expect([...ids.values()]).toEqual([...expected, 'end']);
  });

  it('through the API, resumed after a restart of ours', async () => {
    const id = await containers.run(
      'api',
      'echo a; echo b >&2; while [ ! -f /tmp/go ]; do sleep 0.1; done; echo c; sleep 100',
    );
    let stop = await start({ read: 'api' });
    await until('the first lines', () => lines(id).length + lines(id, 'stderr').length === 2);
    await stop();
    await containers.exec(id, 'touch', '/tmp/go');
    stop = await start({ read: 'api' });
    await until('the next', () => lines(id).includes('c'));
    expect(new Set(of(id).map((one) => one.id)).size).toBe(2);
    expect(lines(id)).toEqual(['a', 'c']);
  });

  it('are not read where excluded, or our own', async () => {
    await start({ exclude: ['*-secret'] });
    const secret = await containers.run('secret', 'echo no; sleep 100');
    const own = await containers.run('own', 'echo no; sleep 100', {
      Labels: { 'reflexarc.self': 'true' },
    });
    const other = await containers.run('other', 'echo yes; sleep 100');
    await until('the other', () => lines(other).length === 1);
    expect([...lines(secret), ...lines(own), ...lines(secret, 'events')]).toEqual([]);
    expect(lines(own, 'events').length).toBeGreaterThan(0);
  });
});
