import { describe, expect, it } from 'vitest';
import type { ActionRecord } from './action.ts';
import type { AlertRecord } from './alert.ts';
import { actionLine, alertLine } from './history.ts';

const alert: AlertRecord = {
  id: 'a1',
  timestamp: 1_767_323_045_000.25,
  fingerprint: 'f',
  state: 'firing',
  cause: 'transition',
  labels: { alertname: 'Down', service: 'web', host: 'h1' },
  annotations: {},
  activeAt: 1_767_323_044_000,
  value: Number.NaN,
  rule: { file: 'r.yaml', group: 'a group', name: 'Down', kind: 'logql', expr: 'x', for: 0 },
  evidence: [],
  silencedBy: ['s1', 's2'],
  inhibitedBy: [],
};
const action: ActionRecord = {
  id: 'x1',
  timestamp: 1_767_323_046_000,
  case: 'c',
  phase: 'refused',
  reason: 'cooldown',
  message: 'wait\nfor it',
  remediation: 'r',
  alert: { fingerprint: 'f', name: 'Down', labels: { alertname: 'Down' } },
  dryRun: true,
};

describe('history as lines', () => {
  it.each([
    ['firing', {}, 'warn'],
    ['firing', { severity: 'critical' }, 'error'],
    ['resolved', { severity: 'critical' }, 'info'],
    ['pending', {}, 'info'],
  ] as const)('an alert that is %s with %j has the level %s', (state, more, level) => {
    const { stream } = alertLine({ ...alert, state, labels: { ...alert.labels, ...more } });
    expect(stream.labels).toEqual({
      stream: 'alerts',
      service: 'web',
      host: 'h1',
      alertname: 'Down',
      level,
    });
  });

  it('quotes what logfmt needs quoted, and leaves out what is not there', () => {
    const { id, timestamp, line } = alertLine(alert);
    expect(id).toBe('alerts.a1');
    expect(timestamp).toBe('2026-01-02T03:04:05.000250000Z');
    expect(line).toMatch(/^state=firing alertname=Down .* value=NaN rule_group="a group" /);
    expect(line).toContain('silenced_by=s1,s2');
    expect(line).not.toContain('inhibited_by');
  });

  it.each([
    ['own_action', 'info'],
    ['already_done', 'info'],
    ['keep_up', 'warn'],
  ] as const)('a refusal for %s has the level %s', (reason, level) => {
    expect(actionLine({ ...action, reason }).stream.labels['level']).toBe(level);
  });

  it('tells an action, also one without a target', () => {
    const { id, line, stream } = actionLine(action);
    expect(id).toBe('actions.x1');
    expect(stream.labels).toEqual({ stream: 'actions', alertname: 'Down', level: 'warn' });
    expect(line).toBe(
      'phase=refused remediation=r alertname=Down reason=cooldown case=c fingerprint=f dry_run=true message="wait\\nfor it"',
    );
  });
});
