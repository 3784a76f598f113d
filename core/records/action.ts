import type { Labels } from '../labels.ts';
import type { Origin } from './metric.ts';

/**
 * What happens to a heal. `refused` and `failed` end a step, `verified` and `exhausted` end the
 * case; `skipped` is a dry run's `started`.
 */
export const ACTION_PHASES = [
  'decided', // an alert matched a remediation; the case is open
  'refused', // not acted upon, `reason` says why
  'waiting', // allowed later: `until`
  'started', // the ledger is written, the runtime is called next
  'skipped', // dry_run: what would have been started
  'done', // the runtime's call returned
  'failed', // the runtime's call failed
  'verified', // the target is healthy and the rule's evidence has stopped
  'unverified', // it did not verify in time; the ladder goes on
  'notified', // a notify step: alerting sends it to `receiver`
  'exhausted', // the ladder is at its end and the target is not healthy
  'closed', // the case ended without (more) action, `reason` says why
] as const;

export type ActionPhase = (typeof ACTION_PHASES)[number];

/** Why something was not done, or was given up. Closed, so that it can be counted. */
export const ACTION_REASONS = [
  'no_target', // the template gave nothing, or nothing has that name: a no-op, never all
  'ambiguous_target',
  'silenced',
  'inhibited',
  'opted_out', // the target's own label or entry says so
  'stopped_by_hand',
  'engine_acts', // a restart policy or an orchestrator is already bringing it back
  'changed', // it is no longer the start that raised the alert
  'own_action', // the evidence was caused by our own action
  'cooldown',
  'attempts',
  'busy', // one at a time: another action on the target is under way
  'keep_up', // too few replicas would be left
  'already_done', // the ledger has this very case
  'interrupted', // we died in the middle of the step; whether it took effect is being looked at
  'stale_view', // the runtime cannot be read, or what it shows is too old
  'resolved', // the alert ended before the action
  'dry_run',
  'removed', // remediations.yaml does not ask for it any more
  'lease_lost',
  'error',
] as const;

export type ActionReason = (typeof ACTION_REASONS)[number];

/** One decision, taken or refused. Published on `actions` in order per case. */
export interface ActionRecord {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  /** One case: one alert, one target's start; all its records share it. */
  readonly case: string;
  readonly phase: ActionPhase;
  readonly reason?: ActionReason;
  /** One sentence for people. */
  readonly message: string;
  readonly remediation: string;
  readonly alert: { readonly fingerprint: string; readonly name: string; readonly labels: Labels };
  readonly target?: ActionTarget;
  readonly step?: { readonly index: number; readonly kind: string };
  readonly attempt?: number;
  readonly dryRun: boolean;
  /** Milliseconds from the newest evidence's own time to this record. */
  readonly sinceEvidence?: number;
  /** Milliseconds since the step started; for `done`, `verified` and the like. */
  readonly elapsed?: number;
  /** For `waiting`: when it is looked at again, milliseconds since the epoch. */
  readonly until?: number;
  readonly receiver?: string;
  /** Error's text for `failed`. */
  readonly error?: string;
}

export interface ActionTarget {
  readonly runtime: string;
  readonly service: string;
  readonly project?: string;
  readonly container?: string;
  readonly origin?: Origin;
}
