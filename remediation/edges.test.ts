import { afterEach, describe, expect, it } from 'vitest';
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

/** Healed once, verified, and crashed again under the cooldown. */
async function crashedAgain(harness: Harness): Promise<void> {
  harness.runtime.add('web');
  await harness.start();
  harness.runtime.crash('web');
  await harness.fire({ on: [harness.runtime.get('web')] });
  await harness.clock.advance(20_000);
  harness.runtime.crash('web');
  await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
  expect(harness.phases.at(-1)).toBe('waiting:cooldown');
}

describe('an alert that ends because its window moved on', () => {
  it('does not leave down what waits for its cooldown', async () => {
    const harness = make();
    await crashedAgain(harness);
    await harness.clock.advance(60_000);
    await harness.fire({ on: [harness.runtime.get('web')], state: 'resolved' });
    await harness.clock.advance(300_000);
    expect(harness.runtime.calls).toHaveLength(2);
    expect(harness.phases.at(-1)).toBe('verified');
  });

  it('ends the wait of what runs', async () => {
    const harness = make();
    await crashedAgain(harness);
    const on = [harness.runtime.get('web')];
    harness.runtime.startByHand('web');
    await harness.fire({ on, state: 'resolved' });
    expect(harness.phases.at(-1)).toBe('closed:resolved');
    await harness.clock.advance(3_600_000);
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('what became well while it waited for its turn', () => {
  async function sickAgain(harness: Harness): Promise<void> {
    harness.runtime.add('web', { health: 'unhealthy' });
    await harness.start();
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    await harness.clock.advance(20_000);
    harness.runtime.health('web', 'unhealthy');
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')], cause: 'evidence' });
    await harness.clock.advance(30_000);
    harness.runtime.health('web', 'healthy');
    await harness.clock.advance(300_000);
  }

  it('is not restarted for evidence of old, though the alert fires on', async () => {
    const harness = make();
    await sickAgain(harness);
    expect(harness.runtime.calls).toHaveLength(1);
    expect(harness.phases.slice(-2)).toEqual(['waiting:cooldown', 'waiting:stale_view']);
    const on = [harness.runtime.get('web')];
    await harness.fire({ name: 'Sick', on, state: 'resolved' });
    expect(harness.phases.at(-1)).toBe('closed:resolved');
  });

  it('is restarted as soon as there is newer', async () => {
    const harness = make();
    await sickAgain(harness);
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')], cause: 'evidence' });
    expect(harness.runtime.calls).toHaveLength(2);
  });

  it('is restarted as soon as it is unhealthy again', async () => {
    const harness = make();
    await sickAgain(harness);
    harness.runtime.health('web', 'unhealthy');
    await harness.settle();
    expect(harness.runtime.calls).toHaveLength(2);
  });
});

describe('evidence that names no start', () => {
  it('speaks of no run that began after it', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    await harness.clock.advance(1000);
    const { origin: _, ...evidence } = harness.evidence(harness.runtime.get('web'));
    harness.runtime.crash('web');
    await harness.clock.advance(1000);
    harness.runtime.startByHand('web');
    await harness.clock.advance(1000);
    await harness.fire({ labels: { service: 'web' }, evidence: [evidence] });
    expect(harness.phases).toEqual(['refused:changed']);
    expect(harness.runtime.calls).toEqual([]);
  });
});

describe('someone who is stopping it', () => {
  it('is left to it, though it still runs', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'unhealthy', stoppedByHand: true });
    await harness.start();
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    expect(harness.phases).toEqual(['refused:stopped_by_hand']);
    expect(harness.runtime.calls).toEqual([]);
  });
});

describe('someone who stops what was just healed', () => {
  it('ends the case, and nobody is told that it did not help', async () => {
    const harness = make(
      RESTART.replace('limits:', '  - notify: { receiver: on-call }\n    limits:'),
    );
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    harness.runtime.stopByHand('web');
    await harness.clock.advance(60_000);
    expect(harness.phases).toEqual(['decided', 'started', 'done', 'closed:stopped_by_hand']);
  });
});

