import {
  appendFileSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../core/clock.ts';
import { reflexarcSchema } from '../core/config/reflexarc.ts';
import type { Instance, RuntimeEvent } from '../core/contracts/runtime.ts';
import { ReflexarcError } from '../core/errors.ts';
import { isStale } from '../core/records/metric.ts';
import type { Service } from '../core/service.ts';
import { parseRfc3339 } from '../core/time.ts';
import { startCollect } from './collect.ts';
import { MemoryBus, MemoryState, testTelemetry, until } from './testing/fakes.ts';
import { instanceOf, ScriptedRuntime } from './testing/runtime.ts';

let folder: string;
let bus: MemoryBus;
let state: MemoryState;
let runtime: ScriptedRuntime;
let telemetry: ReturnType<typeof testTelemetry>;
let service: Service | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-collect-'));
  bus = new MemoryBus();
  state = new MemoryState();
  runtime = new ScriptedRuntime();
});
afterEach(async () => {
  await service?.stop();
  service = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function start(
  sources: object = {},
  rest: object = {},
  clock = systemClock,
): Promise<Service> {
  telemetry = testTelemetry(clock);
  const config = reflexarcSchema.parse({
    host: 'h',
    sources: { host_metrics: 0, ...sources, docker: { metrics: 0, ...dockerOf(sources) } },
    ...rest,
  });
  service = await startCollect({ telemetry, config, bus, state, runtimes: [runtime] });
  return service;
}
const dockerOf = (sources: object): object => (sources as { docker?: object }).docker ?? {};

async function restart(sources: object = {}): Promise<void> {
  await service?.stop();
  await start(sources);
}

const entry = (log: string, at: string, stream = 'stdout'): string =>
  `${JSON.stringify({ log, stream, time: `2026-01-01T00:00:${at}Z` })}\n`;
const lines = (): string[] => bus.logs().map((record) => record.line);
const json = (changes: Partial<Instance> = {}): Instance =>
  instanceOf({ log: { format: 'json-file', path: join(folder, 'c1-json.log') }, ...changes });
const metric = async (name: string): Promise<string> => {
  const text = await telemetry.metrics.getSingleMetricAsString(`reflexarc_collect_${name}`);
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
};

describe('docker logs', () => {
  it('become records with the labels, fields, level, time and start of their container', async () => {
    writeFileSync(join(folder, 'c1-json.log'), entry('ERROR boom\n', '01.5'));
    runtime.put(json());
    await start({ docker: { labels: ['com.example/tier', 'absent'] } }, { labels: { site: 'x' } });
    await until(() => bus.logs().length === 1);
    const [record] = bus.logs();
    expect(record).toMatchObject({
      timestamp: '2026-01-01T00:00:01.500000000Z',
      position: 0,
      line: 'ERROR boom',
      stream: {
        labels: {
          service: 'web',
          project: 'shop',
          container: 'web-1',
          host: 'h',
          stream: 'stdout',
          level: 'error',
          image: 'nginx:1',
          com_example_tier: 'front',
          site: 'x',
        },
        resource: {
          'container.id': 'c1',
          'log.level': 'error',
          'reflexarc.source': 'docker:c1',
          'reflexarc.start': '2026-01-01T00:00:00.000000000Z',
          'orchestrator.type': 'compose',
          'container.image.hash.all': 'sha256:1',
        },
      },
    });
    expect(Object.keys(record!.stream.labels)).toHaveLength(9);
  });

  it('go on where they were after a restart, and begin again where the checkpoint is corrupt', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('a\n', '01'));
    runtime.put(json());
    await start();
    await until(() => lines().length === 1);
    await restart();
    appendFileSync(path, entry('b\n', '02'));
    await until(() => lines().length === 2);
    await service?.stop();
    state.values.set('collect/logs/docker/c1', { files: 'x' });
    await start();
    await until(() => lines().length === 4);
    expect(lines()).toEqual(['a', 'b', 'a', 'b']);
    expect(new Set(bus.logs().map((record) => record.id)).size).toBe(2);
    expect(await metric('bad_checkpoints_total')).toMatch(/ 1$/);
  });

  it('joins pieces for each output, also over a restart', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('one-', '01') + entry('err\n', '02', 'stderr') + entry('two-', '03'));
    runtime.put(json());
    await start();
    await until(() => lines().length === 1);
    await restart();
    appendFileSync(path, entry('three\n', '04') + entry('next\n', '05'));
    await until(() => lines().includes('next'));
    const known = new Map(bus.logs().map((record) => [record.id, record]));
    expect([...known.values()].map((record) => record.line)).toEqual([
      'err',
      'one-two-three',
      'next',
    ]);
    const positions = [...known.values()].map((record) => record.position as number);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  });

  it('keep what is odd, cut what is too long, and give what is no JSON to the dead letters', async () => {
    const path = join(folder, 'c1-json.log');
    const pieces = Array.from({ length: 20 }, () => entry('é'.repeat(100), '02')).join('');
    writeFileSync(
      path,
      `${entry('\n', '01')}${pieces}${entry('end\n', '02')}not json\n{"log":1}\n${entry('\u0000\u001b[31mred\u001b[0m\r\n', '03')}`,
    );
    runtime.put(json());
    await start({ max_line: 1001 });
    await until(() => lines().length === 3);
    expect(lines()).toEqual(['', 'é'.repeat(500), '\u0000\u001b[31mred\u001b[0m']);
    expect(bus.logs()[1]?.fields).toEqual({ 'reflexarc.truncated_bytes': 4003 - 1000 });
    const dead = bus.logs('dead-letters');
    expect(dead.map((record) => record.line)).toEqual(['not json', '{"log":1}']);
    expect(dead[0]?.fields).toMatchObject({
      'log.file.path': path,
      'reflexarc.metadata': {
        reason: expect.stringContaining('not a line of a json-file log') as string,
        topic: 'logs',
        file: path,
        offset: expect.stringMatching(/^\d+$/) as string,
      },
    });
    expect(dead[0]?.stream.labels).toEqual({
      ...bus.logs()[0]?.stream.labels,
      stream: 'dead-letters',
      level: 'error',
    });
    expect(await metric('dead_letters_total')).toContain('{reason="not_json"} 2');
    expect(await metric('truncated_lines_total')).toMatch(/ 1$/);
  });

  it('read a removed container to its end, with its unfinished line, and forget it', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('a\n', '01'));
    runtime.put(json());
    await start();
    await until(() => lines().length === 1);
    appendFileSync(path, entry('b\n', '02') + entry('no end', '03'));
    rmSync(path);
    runtime.remove('c1');
    await until(() => lines().length === 3);
    expect(lines()).toEqual(['a', 'b', 'no end']);
    await until(() => !state.values.has('collect/logs/docker/c1'));
  });

  it('give out an unfinished line when its run has ended', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('a\n', '01') + entry('panic', '01.5', 'stderr'));
    runtime.put(json());
    await start();
    await until(() => lines().length === 1);
    runtime.emit(event('die', '02', { instance: json(), attributes: { exit_code: '1' } }));
    await until(() => lines().includes('panic'));
    await restart();
    const startedAt = '2026-01-01T00:00:05.000000000Z';
    runtime.emit(event('start', '05', { instance: json({ startedAt }), startedAt }));
    appendFileSync(path, entry('again\n', '05.5', 'stderr'));
    await until(() => lines().includes('again'));
    const known = new Map(bus.logs().map((record) => [record.id, record.line]));
    expect([...known.values()].filter((line) => !line.startsWith('action'))).toEqual([
      'a',
      'panic',
      'again',
    ]);
  });

  it('name the run that wrote a line, and wait for a run that is not known yet', async () => {
    const path = join(folder, 'c1-json.log');
    const first = json();
    writeFileSync(path, entry('first\n', '01'));
    runtime.put(first);
    await start();
    await until(() => lines().length === 1);
    runtime.emit(event('die', '02', { instance: first, attributes: { exit_code: '1' } }));
    await until(() => lines().length === 2);
    appendFileSync(path, entry('old\n', '01.9') + entry('second\n', '04.9'));
    await until(() => lines().includes('old'));
    const startedAt = '2026-01-01T00:00:05.000000000Z';
    runtime.emit(event('start', '05', { instance: json({ startedAt }), startedAt }));
    await until(() => lines().includes('second'));
    const starts = bus
      .logs()
      .filter((record) => record.stream.labels['stream'] === 'stdout')
      .map((record) => [record.line, record.stream.resource['reflexarc.start']?.slice(17, 19)]);
    expect(starts).toEqual([
      ['first', '00'],
      ['old', '00'],
      ['second', '05'],
    ]);
  });

  it.each([
    ['a label of ours', { labels: { 'reflexarc.self': 'true' } }, {}],
    ['a component', { labels: { 'reflexarc.component': 'ingest' } }, {}],
    ['an excluded service', { service: 'secret-api' }, { exclude: ['secret-*'] }],
  ])('are not read: %s', async (_name, changes: Partial<Instance>, docker) => {
    writeFileSync(join(folder, 'c1-json.log'), entry('a\n', '01'));
    const other = json({ id: 'c2', log: { format: 'json-file', path: join(folder, 'c2.log') } });
    writeFileSync(join(folder, 'c2.log'), entry('other\n', '01'));
    runtime.put(json(changes));
    runtime.put(other);
    await start({ docker });
    await until(() => lines().length > 0);
    expect(lines()).toEqual(['other']);
  });

  it('say once that a driver keeps nothing', async () => {
    runtime.put(instanceOf());
    await start();
    runtime.put(instanceOf());
    runtime.put(instanceOf());
    await until(() => telemetry.said.some((line) => line.includes('keeps nothing')));
    expect(telemetry.said.filter((line) => line.includes('keeps nothing'))).toHaveLength(1);
  });
});

