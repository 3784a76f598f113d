import { pino } from 'pino';
import { Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Outgoing } from '../../core/contracts/bus.ts';
import type { State } from '../../core/contracts/state.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { decodeAlerts } from '../../core/records/codec.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { evaluationMetrics } from '../evaluation/metrics.ts';
import type { RuleSource } from '../rules/rule.ts';
import { Commits } from './commit.ts';
import { AlertKeeper } from './keeper.ts';
import type { Alert } from './machine.ts';
import { Outbox } from './outbox.ts';
import { recordOf } from './record.ts';

const HOUR = 3_600_000;
const rule: RuleSource = {
  id: 'rule1',
  ref: { file: 'rules/f.yaml', group: 'g', name: 'A', kind: 'promql', expr: 'up', for: 0 },
};
const alert = (state: Alert['state'], more: Partial<Alert> = {}): Alert => ({
  fingerprint: 'f1',
  labels: { alertname: 'A' },
  metric: {},
  annotations: {},
  value: 1,
  state,
  activeAt: 1000,
  ...(state === 'pending' ? {} : { startsAt: 1000 }),
  ...more,
});
const recordFor = (given: Alert) =>
  recordOf(rule, given, 'transition', { evidence: [], newest: 0n, more: false }, 1000);

let clock: ManualClock;
/** As JSON, which is what a real one keeps. */
let memory: Map<string, string>;
let broken: boolean;
beforeEach(() => {
  clock = new ManualClock();
  memory = new Map();
  broken = false;
});

const state = {
  get: (key: string) =>
    Promise.resolve(
      memory.has(key) ? { key, value: JSON.parse(memory.get(key)!), version: '1' } : undefined,
    ),
  list: (prefix: string) =>
    Promise.resolve(
      [...memory]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]) => ({ key, value: JSON.parse(value), version: '1' })),
    ),
  put: (entries: { key: string; value: unknown }[]) => {
    if (broken) return Promise.reject(new ReflexarcError('unavailable', 'no state'));
    for (const { key, value } of entries) memory.set(key, JSON.stringify(value));
    return Promise.resolve();
  },
  delete: (key: string) => Promise.resolve(void memory.delete(key)),
} as unknown as State;

const telemetry = () => ({ clock, log: pino({ level: 'silent' }), metrics: new Registry() });

describe('AlertKeeper', () => {
  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'gives back what it was given, also with the value %d',
    async (value) => {
      const firing = alert('firing', { value, keepFiringSince: 5 });
      await new AlertKeeper(state, telemetry()).put([
        { rule, alert: firing, unpublished: recordFor(firing) },
      ]);
      const restored = await new AlertKeeper(state, telemetry()).restore();
      expect(restored.rules.get('rule1')).toEqual({
        rule: { id: 'rule1', ref: rule.ref },
        alerts: new Map([['f1', firing]]),
      });
      expect(restored.unpublished).toEqual([recordFor(firing)]);
    },
  );

  it.each([
    ['pending', HOUR, 1],
    ['pending', HOUR + 60_001, 0],
    ['firing', 100 * HOUR, 1],
  ] as const)('what was %s %d ms ago: %d', async (what, away, count) => {
    const keeper = new AlertKeeper(state, telemetry());
    await keeper.put([{ rule, alert: alert(what) }]);
    await keeper.seen();
    clock.jump(away);
    const { rules } = await new AlertKeeper(state, telemetry()).restore();
    expect(rules.get('rule1')?.alerts.size ?? 0).toBe(count);
  });
});

describe('a transition', () => {
  it('is told to nobody when State cannot keep it', async () => {
    const told: Alert[] = [];
    const keeper = new AlertKeeper(state, telemetry());
    const commits = new Commits(keeper, telemetry(), (_, each) => told.push(each));
    const firing = alert('firing');
    const change = {
      rule,
      transitions: [{ alert: firing, record: recordFor(firing) }],
      kept: [],
      forgotten: [],
    };
    broken = true;
    await expect(commits.commit(change)).rejects.toThrow('no state');
    expect(told).toEqual([]);
    broken = false;
    await commits.commit(change);
    expect(told).toEqual([firing]);
  });

  it('stays in State as unpublished until the bus has it, and is sent again with the same id', async () => {
    const sent: string[] = [];
    let fails = 2;
    const bus = {
      publish: (_: string, messages: readonly Outgoing[]) => {
        if (fails-- > 0) return Promise.reject(new ReflexarcError('unavailable', 'no bus'));
        for (const { value } of messages)
          sent.push(...decodeAlerts(value).records.map(({ id }) => id));
        return Promise.resolve();
      },
    };
    const wired = telemetry();
    const keeper = new AlertKeeper(state, wired);
    const outbox = new Outbox(
      { bus, telemetry: wired, metrics: evaluationMetrics(wired) },
      new AbortController().signal,
      (records) => commits.published(records),
    );
    const commits = new Commits(keeper, wired, (_, __, record) => outbox.add([record]));
    const firing = alert('firing');
    const record = recordFor(firing);
    await commits.commit({
      rule,
      transitions: [{ alert: firing, record }],
      kept: [],
      forgotten: [],
    });
    const ended = alert('resolved', { endsAt: 9000 });
    await clock.advance(999);
    expect(sent).toEqual([]);
    // Here a crash would lead to the same record.
    expect((await new AlertKeeper(state, wired).restore()).unpublished).toEqual([record]);
    expect(commits.isPublished(rule, 'f1')).toBe(false);
    outbox.add([recordFor(ended)]);
    await clock.advance(2000);
    expect(sent).toEqual([record.id, recordFor(ended).id]);
    expect((await new AlertKeeper(state, wired).restore()).unpublished).toEqual([]);
    expect(commits.isPublished(rule, 'f1')).toBe(true);
  });
});
