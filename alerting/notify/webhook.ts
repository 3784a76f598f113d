import { formatTime, type Message, NO_TIME } from './message.ts';

/**
 * Alertmanager's webhook payload, version 4.
 * https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
 *
 * @param maxAlerts 0: all
 */
export function webhookPayload(message: Message, maxAlerts: number): unknown {
  const sent = maxAlerts > 0 ? message.alerts.slice(0, maxAlerts) : message.alerts;
  return {
    receiver: message.receiver,
    status: message.status,
    alerts: sent.map((alert) => ({
      status: alert.endsAt === undefined ? 'firing' : 'resolved',
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: formatTime(alert.startsAt),
      endsAt: alert.endsAt === undefined ? NO_TIME : formatTime(alert.endsAt),
      generatorURL: alert.generatorUrl,
      fingerprint: alert.fingerprint,
    })),
    groupLabels: message.groupLabels,
    commonLabels: message.commonLabels,
    commonAnnotations: message.commonAnnotations,
    externalURL: message.externalUrl,
    version: '4',
    groupKey: message.groupKey,
    truncatedAlerts: message.alerts.length - sent.length,
  };
}