describe('logs through the API', () => {
  const followed = instanceOf({ log: { format: 'api', driver: 'journald' } });
  const put = (text: string, at: string, partial = false): void => {
    const list = runtime.output.get('c1') ?? [];
    runtime.output.set('c1', list);
    const timestamp = `2026-01-01T00:00:${at}Z`;
    list.push({ stream: 'stdout', timestamp, data: Buffer.from(text), partial });
  };

  it('are resumed by time, without repeats, in spite of failures', async () => {
    runtime.put(followed);
    put('a', '01.000000001');
    put('b', '01.000000002');
    await start();
    await until(() => lines().length === 2);
    await restart();
    runtime.failure = new ReflexarcError('unavailable', 'away');
    put('c-', '01.5', true);
    put('d', '02');
    put('e', '01.9');
    await until(() => lines().length === 4);
    expect(lines()).toEqual(['a', 'b', 'c-d', 'e']);
    expect(bus.logs().map((record) => record.position)).toEqual([
      [1767225601000000, 0],
      [1767225601000000, 1],
      [1767225602000000, 0],
      [1767225602000000, 1],
    ]);
    expect(runtime.asked.slice(1)).toContain(parseRfc3339('2026-01-01T00:00:00Z'));
  });

  it('are what is left where the files are out of reach', async () => {
    runtime.put(instanceOf({ log: { format: 'json-file', path: join(folder, 'no/such/c1.log') } }));
    put('a', '01');
    await start();
    await until(() => lines().length === 1);
    expect(telemetry.said.join()).toContain('out of reach');
  });
});

