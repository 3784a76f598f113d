import { createHash } from 'node:crypto';
import type { Instance } from '../core/contracts/runtime.ts';
import type { Labels } from '../core/labels.ts';
import type { ActionReason, ActionRecord } from '../core/records/action.ts';

/**
 * Where a case stands. `refused` and `waiting` may be decided anew: the first when the alert has
 * news, the second also when its time has come.
 */
export type CaseStatus = 'open' | 'refused' | 'waiting' | 'acting' | 'verifying' | 'finished';

/**
 * One alert, one remediation, one start of one target. Kept in State after every change, together
 * with the records that the bus has not confirmed yet.
 */
export interface Case {
  readonly id: string;
  readonly remediation: string;
  readonly alert: CaseAlert;
  readonly subject: Subject;
  /** RFC 3339: the start that raised the alert. Absent: nothing of that name could be found. */
  readonly start?: string;
  readonly openedAt: number;
  status: CaseStatus;
  /** Of the last refusal, of the wait, or of the end. */
  reason?: ActionReason;
  /** How it ended. */
  outcome?: 'verified' | 'exhausted' | 'skipped' | 'closed';
  until?: number;
  /** Whether `decided` was reported. */
  decided: boolean;
  /** The next or current step. */
  step: number;
  /** The start that the next step may act upon: `start`, then what our own actions made of it. */
  expected?: string;
  /** Newest evidence on the target, milliseconds since the epoch. */
  evidenceAt: number;
  /** Newest evidence on what our own action started: it counts against the step. */
  against?: { readonly at: number; readonly start?: string };
  /** The action under way or last done. */
  action?: CaseAction;
  /** Ledger keys and `already_done` are reported once. */
  repeatReported?: boolean;
  changedAt: number;
  /** Numbers the records. */
  records: number;
  outbox: ActionRecord[];
}

export interface CaseAlert {
  readonly fingerprint: string;
  readonly name: string;
  readonly labels: Labels;
}

/** What is acted upon. `name` stays when a container is made anew, `id` does not. */
export interface Subject {
  readonly runtime: string;
  readonly service: string;
  readonly project?: string;
  readonly id?: string;
  readonly name?: string;
}

export interface CaseAction {
  readonly ledgerKey: string;
  readonly attempt: number;
  readonly startedAt: number;
  /** Milliseconds since the epoch by our clock; evidence after it counts against the step. */
  endedAt?: number;
  /** The call did not answer: it may still take effect. */
  unanswered?: boolean;
  /** Until when it must have verified. */
  deadline?: number;
}

export const subjectOf = (instance: Instance): Subject => ({
  runtime: instance.runtime,
  service: instance.service,
  ...(instance.project === undefined ? {} : { project: instance.project }),
  id: instance.id,
  name: instance.name,
});

export const serviceKey = (subject: Subject): string =>
  [subject.runtime, subject.project ?? '', subject.service].join('\u0000');

export const targetKey = (subject: Subject): string =>
  [subject.runtime, subject.name ?? subject.id ?? ''].join('\u0000');

/** A short name for a tuple, fit for a key of State. */
export function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\u0000')).digest('base64url').slice(0, 22);
}

/** The case of one alert, one remediation and one start; the same however often it is asked. */
export const caseId = (
  remediation: string,
  fingerprint: string,
  runtime: string,
  thing: string,
  start: string,
): string => digest(remediation, fingerprint, runtime, thing, start);
