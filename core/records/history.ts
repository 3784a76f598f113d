import type { Labels } from '../labels.ts';
import { formatRfc3339, millisToNanos } from '../time.ts';
import type { ActionRecord } from './action.ts';
import type { AlertRecord } from './alert.ts';
import { FIELD, type LogRecord } from './log.ts';

/**
 * An alert's transition or an action as a log line, so that the history of every heal is a LogQL
 * query: `{stream="actions", service="web"} | logfmt | phase="verified"`.
 */
export function alertLine(record: AlertRecord): LogRecord {
  const { labels, state } = record;
  const name = labels['alertname'] ?? record.rule.name;
  return toRecord(record, 'alerts', labels, name, alertLevel(state, labels), state, [
    ['state', state],
    ['alertname', name],
    ['cause', record.cause],
    ['service', labels['service']],
    ['severity', labels['severity']],
    ['fingerprint', record.fingerprint],
    ['value', String(record.value)],
    ['rule_group', record.rule.group],
    ['rule_file', record.rule.file],
    ['active_at', time(record.activeAt)],
    ['starts_at', time(record.startsAt)],
    ['ends_at', time(record.endsAt)],
    ['silenced_by', list(record.silencedBy)],
    ['inhibited_by', list(record.inhibitedBy)],
    ['labels', JSON.stringify(labels)],
    ['summary', record.annotations['summary'] ?? record.annotations['description']],
  ]);
}

export function actionLine(record: ActionRecord): LogRecord {
  const { alert, target, phase } = record;
  const service = target?.service ?? alert.labels['service'];
  const labels = { ...alert.labels, ...(service === undefined ? {} : { service }) };
  return toRecord(record, 'actions', labels, alert.name, actionLevel(record), phase, [
    ['phase', phase],
    ['remediation', record.remediation],
    ['alertname', alert.name],
    ['reason', record.reason],
    ['service', service],
    ['project', target?.project],
    ['container', target?.container],
    ['runtime', target?.runtime],
    ['step', record.step?.kind],
    ['step_index', text(record.step?.index)],
    ['attempt', text(record.attempt)],
    ['case', record.case],
    ['fingerprint', alert.fingerprint],
    ['dry_run', record.dryRun ? 'true' : undefined],
    ['elapsed_ms', text(record.elapsed)],
    ['since_evidence_ms', text(record.sinceEvidence)],
    ['until', time(record.until)],
    ['receiver', record.receiver],
    ['error', record.error],
    ['message', record.message],
  ]);
}

const LEVELS: Readonly<Partial<Record<ActionRecord['phase'], string>>> = {
  failed: 'error',
  exhausted: 'error',
  unverified: 'warn',
  refused: 'warn',
};

/** What a heal of ours leaves behind is told, but nothing is wrong with it. */
const AFTER_EFFECTS: ReadonlySet<ActionRecord['reason']> = new Set(['own_action', 'already_done']);

function actionLevel({ phase, reason }: ActionRecord): string {
  if (phase === 'refused' && AFTER_EFFECTS.has(reason)) return 'info';
  return LEVELS[phase] ?? 'info';
}

function alertLevel(state: AlertRecord['state'], labels: Labels): string {
  if (state !== 'firing') return 'info';
  return /^(critical|error|page)$/i.test(labels['severity'] ?? '') ? 'error' : 'warn';
}

function toRecord(
  { id, timestamp }: { readonly id: string; readonly timestamp: number },
  stream: 'alerts' | 'actions',
  from: Labels,
  alertname: string,
  level: string,
  action: string,
  pairs: readonly (readonly [string, string | undefined])[],
): LogRecord {
  const { service, host } = from;
  const resource: Record<string, string> = { 'log.level': level };
  if (service !== undefined) resource['service.name'] = service;
  if (host !== undefined) resource['host.name'] = host;
  return {
    id: `${stream}.${id}`,
    timestamp: formatRfc3339(millisToNanos(timestamp)),
    line: logfmt(pairs),
    stream: {
      labels: {
        stream,
        ...(service === undefined ? {} : { service }),
        ...(host === undefined ? {} : { host }),
        alertname,
        level,
      },
      resource,
    },
    fields: {
      [FIELD.eventKind]: stream === 'alerts' ? 'alert' : 'event',
      [FIELD.eventAction]: action,
    },
  };
}

function logfmt(pairs: readonly (readonly [string, string | undefined])[]): string {
  return pairs
    .filter((pair): pair is readonly [string, string] => pair[1] !== undefined)
    .map(
      ([name, value]) =>
        `${name}=${/^[^\s"=\\\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value)}`,
    )
    .join(' ');
}

const text = (value: number | undefined): string | undefined => value?.toString();
const time = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : formatRfc3339(millisToNanos(ms));
const list = (items: readonly string[] | undefined): string | undefined =>
  items === undefined || items.length === 0 ? undefined : items.join(',');