function event(action: string, at: string, rest: Partial<RuntimeEvent> = {}): RuntimeEvent {
  const time = parseRfc3339(`2026-01-01T00:00:${at}Z`)!;
  return { time, action, instance: instanceOf(), attributes: {}, ...rest };
}

describe('events', () => {
  it('become records, once also after a restart, without the noise', async () => {
    runtime.put(instanceOf());
    await start();
    await until(() => service?.ready().ok === true);
    runtime.emit(event('exec_create: sh', '01'));
    runtime.emit(
      event('die', '02', {
        attributes: { exit_code: '1', by: 'reflexarc' },
        startedAt: '2026-01-01T00:00:00Z',
      }),
    );
    await until(() => lines().length === 1);
    await service?.stop();
    runtime.emit(event('oom', '02.5'));
    await start();
    await until(() => lines().length === 2);
    expect(lines()).toEqual([
      'action=die exit_code=1 container=web-1 service=web project=shop image=nginx:1 by=reflexarc',
      'action=oom container=web-1 service=web project=shop image=nginx:1',
    ]);
    expect(bus.logs()[0]).toMatchObject({
      timestamp: '2026-01-01T00:00:02.000000000Z',
      stream: {
        labels: { stream: 'events', level: 'error', service: 'web', container: 'web-1' },
        resource: { 'container.id': 'c1', 'reflexarc.start': '2026-01-01T00:00:00.000000000Z' },
      },
      fields: { 'event.kind': 'event', 'event.action': 'die', 'event.exit_code': '1' },
    });
  });
});

