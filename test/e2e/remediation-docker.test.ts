import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { reflexarcSchema } from '../../core/config/reflexarc.ts';
import type { Instance, Runtime } from '../../core/contracts/runtime.ts';
import { fingerprint } from '../../core/labels.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import { decodeActions, encodeRecords } from '../../core/records/codec.ts';
import type { Service } from '../../core/service.ts';
import { MemoryBus } from '../../core/testing/memory-bus.ts';
import { MemoryState } from '../../core/testing/memory-state.ts';
import { formatRfc3339 } from '../../core/time.ts';
import { openDocker } from '../../engines/docker/docker.ts';
import { startRemediation } from '../../remediation/remediate.ts';
import { Containers, describeDocker, type RunOptions } from '../support/docker.ts';
import { until } from '../support/wait.ts';

/** Remediation alone on the real Docker Engine: what it does, and above all what it leaves alone. */
describeDocker('remediation on Docker', () => {
  const containers = new Containers();
  let dir: string;
  let bus: MemoryBus;
  let docker: Runtime;
  let remediation: Service;
  const folders: string[] = [];
  let alerts = 0;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-remediation-'));
    await writeFile(
      join(dir, 'remediations.yaml'),
      `remediations:
  - name: heal
    match: ['alertname="Broken"']
    target: '{{ $labels.service }}'
    steps: [{ restart: { grace: 1s }, verify: { within: 20s, healthy_for: 500ms } }]
    limits: { cooldown: 0s, attempts: 5 }
`,
    );
    const telemetry = {
      log: pino({ level: 'silent' }),
      metrics: new Registry(),
      clock: systemClock,
    };
    bus = new MemoryBus(systemClock);
    docker = await openDocker({ config: reflexarcSchema.parse({}).sources.docker, telemetry });
    const state = new MemoryState(systemClock);
    remediation = await startRemediation({ telemetry, dir, bus, state, runtimes: [docker] });
    await until('the view', () => remediation.ready().ok);
  });
  afterEach(async () => {
    await remediation.stop();
    await docker.close();
    await rm(dir, { recursive: true, force: true });
  });
  afterAll(async () => {
    await containers.remove();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  const inspect = async (id: string): Promise<Instance> => {
    const found = await docker.inspect(id);
    if (found === undefined) throw new Error('it is gone');
    return found;
  };

  const isExited = (id: string): Promise<boolean> =>
    inspect(id).then((one) => one.state === 'exited');

  async function fire(on: Instance): Promise<void> {
    const labels = { alertname: 'Broken', service: on.service };
    const now = systemClock.now();
    const origin = {
      id: on.id,
      ...(on.startedAt === undefined ? {} : { startedAt: on.startedAt }),
    };
    const timestamp = formatRfc3339(systemClock.nowNanos());
    const value = encodeRecords([
      {
        id: `e2e-${alerts++}`,
        timestamp: now,
        fingerprint: fingerprint(labels),
        state: 'firing',
        cause: 'transition',
        labels,
        annotations: {},
        activeAt: now,
        startsAt: now,
        value: 1,
        rule: { file: '', group: '', name: 'Broken', kind: 'logql', expr: '', for: 0 },
        evidence: [{ timestamp, text: '', labels, origin }],
        silencedBy: [],
        inhibitedBy: [],
      },
    ]);
    await bus.publish('alerts', [{ key: 'x', value, records: 1 }]);
  }

  const actions = (): ActionRecord[] =>
    bus.messages('actions').flatMap(({ value }) => [...decodeActions(value).records]);
  const phases = (): string[] =>
    actions().map(({ phase, reason }) => (reason === undefined ? phase : `${phase}:${reason}`));
  const last = (phase: string): Promise<unknown> => until(phase, () => phases().at(-1) === phase);

  it('starts what crashed, once', async () => {
    const id = await containers.run('crash', 'sleep 0.2; exit 3');
    await until('the crash', () => isExited(id));
    const before = await inspect(id);
    await fire(before);
    await until('the start', () => phases().includes('done'));
    await fire(before);
    // The new run crashes as well: that is seen at once.
    await until('the end', () => phases().includes('exhausted'));
    expect(phases()).toEqual(['decided', 'started', 'done', 'unverified', 'exhausted']);
    expect((await inspect(id)).startedAt).not.toBe(before.startedAt);
  });

  it('restarts what hangs, and verifies it', async () => {
    const id = await containers.run('hang', 'trap "exit 0" TERM; while :; do sleep 0.1; done');
    const before = await inspect(id);
    await fire(before);
    await last('verified');
    const after = await inspect(id);
    expect(after).toMatchObject({ state: 'running', stoppedByHand: false });
    expect(after.startedAt).not.toBe(before.startedAt);
    const [, started] = actions();
    expect(started).toMatchObject({
      target: {
        runtime: 'docker',
        service: before.service,
        origin: { startedAt: before.startedAt },
      },
    });
  });

  it.each<[what: string, prepare: (id: string) => Promise<void>, options: object, phase: string]>([
    [
      'someone stopped',
      async (id) => {
        await containers.docker.getContainer(id).stop({ t: 0 });
      },
      {},
      'refused:stopped_by_hand',
    ],
    [
      'someone is just stopping',
      async (id) => {
        // Its process heeds no signal but the last.
        containers.docker
          .getContainer(id)
          .stop({ t: 2 })
          .catch(() => undefined);
        await until('the signal', async () => (await inspect(id)).stoppedByHand === true);
        expect((await inspect(id)).state).toBe('running');
      },
      {},
      'refused:stopped_by_hand',
    ],
    [
      'someone paused',
      async (id) => {
        await containers.docker.getContainer(id).pause();
      },
      {},
      'refused:stopped_by_hand',
    ],
    [
      'its owner does not want touched',
      async () => undefined,
      { Labels: { 'reflexarc.remediate': 'false' } },
      'refused:opted_out',
    ],
    [
      'was started again since',
      async (id) => {
        await containers.docker.getContainer(id).restart({ t: 0 });
      },
      {},
      'refused:changed',
    ],
    [
      'is gone',
      async (id) => {
        await containers.docker.getContainer(id).remove({ force: true });
      },
      {},
      // Whether the view knows it yet or the last look finds it.
      'refused:no_target|refused:changed',
    ],
  ])('leaves alone what %s', async (what, prepare, options, phase) => {
    const id = await containers.run(what.replaceAll(' ', '-'), 'exec sleep 600', options);
    const before = await inspect(id);
    await prepare(id);
    await fire(before);
    await until(phase, () => phase.split('|').includes(phases().at(-1) ?? ''));
    expect(phases()).toHaveLength(1);
  });

  const compose = (project: string, service: string, nth: number): RunOptions => ({
    Labels: {
      'com.docker.compose.project': project,
      'com.docker.compose.service': service,
      'com.docker.compose.container-number': String(nth),
    },
  });

  it('acts on the one replica that is broken', async () => {
    const service = containers.name('shop');
    const [broken, well] = await Promise.all([
      containers.run('shop-1', 'exec sleep 600', compose('a', service, 1)),
      containers.run('shop-2', 'exec sleep 600', compose('a', service, 2)),
    ]);
    const before = await inspect(well);
    await fire(await inspect(broken));
    await last('verified');
    expect((await inspect(well)).startedAt).toBe(before.startedAt);
    expect(actions().every(({ target }) => target?.origin?.id === broken)).toBe(true);
  });

  it('acts on neither of two services of one name', async () => {
    const service = containers.name('twice');
    await containers.run('twice-b', 'exec sleep 600', compose('b', service, 1));
    const one = await containers.run('twice-a', 'exec sleep 600', compose('a', service, 1));
    await fire(await inspect(one));
    await last('refused:ambiguous_target');
  });

  it('does not take for it what was made anew under its name', async () => {
    const first = await containers.run('anew', 'exec sleep 600');
    const before = await inspect(first);
    await containers.docker.getContainer(first).remove({ force: true });
    const second = await containers.run('anew', 'exec sleep 600');
    const after = await inspect(second);
    await fire(before);
    await last('refused:changed');
    expect((await inspect(second)).startedAt).toBe(after.startedAt);
  });

  /** What a container has mounted; without it, it can be stopped and not started. */
  const withFolder = async (policy: string): Promise<{ folder: string; options: RunOptions }> => {
    const folder = await mkdtemp(join(tmpdir(), 'reflexarc-mounted-'));
    folders.push(folder);
    return {
      folder,
      options: {
        HostConfig: {
          NetworkMode: 'none',
          RestartPolicy: { Name: policy },
          Mounts: [{ Type: 'bind', Source: folder, Target: '/mounted' }],
        },
      },
    };
  };

  it('says that a restart failed whose start the engine refuses, and that nobody else did it', async () => {
    const { folder, options } = await withFolder('always');
    const id = await containers.run(
      'unstartable',
      'trap "exit 0" TERM; while :; do sleep 0.1; done',
      options,
    );
    const before = await inspect(id);
    await rm(folder, { recursive: true });
    await fire(before);
    await until('the end', () => phases().includes('exhausted'));
    expect(phases()).toEqual(['decided', 'started', 'failed', 'exhausted']);
    expect(await inspect(id)).toMatchObject({ state: 'exited', stoppedByHand: false });
  });

  it('starts what the engine was to bring back, and could not', async () => {
    const { folder, options } = await withFolder('always');
    const id = await containers.run(
      'given-up',
      'test -e /mounted/well && exec sleep 600; while [ ! -e /die ]; do sleep 0.1; done; exit 3',
      options,
    );
    const before = await inspect(id);
    await rm(folder, { recursive: true });
    await containers.exec(id, 'touch', '/die');
    await until('the engine to give up', async () => (await inspect(id)).startError !== undefined);
    await mkdir(folder);
    await writeFile(join(folder, 'well'), '');
    await fire(before);
    await last('verified');
    expect(phases()).toEqual(['decided', 'started', 'done', 'verified']);
  });

  it("leaves alone what Docker's own policy brings back", async () => {
    const id = await containers.run('policy', 'sleep 0.2; exit 3', {
      HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 100 } },
    });
    await until('a restart', () => inspect(id).then((one) => one.restarts >= 3));
    await until('it to be down', async () => {
      const one = await inspect(id);
      if (one.state === 'running') return false;
      await fire(one);
      return true;
    });
    await until('a refusal', () => phases().length > 0);
    expect(phases()[0]).toMatch(/^refused:(engine_acts|changed)$/);
    expect(phases()).not.toContain('started');
  });
});
