import { describe, expect, it } from 'vitest';
import type { Instance } from '../core/contracts/runtime.ts';
import { checkLimits, type History, judge, keepUp } from './judge.ts';
import type { Limits } from './playbooks/load.ts';

const START = '2026-01-01T00:00:00.000000000Z';
const AT = Date.parse(START) + 60_000;

const base: Instance = {
  runtime: 'docker',
  id: 'c1',
  name: 'web-1',
  service: 'web',
  labels: {},
  state: 'exited',
  health: 'none',
  startedAt: START,
  exitCode: 1,
  oomKilled: false,
  restarts: 0,
  restartPolicy: 'no',
  stoppedByHand: false,
  log: { format: 'none', driver: 'none' },
};
const sick = { state: 'running', health: 'unhealthy' } as const;

describe('who may be restarted', () => {
  it.each<[what: string, live: Partial<Instance>, reason: string | undefined]>([
    ['it crashed', {}, undefined],
    ['it was killed for its memory', { oomKilled: true, exitCode: 137 }, undefined],
    ['it runs and is unhealthy', sick, undefined],
    ['it runs, and has no health check', { state: 'running' }, undefined],
    ['it is dead', { state: 'dead' }, undefined],
    ['it ended by itself with 0', { exitCode: 0 }, undefined],

    ['it is being removed', { state: 'removing' }, 'changed'],
    ['it was started again', { startedAt: '2026-01-01T00:01:00.000000000Z' }, 'changed'],
    ['its label says no', { labels: { 'reflexarc.remediate': 'false' } }, 'opted_out'],
    ['its label says something else', { labels: { 'reflexarc.remediate': 'flase' } }, 'opted_out'],
    ['its label says yes', { labels: { 'reflexarc.remediate': 'True' } }, undefined],

    ['someone stopped it', { stoppedByHand: true }, 'stopped_by_hand'],
    ['someone paused it', { state: 'paused', stoppedByHand: true }, 'stopped_by_hand'],
    ['who stopped it is not known', { stoppedByHand: 'unknown' }, 'stale_view'],
    ['it runs, whoever signalled it', { ...sick, stoppedByHand: 'unknown' }, undefined],

    ['the engine restarts it now', { state: 'restarting' }, 'engine_acts'],
    ['policy always', { restartPolicy: 'always' }, 'engine_acts'],
    ['policy unless-stopped', { restartPolicy: 'unless-stopped' }, 'engine_acts'],
    [
      'policy always, but someone stopped it',
      { restartPolicy: 'always', stoppedByHand: true },
      'stopped_by_hand',
    ],
    ['policy on-failure, without end', { restartPolicy: 'on-failure' }, 'engine_acts'],
    [
      'policy on-failure, below its limit',
      { restartPolicy: 'on-failure', restartLimit: 3, restarts: 2 },
      'engine_acts',
    ],
    [
      'policy on-failure, at its limit',
      { restartPolicy: 'on-failure', restartLimit: 3, restarts: 3 },
      undefined,
    ],
    ['policy on-failure, exit 0', { restartPolicy: 'on-failure', exitCode: 0 }, undefined],
    ['no policy acts on the unhealthy', { ...sick, restartPolicy: 'always' }, undefined],
    ['Swarm does', { ...sick, orchestrator: { type: 'swarm', service: 'web' } }, 'engine_acts'],
    ['Compose does not', { orchestrator: { type: 'compose', service: 'web' } }, undefined],
  ])('%s', (_, live, reason) => {
    const refusal = judge({ live: { ...base, ...live }, expected: START, evidenceAt: AT });
    expect(refusal?.reason).toBe(reason);
  });

  it('nothing that is gone', () => {
    expect(judge({ live: undefined, expected: START, evidenceAt: AT })?.reason).toBe('changed');
  });

  it('nothing that was never started', () => {
    const { startedAt: _, ...live } = { ...base, state: 'created' as const };
    const refusal = judge({ live, expected: undefined, evidenceAt: AT });
    expect(refusal?.reason).toBe('stopped_by_hand');
  });

  it('nothing that was started after evidence that names no start', () => {
    const early = { live: base, expected: undefined, evidenceAt: Date.parse(START) - 1 };
    expect(judge(early)?.reason).toBe('changed');
    expect(judge({ ...early, evidenceAt: AT })).toBeUndefined();
  });
});

describe('keep_up', () => {
  const half: Limits['keepUp'] = { share: 0.5 };
  const two: Limits['keepUp'] = { replicas: 2 };
  const up: Partial<Instance> = { state: 'running' };
  const starting: Partial<Instance> = { state: 'running', health: 'starting' };
  const down: Partial<Instance> = {};
  const stopped: Partial<Instance> = { stoppedByHand: true };

  it.each<
    [
      what: string,
      limit: Limits['keepUp'],
      live: Partial<Instance>,
      others: Partial<Instance>[],
      allowed: boolean,
    ]
  >([
    ['what is down has nothing to lose', two, down, [down, down], true],
    ['a single replica that hangs', { replicas: 1 }, sick, [], true],
    ['a single replica whose others were stopped by hand', two, sick, [stopped, stopped], true],
    ['one of two, the other runs', half, sick, [up], true],
    ['one of two, the other is down', half, sick, [down], false],
    ['one of two, both hang', half, sick, [sick], true],
    ['one of three, rounded up to two', half, sick, [up, down], false],
    ['one of three, two others run', half, sick, [up, sick], true],
    ['a number', two, sick, [up, down], false],
    ['a healthy one, the other hangs', half, up, [sick], false],
    ['a healthy one, the other has just started', half, up, [starting], false],
    ['a healthy one, the other is healthy', half, up, [up], true],
    ['none need stay', { replicas: 0 }, up, [down, down], true],
    ['all must stay', { share: 1 }, sick, [up, up], false],
  ])('%s', (_, limit, live, others, allowed) => {
    const make = (more: Partial<Instance>): Instance => ({ ...base, ...more });
    const refusal = keepUp(limit, make(live), others.map(make));
    expect(refusal?.reason).toBe(allowed ? undefined : 'keep_up');
  });
});

describe('limits', () => {
  const limits: Limits = { cooldown: 300, attempts: 2, window: 1000, keepUp: { share: 0.5 } };
  const calm: History = { now: 10_000, busy: undefined, lastAction: undefined, attempts: [] };

  it.each<
    [
      what: string,
      history: Partial<History>,
      expected: { reason: string; until?: number } | undefined,
    ]
  >([
    ['nothing yet', {}, undefined],
    ['the cooldown is over', { lastAction: 9700, attempts: [9700] }, undefined],
    ['the cooldown runs', { lastAction: 9701 }, { reason: 'cooldown', until: 10_001 }],
    ['attempts are used up', { attempts: [9100, 9200] }, { reason: 'attempts', until: 10_100 }],
    ['more than that', { attempts: [9100, 9200, 9300] }, { reason: 'attempts', until: 10_200 }],
    ['one is left', { attempts: [9100] }, undefined],
    ['another acts', { busy: {}, lastAction: 9999 }, { reason: 'busy' }],
    ['another verifies', { busy: { until: 10_050 } }, { reason: 'busy', until: 10_050 }],
  ])('%s', (_, history, expected) => {
    const wait = checkLimits(limits, { ...calm, ...history });
    if (expected === undefined) expect(wait).toBeUndefined();
    else expect(wait).toMatchObject(expected);
  });
});
