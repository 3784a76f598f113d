import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';
import type { Instance, Runtime, RuntimeEvent } from '../../core/contracts/runtime.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { until } from '../../test/support/wait.ts';
import { openIn } from '../embedded/testing.ts';
import { openLocal } from './local.ts';
import { identityOf } from './proc.ts';

let folder: string;
let runtimes: Runtime[];
let others: ChildProcess[];
let clocks: ManualClock[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-local-'));
  runtimes = [];
  others = [];
  clocks = [];
});
afterEach(async () => {
  let closed = false;
  const closing = Promise.all(runtimes.map((runtime) => runtime.close())).finally(() => {
    closed = true;
  });
  // A group's rest may take a moment to end, and its time is the test's.
  await until('the end of all', async () => {
    for (const clock of clocks) await clock.advance(25);
    return closed;
  });
  await closing;
  for (const other of others) other.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const config = (over: Partial<ProcessConfig> & { script?: string } = {}): ProcessConfig => {
  const { script = 'while true; do sleep 0.05; done', ...rest } = over;
  return {
    name: 'web',
    command: ['sh', '-c', script],
    cwd: folder,
    env: {},
    labels: {},
    restart: 'no',
    stop_grace: 500,
    ...rest,
  };
};

async function open(processes: ProcessConfig[], clock: Clock = systemClock): Promise<Runtime> {
  const runtime = await openLocal({
    processes,
    folder: join(folder, 'data'),
    telemetry: { log: pino({ level: 'silent' }), metrics: new Registry(), clock },
  });
  runtimes.push(runtime);
  if (clock instanceof ManualClock) clocks.push(clock);
  return runtime;
}

const get = async (runtime: Runtime, name = 'web'): Promise<Instance> =>
  (await runtime.inspect(`local:${name}`))!;

function watch(runtime: Runtime): RuntimeEvent[] {
  const events: RuntimeEvent[] = [];
  void (async () => {
    const { signal } = new AbortController();
    for await (const news of runtime.watch({ since: 0n }, signal)) {
      if (news.kind === 'event') events.push(news.event);
    }
  })();
  return events;
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

describe('output', () => {
  it('goes to files, each stream to its own, over all runs', async () => {
    const runtime = await open([config({ script: 'echo out; echo err >&2' })]);
    const { log } = await until('its end', async () => {
      const one = await get(runtime);
      return one.state === 'exited' && one;
    });
    await runtime.start('local:web');
    if (log.format !== 'plain') throw new Error('no files');
    await until('two runs', () => read(log.stdout) === 'out\nout\n');
    await until('two runs', () => read(log.stderr) === 'err\nerr\n');
  });

  it('goes to a new file at a start when the old one is too large; four old ones are kept', async () => {
    const runtime = await open([config({ script: 'cat run; sleep 100' })]);
    const file = join(folder, 'data/web/stdout.log');
    for (let run = 1; run <= 6; run++) {
      writeFileSync(join(folder, 'run'), `${run}\n`);
      await runtime.restart('local:web', { grace: 0 });
      await until('its line', () => read(file) === `${run}\n`);
      if (run < 6) truncateSync(file, 16 * 1024 ** 2);
    }
    expect([1, 2, 3, 4].map((n) => statSync(`${file}.${n}`).size)).toEqual(
      [1, 2, 3, 4].map(() => 16 * 1024 ** 2),
    );
    expect(readFileSync(`${file}.1`, 'latin1').startsWith('5\n')).toBe(true);
    expect(existsSync(`${file}.5`)).toBe(false);
  });

  it('is not followed, and says where it is', async () => {
    const runtime = await open([config()]);
    expect(() => runtime.follow('local:web', undefined, new AbortController().signal)).toThrow(
      /in files/,
    );
  });
});

describe('what a process started', () => {
  // A child that ignores the request to end, and leaves its name behind.
  const child = `sh -c 'trap "" TERM; echo $$ >child; while true; do sleep 0.05; done' & `;
  const childPid = (): Promise<number> =>
    until('the child', () => Number(read(join(folder, 'child')).trim()) || undefined);
  const gone = (pid: number): Promise<boolean> =>
    until('the child to be gone', () => identityOf(pid) === undefined);

  it('ends with it on a stop', async () => {
    const runtime = await open([config({ script: `${child} wait` })]);
    const pid = await childPid();
    await runtime.stop('local:web', { grace: 50 });
    await gone(pid);
  });

  it('ends with it on a crash, before it is started again', async () => {
    const runtime = await open([config({ script: `${child} sleep 0.2; exit 1`, stop_grace: 50 })]);
    const pid = await childPid();
    await until('the crash', async () => (await get(runtime)).state === 'exited');
    await runtime.start('local:web');
    expect(identityOf(pid)).toBeUndefined();
  });

  it('ends with it when the runtime is closed', async () => {
    const runtime = await open([config({ script: `${child} wait` })]);
    const pid = await childPid();
    await runtime.close();
    await gone(pid);
    expect(existsSync(join(folder, 'data/web/run.json'))).toBe(false);
  });
});

describe.runIf(process.platform === 'linux')('files that the program has open', () => {
  it('are open in no process and in no health check', async () => {
    const own = join(folder, 'own');
    const embedded = await openIn(own);
    try {
      const list = (to: string): string => `ls -l /proc/$$/fd >${to}.new; mv ${to}.new ${to}`;
      await open([
        config({
          script: `${list('process')}; sleep 100`,
          health: {
            exec: ['sh', '-c', list('health')],
            interval: 10,
            timeout: 5000,
            retries: 1,
            start_period: 0,
          },
        }),
      ]);
      for (const name of ['process', 'health']) {
        const file = join(folder, name);
        await until(name, () => existsSync(file));
        expect(read(file)).toContain('0 -> ');
        expect(read(file)).not.toContain(own);
      }
    } finally {
      await embedded.close();
    }
  });
});

describe('what cannot be started', () => {
  it('hinders nothing else, and says why', async () => {
    const runtime = await open([
      config({ name: 'none', command: ['/not/there'] }),
      config({ name: 'folder', command: ['/tmp'] }),
      config(),
    ]);
    expect(await get(runtime, 'none')).toMatchObject({ state: 'exited', exitCode: 127 });
    expect(await get(runtime, 'folder')).toMatchObject({ state: 'exited', exitCode: 126 });
    expect(await get(runtime)).toMatchObject({ state: 'running' });
    await expect(runtime.start('local:none')).rejects.toMatchObject({ code: 'bad_config' });
    await expect(runtime.restart('local:folder', {})).rejects.toMatchObject({ code: 'permission' });
  });

  it.each([
    ['two of one name', [config(), config()]],
    [
      'a health check of nothing',
      [config({ health: { interval: 1, timeout: 1, retries: 1, start_period: 0 } })],
    ],
    [
      'no address',
      [config({ health: { tcp: 'x', interval: 1, timeout: 1, retries: 1, start_period: 0 } })],
    ],
    [
      'no URL',
      [config({ health: { http: 'x:y', interval: 1, timeout: 1, retries: 1, start_period: 0 } })],
    ],
  ])('is refused: %s', async (_, processes) => {
    await expect(open(processes)).rejects.toMatchObject({ code: 'bad_config' });
  });
});

describe('restart policy', () => {
  it('waits twice as long each time, and not at all after a stop', async () => {
    const clock = new ManualClock();
    const runtime = await open([config({ script: 'exit 3', restart: 'on-failure' })], clock);
    for (const wait of [100, 200, 400]) {
      await until('its end', async () => (await get(runtime)).state === 'restarting');
      const { restarts } = await get(runtime);
      await clock.advance(wait - 1);
      expect((await get(runtime)).restarts).toBe(restarts);
      await clock.advance(1);
      await until('the next', async () => (await get(runtime)).restarts === restarts + 1);
    }
    await until('its end', async () => (await get(runtime)).state === 'restarting');
    await runtime.stop('local:web', {});
    await clock.advance(60_000);
    expect(await get(runtime)).toMatchObject({ state: 'exited', restarts: 3, stoppedByHand: true });
  });

  it('tries again what could not be started at all, as often', async () => {
    const clock = new ManualClock();
    const runtime = await open(
      [config({ command: [join(folder, 'late')], restart: 'always' })],
      clock,
    );
    for (const wait of [100, 200]) {
      expect(await get(runtime)).toMatchObject({ state: 'restarting', exitCode: 127 });
      const { restarts } = await get(runtime);
      await clock.advance(wait);
      await until('the next', async () => {
        const one = await get(runtime);
        return one.restarts === restarts + 1 && one.finishedAt !== undefined;
      });
    }
    writeFileSync(join(folder, 'late'), '#!/bin/sh\nsleep 100\n', { mode: 0o755 });
    await until('its start', async () => {
      await clock.advance(100);
      return (await get(runtime)).state === 'running';
    });
  });

  it('on-failure leaves a good end alone', async () => {
    const runtime = await open([config({ script: 'exit 0', restart: 'on-failure' })]);
    await until('its end', async () => (await get(runtime)).state === 'exited');
    expect((await get(runtime)).restartPolicy).toBe('on-failure');
  });
});

/** A Reflexarc of its own, to be killed. */
async function other(processes: ProcessConfig[]): Promise<ChildProcess> {
  const script = join(folder, 'other.ts');
  const from = (path: string): string => JSON.stringify(join(import.meta.dirname, path));
  writeFileSync(
    script,
    `import pino from ${from('../../node_modules/pino/pino.js')};
     import { Registry } from ${from('../../node_modules/prom-client/index.js')};
     import { systemClock } from ${from('../../core/clock.ts')};
     import { openLocal } from ${from('./local.ts')};
     await openLocal({
       processes: ${JSON.stringify(processes)},
       folder: ${JSON.stringify(join(folder, 'data'))},
       telemetry: { log: pino({ level: 'silent' }), metrics: new Registry(), clock: systemClock },
     });
     console.log('open');
     setInterval(() => {}, 1000);`,
  );
  const started = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  others.push(started);
  await once(started.stdout, 'data');
  return started;
}

async function kill(one: ChildProcess): Promise<void> {
  const exited = once(one, 'exit');
  one.kill('SIGKILL');
  await exited;
}

const recorded = (): { pid: number; startedAt: string } =>
  JSON.parse(read(join(folder, 'data/web/run.json')));

describe('a process that outlives a killed Reflexarc', () => {
  const counting =
    'trap "echo bye; exit 0" TERM; i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done';

  it('is taken up and not started twice; its lines go on', async () => {
    const first = await other([config({ script: counting })]);
    const { pid, startedAt } = recorded();
    await kill(first);
    const runtime = await open([config({ script: counting })]);
    expect(await get(runtime)).toMatchObject({ state: 'running', startedAt });
    expect(recorded().pid).toBe(pid);
    expect((await runtime.stats('local:web'))?.processes).toBeGreaterThan(0);
    const events = watch(runtime);
    await runtime.stop('local:web', {});
    expect(identityOf(pid)).toBeUndefined();
    await until('its end', () => events.some(({ action }) => action === 'stop'));
    expect(events.map(({ action }) => action)).toEqual(['kill', 'die', 'stop']);
    expect(events[1]?.startedAt).toBe(startedAt);
    const lines = read(join(folder, 'data/web/stdout.log')).trimEnd().split('\n');
    expect(lines.pop()).toBe('bye');
    expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
  });

  it('is seen to crash, and restarted', async () => {
    const first = await other([config({ script: counting, restart: 'on-failure' })]);
    const { pid, startedAt } = recorded();
    await kill(first);
    const runtime = await open([config({ script: counting, restart: 'on-failure' })]);
    process.kill(pid, 'SIGKILL');
    const again = await until('the next run', async () => {
      const one = await get(runtime);
      return one.state === 'running' && one.startedAt !== startedAt && one;
    });
    expect(again).toMatchObject({ restarts: 1, stoppedByHand: false });
  });

  it('is told dead when it died unseen, and started', async () => {
    const first = await other([config({ script: counting })]);
    const { pid, startedAt } = recorded();
    await kill(first);
    process.kill(-pid, 'SIGKILL');
    await until('its end', () => identityOf(pid) === undefined);
    const runtime = await open([config({ script: counting })]);
    const events = watch(runtime);
    await until('both', () => events.length === 2);
    expect(events[0]).toMatchObject({ action: 'die', startedAt, attributes: { unseen: 'true' } });
    expect(events[1]).toMatchObject({ action: 'start' });
  });

  it('is started anew when its configuration changed', async () => {
    const first = await other([config({ script: counting })]);
    const { pid } = recorded();
    await kill(first);
    const runtime = await open([config({ script: 'sleep 100' })]);
    expect(identityOf(pid)).toBeUndefined();
    expect((await get(runtime)).state).toBe('running');
  });

  it('is ended when it is not configured any more', async () => {
    const first = await other([config({ script: counting })]);
    const { pid } = recorded();
    await kill(first);
    await open([config({ name: 'other' })]);
    await until('its end', () => identityOf(pid) === undefined);
  });

  it('stays stopped if someone stopped it', async () => {
    mkdirSync(join(folder, 'data/web'), { recursive: true });
    const runtime = await open([config()]);
    await runtime.stop('local:web', {});
    const record = read(join(folder, 'data/web/run.json'));
    await runtime.close();
    writeFileSync(join(folder, 'data/web/run.json'), record);
    const next = await open([config()]);
    expect(await get(next)).toMatchObject({ state: 'exited', stoppedByHand: true });
    await next.start('local:web');
    expect(await get(next)).toMatchObject({ state: 'running', stoppedByHand: false });
  });

  it('is started when its record cannot be read', async () => {
    mkdirSync(join(folder, 'data/web'), { recursive: true });
    writeFileSync(join(folder, 'data/web/run.json'), '{"pid":');
    const runtime = await open([config()]);
    expect((await get(runtime)).state).toBe('running');
  });
});

describe('health', () => {
  const check = { interval: 1000, timeout: 500, retries: 2, start_period: 0 };

  it('follows a port', async () => {
    const server = createServer((socket) => socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const clock = new ManualClock();
    const runtime = await open([config({ health: { ...check, tcp: `127.0.0.1:${port}` } })], clock);
    expect((await get(runtime)).health).toBe('starting');
    await clock.advance(1000);
    await until('health', async () => (await get(runtime)).health === 'healthy');
    server.close();
    await once(server, 'close');
    await until('sickness', async () => {
      await clock.advance(1000);
      return (await get(runtime)).health === 'unhealthy';
    });
  });
});