describe('files', () => {
  it('are found by pattern, followed through rotation, and read once', async () => {
    const path = join(folder, 'app.log');
    writeFileSync(path, 'first\r\nERROR: two\n');
    symlinkSync(path, join(folder, 'link.log'));
    await start({ files: [{ paths: [`${folder}/*.log*`], labels: { team: 'a' } }] });
    await until(() => lines().length === 2);
    renameSync(path, `${path}.1`);
    writeFileSync(path, 'three\n');
    await until(() => lines().length === 3);
    await restart({ files: [{ paths: [`${folder}/*.log*`], labels: { team: 'a' } }] });
    appendFileSync(path, 'four\n');
    await until(() => lines().length === 4);
    expect(lines()).toEqual(['first', 'ERROR: two', 'three', 'four']);
    expect(bus.logs()[1]?.stream.labels).toEqual({
      service: 'app',
      host: 'h',
      team: 'a',
      level: 'error',
    });
  });

  it('with a line of any length cost no more memory than the limit', async () => {
    const path = join(folder, 'app.log');
    const bytes = 64 * 1024 ** 2;
    writeFileSync(path, 'before\n');
    for (let written = 0; written < bytes; written += 1024 ** 2) {
      appendFileSync(path, 'x'.repeat(1024 ** 2));
    }
    appendFileSync(path, '\nafter\n');
    await start({ files: [{ paths: [path] }], max_line: 1000 });
    await until(() => lines().length === 3);
    expect(lines()).toEqual(['before', 'x'.repeat(1000), 'after']);
    expect(bus.logs()[1]).toMatchObject({
      position: 7,
      fields: { 'reflexarc.truncated_bytes': bytes - 1000 },
    });
  });

  it('are read on after a long line, without a notice and without the poll', async () => {
    const path = join(folder, 'app.log');
    writeFileSync(path, `${'x'.repeat(2 * 1024 ** 2)}\nafter\n`);
    // The tailer's look from time to time, at 100 ms, never comes.
    const still: Clock = {
      ...systemClock,
      after: (ms, run) => (ms === 100 ? { cancel: () => undefined } : systemClock.after(ms, run)),
    };
    await start({ files: [{ paths: [path] }], max_line: 1000 }, {}, still);
    await until(() => lines().length === 2);
    expect(lines()).toEqual(['x'.repeat(1000), 'after']);
  });

  it('begin at the end where that is wanted', async () => {
    const path = join(folder, 'app.log');
    writeFileSync(path, 'old\nha');
    await start({ files: [{ paths: [path], from: 'end', service: 'mine' }] });
    await until(() => state.values.has(`collect/files/${path}`));
    await service?.stop();
    appendFileSync(path, 'lf\nnew\n');
    await start({ files: [{ paths: [path], from: 'end', service: 'mine' }] });
    await until(() => lines().length === 2);
    expect(lines()).toEqual(['half', 'new']);
    expect(bus.logs()[0]?.stream.labels['service']).toBe('mine');
  });
});