describe('one crash', () => {
  const TWO = `${RESTART}${RESTART.replace('remediations:\n', '')
    .replace('name: heal', 'name: other')
    .trimStart()
    .replace(/^/, '  ')}`;

  it.each([
    ['two alerts', RESTART, ['Died', 'Sick']],
    ['two remediations', TWO, ['Died']],
    ['two of both', TWO, ['Died', 'Sick']],
  ])('is acted upon once by %s', async (_, file, names) => {
    const harness = make(file);
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    const on = [harness.runtime.get('web')];
    for (let second = 0; second < 30; second++) {
      for (const name of names) await harness.fire({ name, on, cause: 'evidence' });
      await harness.clock.advance(1000);
    }
    await harness.clock.advance(3_600_000);
    expect(harness.runtime.calls).toHaveLength(1);
    const cases = [...Map.groupBy(harness.actions, (record) => record.case).values()];
    expect(cases).toHaveLength(names.length * file.split('- name:').length - names.length);
    const ends = cases.map(
      (records) => records.findLast(({ phase }) => phase !== 'refused')?.phase,
    );
    expect(ends.filter((phase) => phase === 'verified')).toHaveLength(1);
    // The others wait for the first, or come later, and see that it is over.
    const others = cases.filter((records) => !records.some(({ phase }) => phase === 'verified'));
    for (const records of others) {
      expect(records.at(-1)).toMatchObject({ phase: 'refused', reason: 'changed' });
      expect(records.length).toBeLessThan(4);
    }
  });

  it('is acted upon once by an alert whose labels change at every tick', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    const on = [harness.runtime.get('web')];
    for (let value = 0; value < 30; value++) {
      await harness.fire({ on, labels: { value: String(value) } });
      await harness.clock.advance(1000);
      await harness.fire({ on, labels: { value: String(value) }, state: 'resolved' });
    }
    await harness.clock.advance(3_600_000);
    expect(harness.runtime.calls).toHaveLength(1);
  });
});

describe('a crash loop over a night', () => {
  it('is acted upon within its limits, and said in few words', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    let calls = 0;
    // Each run lives half a minute; the rule looks back a minute and so ends in between.
    for (let minute = 0; minute < 8 * 60; minute++) {
      if (harness.runtime.get('web').state === 'running') {
        harness.runtime.crash('web');
        const on = [harness.runtime.get('web')];
        for (let second = 0; second < 5; second++) {
          await harness.fire({ on, cause: 'evidence' });
          await harness.clock.advance(1000);
        }
      }
      await harness.clock.advance(55_000);
      await harness.fire({ on: [harness.runtime.get('web')], state: 'resolved' });
      if (minute % 60 === 30) {
        await harness.stop();
        await harness.start();
      }
      calls = Math.max(calls, harness.runtime.calls.length);
    }
    // Three an hour.
    expect(calls).toBeGreaterThan(8 * 3 - 4);
    expect(calls).toBeLessThanOrEqual(8 * 3 + 1);
    expect(harness.actions.length / calls).toBeLessThan(8);
  });
});

describe('a change of the file in the middle', () => {
  it('acts on what fires when dry_run is taken away', async () => {
    const harness = make(`${RESTART}    dry_run: true\n`);
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    expect(harness.phases).toEqual(['decided', 'skipped:dry_run']);
    await harness.clock.advance(1000);
    harness.write(RESTART);
    await harness.service?.reload();
    await harness.settle();
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('acts on what fires when a remediation comes back', async () => {
    const harness = make();
    await crashedAgain(harness);
    harness.write('remediations: []');
    await harness.service?.reload();
    await harness.settle();
    expect(harness.phases.at(-1)).toBe('closed:removed');
    harness.write(RESTART);
    await harness.service?.reload();
    await harness.clock.advance(300_000);
    expect(harness.runtime.calls).toHaveLength(2);
  });

  it('begins no second step in a dry run', async () => {
    const harness = make(RESTART.replace('steps:', 'steps:\n      - restart: {}'));
    harness.runtime.add('web', { health: 'unhealthy' });
    harness.runtime.onStart = (id) => harness.runtime.health(id, 'unhealthy');
    await harness.start();
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    expect(harness.runtime.calls).toHaveLength(1);
    harness.write(`${RESTART.replace('steps:', 'steps:\n      - restart: {}')}    dry_run: true\n`);
    await harness.service?.reload();
    await harness.clock.advance(120_000);
    expect(harness.runtime.calls).toHaveLength(1);
    expect(harness.phases).toContain('skipped:dry_run');
  });
});

describe('a template that fails', () => {
  it('is refused in words, and holds up no other remediation', async () => {
    const broken = RESTART.replace('name: heal', 'name: broken').replace(
      '{{ $labels.service }}',
      '{{ humanize $labels.service }}',
    );
    const harness = make(
      `${broken}${RESTART.replace('remediations:\n', '').trimStart().replace(/^/, '  ')}`,
    );
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    await harness.clock.advance(30_000);
    expect(harness.phases).toEqual(['refused:no_target', 'decided', 'started', 'done', 'verified']);
  });
});

describe('after hours away', () => {
  it('does not restart on old news what looks well', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'unhealthy' });
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    harness.runtime.health('web', 'healthy');
    await harness.clock.advance(4 * 3_600_000);
    await harness.start();
    await harness.settle();
    expect(harness.runtime.calls).toEqual([]);
    expect(harness.phases).toEqual(['waiting:stale_view']);
    // It is so still: alerting has looked since.
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')], cause: 'evidence' });
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('does not take for news what alerting only says again', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'unhealthy' });
    const evidence = [harness.evidence(harness.runtime.get('web'))];
    const spec = { name: 'Sick', labels: { service: 'web' }, evidence } as const;
    await harness.fire(spec);
    harness.runtime.health('web', 'healthy');
    await harness.clock.advance(30_000);
    await harness.start();
    await harness.fire({ ...spec, cause: 'evidence' });
    expect(harness.phases).toEqual(['waiting:stale_view']);
    expect(harness.runtime.calls).toEqual([]);
  });

  it('takes for news what only now has gone on for long enough', async () => {
    const harness = make();
    harness.runtime.add('web');
    const evidence = [harness.evidence(harness.runtime.get('web'))];
    await harness.clock.advance(300_000);
    await harness.start();
    await harness.fire({ name: 'Sick', labels: { service: 'web' }, evidence });
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('starts what is down still', async () => {
    const harness = make();
    harness.runtime.add('web');
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    await harness.clock.advance(4 * 3_600_000);
    await harness.start();
    await harness.settle();
    expect(harness.runtime.calls).toHaveLength(1);
  });

  it('closes it when alerting says that it is over', async () => {
    const harness = make();
    harness.runtime.add('web', { health: 'unhealthy' });
    await harness.fire({ name: 'Sick', on: [harness.runtime.get('web')] });
    const on = [harness.runtime.get('web')];
    harness.runtime.health('web', 'healthy');
    await harness.clock.advance(4 * 3_600_000);
    await harness.start();
    await harness.fire({ name: 'Sick', on, state: 'resolved' });
    expect(harness.phases.at(-1)).toBe('closed:resolved');
    expect(harness.runtime.calls).toEqual([]);
  });
});

