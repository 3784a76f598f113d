import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Alert,
  type Alerts,
  type Finding,
  RESOLVED_RETENTION,
  resolveAll,
  startEarly,
  step,
} from './machine.ts';

const finding = (fingerprint: string, value = 1): Finding => ({
  fingerprint,
  labels: { alertname: 'A', id: fingerprint },
  metric: { id: fingerprint },
  annotations: { value: String(value) },
  value,
});

const S = 1000;

/** Steps of 15 s: whether the expression is true, and what the alert is after it. */
describe('one alert over ticks of 15 s', () => {
  it.each<[string, { for?: number; keep?: number }, string, string]>([
    ['for 0s fires at once', {}, '.1110', '.FFFr'],
    ['for 0s and a gap', {}, '101', 'FrF'],
    ['for 30s', { for: 30 }, '11110', 'ppFFr'],
    ['for 30s, interrupted', { for: 30 }, '110111', 'ppRppF'],
    ['for below the interval', { for: 1 }, '11', 'pF'],
    ['kept firing for 30s', { keep: 30 }, '1000', 'FFFr'],
    ['kept firing, then true again', { keep: 30 }, '10010001', 'FFFFFFrF'],
    ['pending is not kept', { for: 30, keep: 30 }, '1100', 'ppRR'],
    ['false all along', {}, '...', '...'],
  ])('%s', (_, times, input, expected) => {
    const rule = { for: (times.for ?? 0) * S, keepFiringFor: (times.keep ?? 0) * S };
    let alerts: Alerts = new Map();
    let states = '';
    for (const [index, char] of input.split('').entries()) {
      alerts = step(alerts, char === '1' ? [finding('a')] : [], index * 15 * S, rule).alerts;
      const alert = alerts.get('a');
      // R: ended without having fired.
      states +=
        alert === undefined
          ? '.'
          : alert.state === 'pending'
            ? 'p'
            : alert.state === 'firing'
              ? 'F'
              : alert.startsAt === undefined
                ? 'R'
                : 'r';
    }
    expect(states).toBe(expected);
  });
});

describe('step', () => {
  const rule = { for: 0, keepFiringFor: 0 };

  it('takes the newest value and annotations, and keeps the times', () => {
    const first = step(new Map(), [finding('a', 1)], 0, rule);
    const second = step(first.alerts, [finding('a', 2)], 15 * S, rule);
    expect(second.transitions).toEqual([]);
    expect(second.alerts.get('a')).toMatchObject({
      value: 2,
      annotations: { value: '2' },
      activeAt: 0,
      startsAt: 0,
    });
  });

  it('forgets a resolved alert after its retention', () => {
    let { alerts } = step(new Map(), [finding('a')], 0, rule);
    ({ alerts } = step(alerts, [], S, rule));
    expect(step(alerts, [], S + RESOLVED_RETENTION, rule).forgotten).toEqual([]);
    expect(step(alerts, [], S + RESOLVED_RETENTION + 1, rule)).toMatchObject({
      forgotten: ['a'],
      transitions: [],
    });
  });

  it('does not end an alert that began after the tick', () => {
    const { alerts } = startEarly(new Map(), [finding('a')], 15_001);
    expect(step(alerts, [], 15_000, rule).transitions).toEqual([]);
    expect(step(alerts, [], 30_000, rule).transitions).toMatchObject([{ state: 'resolved' }]);
  });
});

describe('startEarly', () => {
  it('starts what is not active and changes nothing else', () => {
    let alerts: Alerts = step(new Map(), [finding('a'), finding('b')], 0, {
      for: 0,
      keepFiringFor: 0,
    }).alerts;
    alerts = step(alerts, [finding('a')], S, { for: 0, keepFiringFor: 0 }).alerts;
    const early = startEarly(alerts, [finding('a', 9), finding('b'), finding('c')], 2 * S);
    expect(early.transitions.map(({ fingerprint, startsAt }) => [fingerprint, startsAt])).toEqual([
      ['b', 2 * S],
      ['c', 2 * S],
    ]);
    expect(early.alerts.get('a')).toBe(alerts.get('a'));
  });
});

it('resolveAll ends what is active', () => {
  const { alerts } = step(new Map(), [finding('a')], 0, { for: 5 * S, keepFiringFor: 0 });
  const ended = resolveAll(alerts, S);
  expect(ended.transitions).toMatchObject([{ fingerprint: 'a', state: 'resolved', endsAt: S }]);
  expect(resolveAll(ended.alerts, 2 * S).transitions).toEqual([]);
});

/** The definition, looked up in the whole history at every tick instead of kept as a state. */
function naive(
  history: readonly boolean[],
  rule: { for: number; keepFiringFor: number },
  at: number,
) {
  let from = -1;
  let fired = -1;
  let lost = -1;
  let state: Alert['state'] | undefined;
  for (let tick = 0; tick <= at; tick++) {
    if (history[tick] === true) {
      if (from === -1) from = tick;
      lost = -1;
      if (fired === -1 && tick - from >= rule.for) fired = tick;
      state = fired === -1 ? 'pending' : 'firing';
    } else if (from !== -1) {
      if (lost === -1) lost = tick;
      if (fired !== -1 && rule.keepFiringFor > 0 && tick - lost < rule.keepFiringFor) continue;
      from = fired = lost = -1;
      state = 'resolved';
    }
  }
  return state;
}

it('agrees with a naive model, and names each transition once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { maxLength: 40 }),
      fc.integer({ min: 0, max: 5 }),
      fc.integer({ min: 0, max: 5 }),
      (history, hold, keep) => {
        const rule = { for: hold, keepFiringFor: keep };
        let alerts: Alerts = new Map();
        let last: string | undefined;
        for (let at = 0; at < history.length; at++) {
          const result = step(alerts, history[at] === true ? [finding('a')] : [], at, rule);
          const state = naive(history, rule, at);
          expect(result.alerts.get('a')?.state).toBe(state);
          const restarted = last === 'resolved' && state !== 'resolved';
          expect(result.transitions.length).toBe(state !== last || restarted ? 1 : 0);
          last = state;
          alerts = result.alerts;
        }
      },
    ),
  );
});