describe('metrics', () => {
  it('carry the names and labels of cAdvisor, and end with a marker', async () => {
    runtime.stat = {
      timestamp: Date.UTC(2026, 0, 1),
      cpuSeconds: 1.5,
      memoryWorkingSet: 10,
      network: {
        eth0: {
          rxBytes: 1,
          rxPackets: 2,
          rxErrors: 3,
          rxDropped: 4,
          txBytes: 5,
          txPackets: 6,
          txErrors: 7,
          txDropped: 8,
        },
      },
      blockIo: { sda: { readBytes: 1, writeBytes: 2, reads: 3, writes: 4 } },
    };
    runtime.put(instanceOf({ health: 'healthy', restarts: 3 }));
    await start({ docker: { metrics: '20ms', labels: ['team'] } });
    const of = (name: string): number[] =>
      bus.samples().flatMap((one) => (one.labels['__name__'] === name ? [one.value] : []));
    await until(() => of('container_cpu_usage_seconds_total').length > 0);
    const found = bus
      .samples()
      .find((one) => one.labels['__name__'] === 'container_network_receive_bytes_total');
    expect(found).toEqual({
      labels: {
        __name__: 'container_network_receive_bytes_total',
        service: 'web',
        project: 'shop',
        container: 'web-1',
        host: 'h',
        id: '/docker/c1',
        name: 'web-1',
        image: 'nginx:1',
        container_label_team: 'a',
        interface: 'eth0',
      },
      value: 1,
      timestamp: Date.UTC(2026, 0, 1),
      origin: { id: 'c1', startedAt: '2026-01-01T00:00:00.000000000Z' },
    });
    expect(of('container_health_state')[0]).toBe(1);
    expect(of('container_restarts_total')[0]).toBe(3);
    expect(of('up').at(-1)).toBe(1);
    runtime.remove('c1');
    await until(() => of('container_memory_working_set_bytes').some(isStale));
    const ends = of('container_memory_working_set_bytes').filter(isStale);
    const ups = of('up').length;
    await until(() => of('up').length > ups + 2);
    expect(ends).toHaveLength(1);
    expect(of('container_memory_working_set_bytes').filter(isStale)).toHaveLength(1);
  });

  it('of the host come from /proc', async () => {
    await start({ host_metrics: '1s' });
    await until(() => bus.samples().length > 0);
    const names = new Set(bus.samples().map((sample) => sample.labels['__name__']));
    for (const name of [
      'node_cpu_seconds_total',
      'node_load1',
      'node_memory_MemAvailable_bytes',
      'node_filesystem_avail_bytes',
      'node_disk_read_bytes_total',
      'node_network_receive_bytes_total',
      'node_boot_time_seconds',
      'node_time_seconds',
      'node_uname_info',
      'up',
    ]) {
      expect(names).toContain(name);
    }
  });
});

describe('a bus', () => {
  it('that refuses is tried again, in order, and named by ready', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('a\n', '01'));
    let refusals = 2;
    bus.before = () => {
      if (refusals-- > 0) throw new ReflexarcError('disk_full', 'no space left');
    };
    runtime.put(json());
    await start();
    await until(() => service?.ready().ok === false && refusals === 1);
    expect(service?.ready().reason).toContain('no space left');
    await until(() => lines().length === 1);
    expect(service?.ready().ok).toBe(true);
    expect(await metric('publish_retries_total')).toContain('{code="disk_full"} 2');
  });

  it('that never answers keeps the checkpoint where it is, and stopping bounded', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(path, entry('a\n', '01'));
    let asked = false;
    bus.before = () => {
      asked = true;
      throw new ReflexarcError('unavailable', 'away');
    };
    runtime.put(json());
    await start();
    await until(() => asked);
    await service?.stop();
    bus.before = () => undefined;
    await start();
    await until(() => lines().length === 1);
  });

  it('that takes no large message gets smaller ones; what is alone too large is a dead letter', async () => {
    const path = join(folder, 'c1-json.log');
    writeFileSync(
      path,
      entry('a\n', '01') + entry(`${'x'.repeat(3000)}\n`, '02') + entry('c\n', '03'),
    );
    bus.before = (topic, messages) => {
      if (topic !== 'logs') return;
      if (messages.some((message) => message.value.byteLength > 2000)) {
        throw new ReflexarcError('limit_exceeded', 'too large');
      }
    };
    runtime.put(json());
    await start();
    await until(() => lines().length === 2);
    expect(lines()).toEqual(['a', 'c']);
    const [dead] = bus.logs('dead-letters');
    const [line] = bus.logs();
    expect(bus.logs('dead-letters')).toHaveLength(1);
    expect(dead?.stream.labels).toEqual({
      ...line?.stream.labels,
      stream: 'dead-letters',
      level: 'error',
    });
    expect(dead?.id).not.toBe(line?.id);
    expect(dead?.fields?.['reflexarc.metadata']).toMatchObject({ reason: 'too large' });
  });
});