describe('an engine whose clock is behind ours', () => {
  it('does not take a crash after the verification for one before it', async () => {
    const harness = make(RESTART.replace('cooldown: 5m', 'cooldown: 0s'));
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    await harness.clock.advance(10_000);
    expect(harness.phases.at(-1)).toBe('verified');
    const at = new Date(harness.clock.now() - 2000).toISOString();
    await harness.clock.advance(500);
    harness.runtime.crash('web');
    const on = harness.runtime.get('web');
    await harness.fire({
      evidence: [harness.evidence(on, { timestamp: at })],
      labels: { service: 'web' },
      cause: 'evidence',
    });
    expect(harness.runtime.calls).toHaveLength(2);
  });
});

describe('an engine that restarts by itself', () => {
  it('is said once for each crash, and nothing more when it does', async () => {
    const harness = make();
    harness.runtime.add('web', { restartPolicy: 'always' });
    await harness.start();
    for (let crash = 0; crash < 20; crash++) {
      harness.runtime.crash('web');
      await harness.fire({ on: [harness.runtime.get('web')], cause: 'evidence' });
      harness.runtime.change('web', { state: 'restarting' });
      await harness.clock.advance(55_000);
      harness.runtime.startByHand('web');
      await harness.clock.advance(5000);
    }
    expect(harness.phases).toEqual(Array(20).fill('refused:engine_acts'));
    expect(harness.runtime.calls).toEqual([]);
  });

  it('and gives up: it is started then, also where nothing more is heard', async () => {
    const harness = make();
    harness.runtime.add('web', { restartPolicy: 'always' });
    await harness.start();
    harness.runtime.crash('web');
    const on = [harness.runtime.get('web')];
    await harness.fire({ on });
    expect(harness.phases).toEqual(['refused:engine_acts']);
    await harness.fire({ on, state: 'resolved' });
    await harness.stop();
    await harness.start();
    harness.runtime.change('web', { startError: 'a port is taken' });
    await harness.clock.advance(25_000);
    expect(harness.phases).toEqual([
      'refused:engine_acts',
      'decided',
      'started',
      'done',
      'verified',
    ]);
  });

  it('is not looked after any more when somebody stopped it', async () => {
    const harness = make();
    harness.runtime.add('web', { restartPolicy: 'always' });
    await harness.start();
    harness.runtime.crash('web');
    await harness.fire({ on: [harness.runtime.get('web')] });
    harness.runtime.change('web', { stoppedByHand: true });
    await harness.clock.advance(60_000);
    expect(harness.phases).toEqual(['refused:engine_acts', 'refused:stopped_by_hand']);
    const { pending } = harness.clock;
    await harness.clock.advance(60_000);
    expect(harness.clock.pending).toBe(pending);
  });
});

describe('a call that the engine refuses', () => {
  it('is not tried again at once', async () => {
    const harness = make();
    harness.runtime.add('web');
    await harness.start();
    harness.runtime.crash('web');
    harness.runtime.failNext = new ReflexarcError('conflict', 'a port is taken');
    await harness.fire({ on: [harness.runtime.get('web')] });
    await harness.clock.advance(60_000);
    expect(harness.phases).toEqual(['decided', 'started', 'failed', 'exhausted']);
  });
});
