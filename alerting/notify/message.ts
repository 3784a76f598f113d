import { formatLabels, type Labels } from '../../core/labels.ts';

/** An alert as receivers see it. Times are milliseconds. */
export interface NotifyAlert {
  readonly fingerprint: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly startsAt: number;
  /** Absent while it fires. */
  readonly endsAt?: number;
  readonly generatorUrl: string;
}

/** A group's message: what Alertmanager's templates and webhooks call `Data`. */
export interface Message {
  readonly receiver: string;
  readonly status: 'firing' | 'resolved';
  readonly alerts: readonly NotifyAlert[];
  readonly groupLabels: Labels;
  readonly commonLabels: Labels;
  readonly commonAnnotations: Labels;
  readonly externalUrl: string;
  readonly groupKey: string;
}

export function messageOf(
  group: { receiver: string; key: string; labels: Labels; externalUrl: string },
  alerts: readonly NotifyAlert[],
): Message {
  return {
    receiver: group.receiver,
    status: alerts.some((alert) => alert.endsAt === undefined) ? 'firing' : 'resolved',
    alerts,
    groupLabels: group.labels,
    commonLabels: common(alerts.map(({ labels }) => labels)),
    commonAnnotations: common(alerts.map(({ annotations }) => annotations)),
    externalUrl: group.externalUrl,
    groupKey: group.key,
  };
}

function common([first = {}, ...rest]: readonly Labels[]): Labels {
  return Object.fromEntries(
    Object.entries(first).filter(([name, value]) => rest.every((other) => other[name] === value)),
  );
}

/** As Alertmanager lists a group: by job, instance, and then all labels. */
export function sortAlerts(alerts: readonly NotifyAlert[]): NotifyAlert[] {
  const keyed = alerts.map((alert) => ({ alert, text: formatLabels(alert.labels) }));
  keyed.sort((a, b) => {
    for (const name of ['job', 'instance']) {
      const [x, y] = [a.alert.labels[name], b.alert.labels[name]];
      if (x === y) continue;
      if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
      return x < y ? -1 : 1;
    }
    return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
  });
  return keyed.map(({ alert }) => alert);
}

/** Go's `time.RFC3339Nano`: no zeros at the fraction's end. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.?0*Z$/, 'Z');
}

/** Go's zero time: what Alertmanager writes where an alert has not ended. */
export const NO_TIME = '0001-01-01T00:00:00Z';
