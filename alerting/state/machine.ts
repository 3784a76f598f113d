import type { Labels } from '../../core/labels.ts';

/**
 * An alert's life, as Prometheus has it: rules/alerting.go of prometheus/prometheus names the same
 * states and times. Pure: a step takes the alerts of one rule and an evaluation's result, and gives
 * the alerts after it and what changed.
 */
export interface Alert {
  readonly fingerprint: string;
  readonly labels: Labels;
  /** The result's own labels, before the rule's were added: what its records agree with. */
  readonly metric: Labels;
  readonly annotations: Labels;
  readonly value: number;
  readonly state: 'pending' | 'firing' | 'resolved';
  /** Milliseconds: the expression became true, it began to fire, it ended. */
  readonly activeAt: number;
  readonly startsAt?: number;
  readonly endsAt?: number;
  /** Since when only `keep_firing_for` keeps it. */
  readonly keepFiringSince?: number;
}

/** One element of an evaluation's result, with the rule's labels and annotations. */
export type Finding = Pick<Alert, 'fingerprint' | 'labels' | 'metric' | 'annotations' | 'value'>;

export type Alerts = ReadonlyMap<string, Alert>;

export interface Step {
  readonly alerts: Alerts;
  /** Whose state is another one than before. */
  readonly transitions: readonly Alert[];
  /** Fingerprints that are forgotten: their retention is over. */
  readonly forgotten: readonly string[];
}

/** How long a resolved alert is remembered, milliseconds. */
export const RESOLVED_RETENTION = 15 * 60_000;

export interface Times {
  /** Milliseconds. */
  readonly for: number;
  readonly keepFiringFor: number;
}

const isActive = (alert: Alert | undefined): alert is Alert =>
  alert !== undefined && alert.state !== 'resolved';

/** A tick's evaluation at `at`, milliseconds. */
export function step(before: Alerts, findings: readonly Finding[], at: number, rule: Times): Step {
  const alerts = new Map<string, Alert>();
  const transitions: Alert[] = [];
  const forgotten: string[] = [];
  const found = new Set<string>();
  for (const finding of findings) {
    found.add(finding.fingerprint);
    const old = before.get(finding.fingerprint);
    const current = refresh(old, finding, at);
    const alert =
      current.state === 'pending' && at - current.activeAt >= rule.for
        ? { ...current, state: 'firing' as const, startsAt: at }
        : current;
    alerts.set(alert.fingerprint, alert);
    if (!isActive(old) || old.state !== alert.state) transitions.push(alert);
  }
  for (const old of before.values()) {
    if (found.has(old.fingerprint)) continue;
    const alert = withoutFinding(old, at, rule);
    if (alert.state === 'resolved' && at - (alert.endsAt ?? at) > RESOLVED_RETENTION) {
      forgotten.push(old.fingerprint);
      continue;
    }
    alerts.set(alert.fingerprint, alert);
    if (alert.state !== old.state) transitions.push(alert);
  }
  return { alerts, transitions, forgotten };
}

function refresh(old: Alert | undefined, finding: Finding, at: number): Alert {
  if (!isActive(old)) return { ...finding, state: 'pending', activeAt: at };
  const { keepFiringSince: _, ...rest } = old;
  return { ...rest, value: finding.value, annotations: finding.annotations };
}

function withoutFinding(old: Alert, at: number, rule: Times): Alert {
  if (old.state === 'resolved') return old;
  // It began early, between this tick's time and its evaluation: the next tick decides.
  if (old.activeAt > at) return old;
  if (old.state === 'firing' && rule.keepFiringFor > 0) {
    const since = old.keepFiringSince ?? at;
    if (at - since < rule.keepFiringFor) return { ...old, keepFiringSince: since };
  }
  const { keepFiringSince: _, ...rest } = old;
  return { ...rest, state: 'resolved', endsAt: at };
}

/**
 * Between ticks an alert without `for` may start to fire, and nothing else happens: no active alert
 * changes, none ends.
 */
export function startEarly(before: Alerts, findings: readonly Finding[], at: number): Step {
  const alerts = new Map(before);
  const transitions: Alert[] = [];
  for (const finding of findings) {
    if (isActive(before.get(finding.fingerprint))) continue;
    const alert: Alert = { ...finding, state: 'firing', activeAt: at, startsAt: at };
    alerts.set(alert.fingerprint, alert);
    transitions.push(alert);
  }
  return { alerts, transitions, forgotten: [] };
}

/** Ends whatever is active: the rule is gone. */
export function resolveAll(before: Alerts, at: number): Step {
  const alerts = new Map(before);
  const transitions: Alert[] = [];
  for (const old of before.values()) {
    if (!isActive(old)) continue;
    const { keepFiringSince: _, ...rest } = old;
    const alert: Alert = { ...rest, state: 'resolved', endsAt: Math.max(at, old.activeAt) };
    alerts.set(alert.fingerprint, alert);
    transitions.push(alert);
  }
  return { alerts, transitions, forgotten: [] };
}
