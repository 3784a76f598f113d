import { readFileSync } from 'node:fs';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { OutputLine, Runtime } from '../../core/contracts/runtime.ts';
import { parseRfc3339 } from '../../core/time.ts';
import { Containers, describeDocker } from '../../test/support/docker.ts';
import { until } from '../../test/support/wait.ts';
import { openDocker } from './docker.ts';

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(): Promise<{ runtime: Runtime; made: Containers }> {
  const made = new Containers();
  cleanups.push(() => made.remove());
  const runtime = await openDocker({
    config: {
      host: 'unix:///var/run/docker.sock',
      log_root: '/var/lib/docker',
      resync: 60_000,
    },
    telemetry: { log: pino({ level: 'silent' }), metrics: new Registry(), clock: systemClock },
  });
  cleanups.push(() => runtime.close());
  return { runtime, made };
}

function follow(runtime: Runtime, id: string, since?: bigint) {
  const stop = new AbortController();
  cleanups.push(() => stop.abort());
  const lines: OutputLine[] = [];
  const done = (async () => {
    for await (const line of runtime.follow(id, since, stop.signal)) {
      lines.push({ ...line, data: Buffer.from(line.data) });
    }
  })();
  return { lines, done };
}

const text = ({ data }: OutputLine): string => Buffer.from(data).toString();

describeDocker('the output of a container', () => {
  it('is in the file that is named', async () => {
    const { runtime, made } = await open();
    const id = await made.run('web', 'echo hello');
    await made.docker.getContainer(id).wait();
    const instance = await runtime.inspect(id);
    if (instance?.log.format !== 'json-file') throw new Error('no json-file');
    expect(JSON.parse(readFileSync(instance.log.path, 'utf8'))).toMatchObject({
      log: 'hello\n',
      stream: 'stdout',
    });
  });

  it.each(['json-file', 'local'])(
    'is followed over its restarts, each line once: %s',
    async (driver) => {
      const { runtime, made } = await open();
      const id = await made.run('web', 'echo out; echo err >&2; sleep 0.1', {
        HostConfig: { LogConfig: { Type: driver, Config: {} } },
      });
      const { lines, done } = follow(runtime, id);
      await until('the first run', () => lines.length === 2);
      await made.docker.getContainer(id).wait();
      await runtime.start(id);
      await until('the second run', () => lines.length === 4);
      expect(lines.filter(({ stream }) => stream === 'stdout').map(text)).toEqual(['out', 'out']);
      expect(lines.filter(({ stream }) => stream === 'stderr').map(text)).toEqual(['err', 'err']);
      expect(lines.every(({ partial }) => !partial)).toBe(true);
      // From a line on, and with it.
      const third = lines[2]!;
      const again = follow(runtime, id, parseRfc3339(third.timestamp));
      await until('the rest', () => again.lines.length === 2);
      expect(again.lines.map(({ timestamp }) => timestamp)).toEqual(
        lines.slice(2).map(({ timestamp }) => timestamp),
      );
      // It ends when the container is gone, and only then.
      await made.remove();
      await done;
      await again.done;
      expect(lines.length).toBe(4);
    },
  );

  it('keeps every byte, and the pieces of long lines', async () => {
    const { runtime, made } = await open();
    const id = await made.run(
      'web',
      String.raw`head -c 40960 /dev/zero | tr '\0' a; echo; printf 'a\377\000\033[31mb\n\n'; printf end`,
      { HostConfig: { LogConfig: { Type: 'local', Config: {} } } },
    );
    const { lines } = follow(runtime, id);
    await until('all lines', () => lines.length === 6);
    expect(lines.map(({ data, partial }) => [data.length, partial])).toEqual([
      [16_384, true],
      [16_384, true],
      [8192, false],
      [9, false],
      [0, false],
      [3, false],
    ]);
    expect(Buffer.from(lines[3]!.data).toString('latin1')).toBe('a\xff\0\x1b[31mb');
  });

  it('of a terminal has one stream', async () => {
    const { runtime, made } = await open();
    const id = await made.run(
      'web',
      String.raw`echo out; echo err >&2; head -c 40960 /dev/zero | tr '\0' a; echo; sleep 100`,
      { Tty: true },
    );
    const { lines } = follow(runtime, id);
    await until('all lines', () => lines.filter(({ partial }) => !partial).length === 3);
    expect(lines.map(({ stream }) => stream)).toEqual(lines.map(() => 'stdout'));
    expect(lines.slice(0, 2).map(text)).toEqual(['out', 'err']);
    expect(lines.slice(2).map(({ data, partial }) => [data.length, partial])).toEqual([
      [16_384, true],
      [16_384, true],
      [8192, false],
    ]);
  });

  it('that the driver does not keep is not read', async () => {
    const { runtime, made } = await open();
    const id = await made.run('web', 'echo hello', {
      HostConfig: { LogConfig: { Type: 'none', Config: {} } },
    });
    expect((await runtime.inspect(id))?.log).toEqual({ format: 'none', driver: 'none' });
    await expect(follow(runtime, id).done).rejects.toMatchObject({ code: 'not_supported' });
  });

  it('is none where there is no container', async () => {
    const { runtime } = await open();
    const { lines, done } = follow(runtime, 'not-there');
    await done;
    expect(lines).toEqual([]);
  });
});
