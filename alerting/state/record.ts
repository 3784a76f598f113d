import { createHash } from 'node:crypto';
import type { AlertRecord, Evidence } from '../../core/records/alert.ts';
import { evidenceKey, type Gathered } from '../evaluation/evidence.ts';
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
  const what = cause === 'transition' ? alert.state : `evidence.${digestOf(gathered.evidence)}`;
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

/** Of all of it, and not of the newest: what comes late may name another container. */
function digestOf(evidence: readonly Evidence[]): string {
  const hash = createHash('sha256');
  for (const each of evidence) hash.update(`${evidenceKey(each)}\u0000`);
  return hash.digest('base64url').slice(0, 16);
}
