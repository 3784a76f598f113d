import { afterEach, describe, expect, it, vi } from 'vitest';
import { ReflexarcError } from '../core/errors.ts';
import { Harness, RESTART } from './testing/harness.ts';

const open: Harness[] = [];
function make(file: string | null = RESTART): Harness {
  const harness = new Harness(file);
  open.push(harness);
  return harness;
}
afterEach(async () => {
  for (const harness of open.splice(0)) await harness.end();
});

async function crashed(harness: Harness): Promise<void> {
  harness.runtime.add('web');
  await harness.start();
  harness.runtime.crash('web');
  await harness.fire({ on: [harness.runtime.get('web')] });
}

describe('a heal', () => {
  it('starts what crashed, and verifies it', async () => {
    const harness = make();
    await crashed(harness);
    expect(harness.runtime.calls).toMatchObject([{ kind: 'start', id: 'web' }]);
    expect(harness.phases).toEqual(['decided', 'started', 'done']);
    await harness.clock.advance(9_999);
    expect(harness.phases).not.toContain('verified');
    await harness.clock.advance(1);
    expect(harness.phases).toEqual(['decided', 'started', 'done', 'verified']);
    expect(harness.actions.at(-1)).toMatchObject({
      elapsed: 10_000,
      attempt: 1,
      step: { index: 0, kind: 'restart' },
      target: { runtime: 'fake', service: 'web', container: 'web' },
    });
  });

  it('restarts what hangs', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'healthy' });
    await harness.start();
    harness.runtime.health('web', 'unhealthy');
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    expect(harness.runtime.calls).toMatchObject([{ kind: 'restart', id: 'web' }]);
    await harness.clock.advance(10_000);
    expect(harness.phases.at(-1)).toBe('verified');
  });

  it('acts once on one crash, however often it is told', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    const record = harness.alert({ on: [harness.runtime.get('web')] });
    await harness.publish(record, record, { ...record, id: 'other' });
    await harness.stop();
    await harness.start();
    await harness.publish({ ...record, id: 'third' });
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('treats a second crash as a second case, under the cooldown', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(20_000);
    harness.runtime.crash('web', 2);
    await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
    expect(harness.phases.slice(4)).toEqual(['decided', 'waiting:cooldown']);
    expect(harness.actions.at(-1)?.until).toBe(harness.clock.now() + 280_000);
    await harness.clock.advance(279_999);
    expect(harness.runtime.calls).toHaveLength(1);
    await harness.clock.advance(1);
    expect(harness.runtime.calls).toHaveLength(2);
    await harness.clock.advance(10_000);
    expect(harness.phases.at(-1)).toBe('verified');
  });

  it('stops at its attempts when the target crashes again and again', async () => {
    const harness = make();
    harness.runtime.onStart = (id) => harness.runtime.crash(id);
    await crashed(harness);
    for (let round = 0; round < 50; round++) {
      await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
      await harness.clock.advance(60_000);
    }
    expect(harness.runtime.calls).toHaveLength(3);
    expect(harness.phases).toContain('waiting:attempts');
    expect(harness.phases).toContain('exhausted');
    await harness.clock.advance(20 * 60_000);
    expect(harness.runtime.calls.length).toBeGreaterThan(3);
  });

  it('climbs the ladder when a step does not help', async () => {
    const harness = make(`
remediations:
  - name: heal
    match: ['alertname="Sick"']
    target: '{{ $labels.service }}'
    steps:
      - restart: {}
        verify: { within: 20s, healthy_for: 5s }
      - restart: { grace: 1s }
        verify: { within: 20s, healthy_for: 5s }
      - notify: { receiver: on-call }
`);
    harness.runtime.add('web', { health: 'unhealthy' });
    harness.runtime.onStart = (id) => harness.runtime.health(id, 'unhealthy');
    await harness.start();
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    await harness.clock.advance(60_000);
    expect(harness.phases).toEqual([
      'decided',
      'started',
      'done',
      'unverified',
      'started',
      'done',
      'unverified',
      'notified',
      'exhausted',
    ]);
    expect(harness.actions.at(-2)).toMatchObject({ receiver: 'on-call' });
    expect(new Set(harness.actions.map((record) => record.case)).size).toBe(1);
  });

  it('does not verify while evidence goes on, though the target looks healthy', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    await harness.fire({ on: [harness.runtime.get('web')] });
    for (let second = 0; second < 70; second++) {
      await harness.clock.advance(1000);
      await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
    }
    expect(harness.phases.slice(0, 5)).toEqual([
      'decided',
      'started',
      'done',
      'unverified',
      'exhausted',
    ]);
    // The run that did not help is a case of its own, which has to wait.
    expect(harness.phases.slice(5)).toEqual(['decided', 'waiting:cooldown']);
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('verifies while old evidence of the run before still comes in', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    const before = harness.runtime.get('web');
    await harness.fire({ on: [before] });
    for (let second = 0; second < 10; second++) {
      await harness.clock.advance(1000);
      await harness.fire({ on: [before], cause: 'evidence' });
    }
    expect(harness.phases.at(-1)).toBe('verified');
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('gives up at once when the new run dies', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(1000);
    harness.runtime.crash('web', 3);
    await harness.clock.advance(0);
    expect(harness.phases.slice(3)).toEqual(['unverified', 'exhausted']);
    expect(harness.actions.at(-2)?.message).toContain('exit code 3');
  });

  it('goes on with the ladder when the call fails', async () => {
    const harness = make();
    harness.runtime.failNext = new ReflexarcError('conflict', 'a port is taken');
    await crashed(harness);
    expect(harness.phases).toEqual(['decided', 'started', 'failed', 'exhausted']);
    expect(harness.actions[2]).toMatchObject({ error: 'a port is taken' });
  });

  it('looks what became of a call that did not answer', async () => {
    const harness = make();
    harness.runtime.takes = 1000;
    await crashed(harness);
    harness.runtime.failNext = undefined;
    await harness.clock.advance(11_000);
    expect(harness.phases).toEqual(['decided', 'started', 'done', 'verified']);
  });

  it('repeats a start whose answer was lost, since that does no harm', async () => {
    const harness = make();
    harness.runtime.failNext = new ReflexarcError('unavailable', 'the socket was closed');
    await crashed(harness);
    await harness.clock.advance(10_000);
    expect(harness.phases).toEqual([
      'decided',
      'started',
      'waiting:error',
      'started:interrupted',
      'done',
      'verified',
    ]);
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('people, the file and the engine come first', () => {
  it('does nothing without a file', async () => {
    const harness = make(null);
    await crashed(harness);
    await harness.clock.advance(3_600_000);
    expect(harness.runtime.calls).toEqual([]);
    expect(harness.actions).toEqual([]);
  });

  it('acts on what fires when a file comes, and keeps it through a bad edit', async () => {
    const harness = make(null);
    await crashed(harness);
    harness.write('remediations: [{}]');
    await harness.service?.reload();
    await harness.clock.advance(0);
    expect(harness.runtime.calls).toEqual([]);
    harness.write(RESTART);
    await harness.service?.reload();
    await harness.clock.advance(10_000);
    expect(harness.phases.at(-1)).toBe('verified');
    harness.write('remediations: [{}]');
    await harness.service?.reload();
    expect(await harness.metrics.metrics()).toContain(
      'reflexarc_remediation_config_last_reload_successful 0',
    );
    harness.runtime.add('db');
    harness.runtime.crash('db');
    await harness.fire({ on: [harness.runtime.get('db')] });
    expect(harness.runtime.calls).toHaveLength(2);
  });

  it('sees by itself that the file changed', async () => {
    const harness = make(null);
    await crashed(harness);
    harness.write(RESTART);
    // The folder's event comes when the system says so; the quiet time after it is the clock's.
    await vi.waitUntil(async () => {
      await harness.clock.advance(100);
      return harness.runtime.calls.length === 1;
    });
  });

  it('ends a ladder whose remediation is taken out of the file', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(20_000);
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
    expect(harness.phases.at(-1)).toBe('waiting:cooldown');
    harness.write('remediations: []');
    await harness.service?.reload();
    await harness.clock.advance(3_600_000);
    expect(harness.phases.at(-1)).toBe('closed:removed');
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('reports and does not act in a dry run', async () => {
    const harness = make(`${RESTART}    dry_run: true\n`);
    await crashed(harness);
    await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
    await harness.clock.advance(3_600_000);
    expect(harness.phases).toEqual(['decided', 'skipped:dry_run']);
    expect(harness.actions.every((record) => record.dryRun)).toBe(true);
    expect(harness.runtime.calls).toEqual([]);
  });

  it('closes what waits when the alert ends', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(20_000);
    const on = [harness.runtime.get('web')];
    await harness.fire({ on, cause: 'evidence' });
    expect(harness.phases.at(-1)).toBe('waiting:cooldown');
    await harness.fire({ on, state: 'resolved' });
    expect(harness.phases.at(-1)).toBe('closed:resolved');
    await harness.clock.advance(3_600_000);
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('heals the same run again when its alert ended in between and nothing was done', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'healthy' });
    await harness.start();
    const on = [harness.runtime.get('web')];
    await harness.fire({ name: 'Sick', on, silencedBy: ['s1'] });
    await harness.clock.advance(1000);
    await harness.fire({ name: 'Sick', on, state: 'resolved' });
    await harness.clock.advance(1000);
    await harness.fire({ name: 'Sick', on });
    expect(harness.phases).toEqual(['refused:silenced', 'decided', 'started', 'done']);
  });

  it('says why once, and acts when the reason is gone', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    const on = [harness.runtime.get('web')];
    for (let second = 0; second < 5; second++) {
      await harness.fire({ on, inhibitedBy: ['x'], cause: 'evidence' });
      await harness.clock.advance(1000);
    }
    expect(harness.phases).toEqual(['refused:inhibited']);
    await harness.fire({ on, cause: 'evidence' });
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('takes no ground from what its own action did', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'healthy' });
    await harness.start();
    harness.runtime.health('web', 'unhealthy');
    harness.runtime.takes = 2000;
    const before = harness.runtime.get('web');
    await harness.fire({ name: 'Sick', on: [before] });
    await harness.clock.advance(1000);
    const died = harness.evidence(before, {
      text: 'action=die exit_code=137',
      labels: { stream: 'events', service: 'web' },
    });
    await harness.clock.advance(1000);
    await harness.fire({ name: 'Died', evidence: [died], labels: { service: 'web' } });
    expect(harness.phases).toContain('refused:own_action');
    const marked = harness.evidence(harness.runtime.get('web'), {
      text: 'action=die by=reflexarc',
      labels: { stream: 'events', service: 'web' },
    });
    await harness.fire({ name: 'Died', evidence: [marked], labels: { service: 'web', x: 'y' } });
    await harness.clock.advance(3_600_000);
    expect(harness.phases.filter((phase) => phase === 'refused:own_action')).toHaveLength(2);
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('several at once', () => {
  const FOUR = `
remediations:
  - name: heal
    match: ['alertname="Sick"']
    target: '{{ $labels.service }}'
    steps: [{ restart: {}, verify: { within: 30s, healthy_for: 5s } }]
    limits: { cooldown: 0, attempts: 10, keep_up: 75% }
`;

  it('heals the replicas of a service one after the other', async () => {
    const harness = make(FOUR);
    for (const id of ['a', 'b', 'c', 'd']) {
      harness.runtime.add(id, { service: 'web', health: 'unhealthy' });
    }
    await harness.start();
    const on = ['a', 'b', 'c', 'd'].map((id) => harness.runtime.get(id));
    await harness.fire({ name: 'Sick', on });
    expect(harness.runtime.calls).toHaveLength(1);
    expect(harness.phases.filter((phase) => phase === 'waiting:busy')).toHaveLength(3);
    await harness.clock.advance(5000);
    expect(harness.runtime.calls).toHaveLength(2);
    await harness.clock.advance(20_000);
    expect(harness.runtime.calls.map((call) => call.id).sort()).toEqual(['a', 'b', 'c', 'd']);
    expect(harness.phases.filter((phase) => phase === 'verified')).toHaveLength(4);
  });

  it('waits until enough replicas run, and then goes on by itself', async () => {
    const harness = make(FOUR);
    harness.runtime.add('a', { service: 'web', health: 'unhealthy' });
    harness.runtime.add('b', { service: 'web' });
    harness.runtime.add('c', { service: 'web' });
    harness.runtime.add('d', { service: 'web' });
    await harness.start();
    harness.runtime.crash('d');
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('a')] });
    expect(harness.phases).toEqual(['refused:keep_up']);
    harness.runtime.startByHand('d');
    await harness.clock.advance(0);
    expect(harness.runtime.calls).toMatchObject([{ kind: 'restart', id: 'a' }]);
  });

  it('acts on the two services of two alerts at the same time', async () => {
    const harness = make();
    harness.runtime.add('web');
    harness.runtime.add('db');
    await harness.start();
    harness.runtime.crash('web');
    harness.runtime.crash('db');
    await harness.publish(
      harness.alert({ on: [harness.runtime.get('web')] }),
      harness.alert({ on: [harness.runtime.get('db')] }),
    );
    expect(harness.runtime.calls).toHaveLength(2);
  });
});

describe('when the view is stale', () => {
  it('does nothing, says so, and acts when it can see', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    harness.runtime.unreadable = new ReflexarcError('unavailable', 'no engine');
    await harness.fire({ on: [harness.runtime.get('web')] });
    expect(harness.phases).toEqual(['waiting:stale_view']);
    await harness.clock.advance(60_000);
    expect(harness.phases).toEqual(['waiting:stale_view']);
    expect(harness.runtime.calls).toEqual([]);
    harness.runtime.unreadable = undefined;
    await harness.clock.advance(2000);
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('one process acts', () => {
  it('waits for the lease, and lets go of it', async () => {
    const harness = make();
    const held = await harness.state.acquire('remediation', 'other', 5000);
    await crashed(harness);
    expect(harness.service?.ready()).toMatchObject({ ok: false });
    expect(harness.runtime.calls).toEqual([]);
    await held?.release();
    await harness.clock.advance(1000);
    expect(harness.service?.ready()).toEqual({ ok: true });
    expect(harness.runtime.calls).toHaveLength(1);
    await harness.stop();
    expect(await harness.state.acquire('remediation', 'other', 5000)).toBeDefined();
  });

  it('gives its cases up with the lease, and goes on when it has it again', async () => {
    const harness = make();
    await crashed(harness);
    harness.state.revoke('remediation');
    await harness.clock.advance(0);
    expect(harness.service?.ready()).toMatchObject({ ok: false });
    await harness.clock.advance(20_000);
    expect(harness.phases.at(-1)).toBe('verified');
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('the last look before a call', () => {
  it.each<[what: string, change: (harness: Harness) => void, phase: string]>([
    ['someone started it', ({ runtime }) => runtime.startByHand('web'), 'refused:changed'],
    ['it is gone', ({ runtime }) => runtime.remove('web'), 'refused:changed'],
    [
      'someone stopped it after all',
      ({ runtime }) => runtime.change('web', { stoppedByHand: true }),
      'refused:stopped_by_hand',
    ],
    ['the lease is lost', ({ state }) => state.revoke('remediation'), 'refused:lease_lost'],
    [
      'the engine went away',
      ({ runtime }) => {
        runtime.unreadable = new ReflexarcError('unavailable', 'no engine');
      },
      'waiting:stale_view',
    ],
  ])('%s', async (_, change, phase) => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    let looks = 0;
    harness.runtime.onInspect = () => {
      if (++looks === 2) change(harness);
    };
    await harness.fire({ on: [harness.runtime.get('web')] });
    expect(looks).toBeGreaterThanOrEqual(2);
    expect(harness.phases.slice(0, 2)).toEqual(['decided', phase]);
    expect(harness.runtime.calls).toEqual([]);
  });

  it('leaves no trace in the limits', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    let looks = 0;
    harness.runtime.onInspect = () => {
      looks++;
      harness.runtime.unreadable =
        looks === 2 ? new ReflexarcError('unavailable', 'no engine') : undefined;
    };
    await harness.fire({ on: [harness.runtime.get('web')] });
    await harness.clock.advance(2000);
    expect(harness.actions.filter((record) => record.phase === 'started')).toMatchObject([
      { attempt: 1 },
    ]);
  });
});

describe('what an alert may be about', () => {
  it.each<[what: string, labels: Record<string, string>, phase: string]>([
    ['a service that nobody knows', { service: 'nope' }, 'refused:no_target'],
    ['no service', {}, 'refused:no_target'],
    ['a service of two projects', { service: 'shop' }, 'refused:ambiguous_target'],
    ['the one of them that it names', { service: 'shop', project: 'b' }, 'decided'],
    ['all replicas, none of which is down', { service: 'many' }, 'refused:ambiguous_target'],
    ['who does not want it', { service: 'private' }, 'refused:opted_out'],
  ])('%s', async (_, labels, phase) => {
    const harness = make();
    harness.runtime.add('a', { service: 'shop', project: 'a' });
    harness.runtime.add('b', { service: 'shop', project: 'b' });
    harness.runtime.add('m1', { service: 'many' });
    harness.runtime.add('m2', { service: 'many' });
    harness.runtime.add('p', { service: 'private', labels: { 'reflexarc.remediate': 'no' } });
    await harness.start();
    await harness.clock.advance(1000);
    await harness.fire({ labels });
    expect(harness.phases[0]).toBe(phase);
    expect(harness.runtime.calls).toHaveLength(phase === 'decided' ? 1 : 0);
  });

  it('one replica by its name', async () => {
    const harness = make(RESTART.replace('target:', 'container:').replace('.service', '.pod'));
    harness.runtime.add('m1', { service: 'many' });
    harness.runtime.add('m2', { service: 'many' });
    await harness.start();
    await harness.clock.advance(1000);
    await harness.fire({ labels: { pod: 'm2' } });
    expect(harness.runtime.calls).toMatchObject([{ id: 'm2' }]);
  });
});

describe('when things fail around it', () => {
  it('does not act when the ledger cannot be written, and tries again', async () => {
    const harness = make();
    const { state } = harness;
    const create = state.create.bind(state);
    let full = true;
    state.create = (key, value) =>
      full && key.includes('/ledger/')
        ? Promise.reject(new ReflexarcError('disk_full', 'no room'))
        : create(key, value);
    await crashed(harness);
    expect(harness.runtime.calls).toEqual([]);
    expect(await harness.metrics.metrics()).toContain('reflexarc_remediation_errors_total 1');
    full = false;
    await harness.clock.advance(5000);
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('commits no alert that it could not keep', async () => {
    const harness = make();
    const { state } = harness;
    const put = state.put.bind(state);
    let full = true;
    state.put = (entries) =>
      full ? Promise.reject(new ReflexarcError('disk_full', 'no room')) : put(entries);
    harness.runtime.add('web');
    await harness.start();
    await harness.fire({ on: [harness.runtime.get('web')], silencedBy: ['s'] });
    await harness.stop();
    full = false;
    await harness.start();
    await harness.clock.advance(1000);
    expect(await state.list('remediation/alerts/')).toHaveLength(1);
  });

  it('publishes again what the bus did not take, in order', async () => {
    const harness = make();
    const { bus } = harness;
    const publish = bus.publish.bind(bus);
    let away = true;
    bus.publish = (topic, messages) =>
      away && topic === 'actions'
        ? Promise.reject(new ReflexarcError('unavailable', 'no bus'))
        : publish(topic, messages);
    await crashed(harness);
    await harness.clock.advance(20_000);
    expect(harness.runtime.calls).toHaveLength(1);
    expect(harness.phases).toEqual([]);
    // Nor does a death lose them.
    const stopped = harness.stop();
    await harness.clock.advance(10_000);
    await stopped;
    away = false;
    await harness.start();
    await harness.clock.advance(1000);
    expect(harness.phases).toEqual(['decided', 'started', 'done', 'verified']);
  });

  it('counts alerts that cannot be read, and goes on', async () => {
    const harness = make();
    await harness.start();
    await harness.bus.publish('alerts', [
      { key: 'x', value: Buffer.from('no JSON\n'), records: 1 },
    ]);
    await harness.settle();
    expect(await harness.metrics.metrics()).toContain('reflexarc_remediation_bad_records_total 1');
    harness.runtime.add('web');
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('an orderly end', () => {
  it('goes on verifying where it was', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(5000);
    await harness.stop();
    await harness.clock.advance(300_000);
    await harness.start();
    await harness.clock.advance(9999);
    expect(harness.phases).toEqual(['decided', 'started', 'done']);
    await harness.clock.advance(1);
    expect(harness.phases).toEqual(['decided', 'started', 'done', 'verified']);
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('waits for a call under way, and no longer than it has', async () => {
    const harness = make();
    harness.runtime.takes = 3000;
    await crashed(harness);
    const stopped = harness.service?.stop();
    await harness.clock.advance(3000);
    await stopped;
    expect(harness.phases).toEqual(['decided', 'started', 'done']);

    const slow = make();
    slow.runtime.takes = 20_000;
    await crashed(slow);
    const gone = slow.service?.stop();
    await slow.clock.advance(7000);
    await gone;
    expect(slow.phases).toEqual(['decided', 'started']);
    await slow.clock.advance(60_000);
    await slow.start();
    await slow.clock.advance(10_000);
    expect(slow.phases.at(-1)).toBe('verified');
    expect(slow.runtime.calls).toHaveLength(1);
  });

  it('holds no timer when it is over', async () => {
    const harness = make();
    await crashed(harness);
    await harness.stop();
    expect(harness.clock.pending).toBe(0);
  });
});

describe('behind on the bus', () => {
  it('acts on no old alert that ended since', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'unhealthy' });
    const on = [harness.runtime.get('web')];
    const old = harness.alert({ name: 'Sick', on });
    const ended = harness.alert({ name: 'Sick', on, state: 'resolved' });
    await harness.clock.advance(60_000);
    await harness.publish(old);
    for (let nth = 0; nth < 150; nth++) await harness.publish(harness.alert({ name: 'Other' }));
    await harness.publish(ended);
    await harness.start();
    await harness.settle();
    expect(harness.runtime.calls).toEqual([]);
  });
});

describe('what is kept', () => {
  it('is forgotten in time', async () => {
    const harness = make();
    await crashed(harness);
    await harness.clock.advance(60_000);
    await harness.fire({ on: [harness.runtime.get('web')], state: 'resolved' });
    expect(await harness.state.list('remediation/cases/')).toHaveLength(1);
    const later = async (ms: number): Promise<void> => {
      harness.clock.jump(ms);
      await harness.clock.advance(3_700_000);
    };
    await later(86_400_000);
    expect(await harness.state.list('remediation/cases/')).toHaveLength(0);
    expect(await harness.state.list('remediation/alerts/')).toHaveLength(0);
    expect(await harness.state.list('remediation/ledger/')).toHaveLength(1);
    await later(7 * 86_400_000);
    expect(await harness.state.list('remediation/ledger/')).toHaveLength(0);
  });
});
