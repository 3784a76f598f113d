import type { AlertRecord } from '../../core/records/alert.ts';
import type { Gathered } from '../evaluation/evidence.ts';
import type { RuleSource } from '../rules/rule.ts';
import type { Alert } from './machine.ts';

/**
 * An alert's record for the bus. Its id is made of what it says, so that a record that is sent
 * again after a crash has the same one.
 *
 * @param now milliseconds: when it was decided
 */
export function recordOf(
  rule: RuleSource,
  alert: Alert,
  cause: AlertRecord['cause'],
  gathered: Gathered,
  now: number,
): AlertRecord {
  const what = cause === 'transition' ? alert.state : `evidence.${gathered.newest.toString(36)}`;
  return {
    id: `${alert.fingerprint}.${rule.id.slice(0, 6)}.${alert.activeAt.toString(36)}.${what}`,
    timestamp: now,
    fingerprint: alert.fingerprint,
    state: alert.state,
    cause,
    labels: alert.labels,
    annotations: alert.annotations,
    activeAt: alert.activeAt,
    ...(alert.startsAt === undefined ? {} : { startsAt: alert.startsAt }),
    ...(alert.endsAt === undefined ? {} : { endsAt: alert.endsAt }),
    value: alert.value,
    rule: rule.ref,
    evidence: gathered.evidence,
    silencedBy: [],
    inhibitedBy: [],
  };
}
