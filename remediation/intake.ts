import type { Instance } from '../core/contracts/runtime.ts';
import { messageOf } from '../core/errors.ts';
import type { ActionReason } from '../core/records/action.ts';
import type { AlertRecord } from '../core/records/alert.ts';
import { type Case, caseId, type Subject, subjectOf } from './case.ts';
import type { Context } from './context.ts';
import type { Remediation } from './playbooks/load.ts';
import { type Aim, type Ground, isDown, resolve } from './target.ts';

/** What an alert's news leads to. */
export interface Taken {
  /** Cases to be decided, now or anew. */
  readonly cases: readonly Case[];
  /** The runtimes could not be read: ask again. */
  readonly stale: boolean;
}

/**
 * From a firing alert to its cases: one for each remediation that it matches and each instance that
 * it is about. What cannot be brought to an instance is refused here.
 */
export async function takeUp(
  context: Context,
  remediations: Iterable<Remediation>,
  record: AlertRecord,
  grounds: readonly Ground[],
): Promise<Taken> {
  const cases: Case[] = [];
  let stale = false;
  for (const remediation of remediations) {
    if (!remediation.matches(record.labels)) continue;
    const { name, problem } = nameOf(remediation, record);
    const general = nowhereCase(context, remediation, record, name);
    const nowhere = (reason: ActionReason, message: string): Promise<void> =>
      refuse(context, general, reason, message);
    if (record.silencedBy.length > 0) {
      await nowhere('silenced', `the alert is silenced by ${record.silencedBy.join(', ')}`);
    } else if (record.inhibitedBy.length > 0) {
      await nowhere('inhibited', `the alert is inhibited by ${record.inhibitedBy.join(', ')}`);
    } else if (problem !== undefined) {
      await nowhere('no_target', problem);
    } else if (name === '') {
      await nowhere('no_target', `${remediation.target.text} gives nothing for this alert`);
    } else {
      try {
        const found = await aimsOf(context, remediation, record, name, grounds);
        if (found.kind === 'none') await nowhere(found.reason, found.message);
        else {
          delete general.reason; // so that it is said again should it come to that
          for (const aim of found.aims) {
            cases.push(...(await open(context, remediation, record, aim)));
          }
        }
      } catch (error) {
        stale = true;
        await nowhere('stale_view', `what runs cannot be read: ${messageOf(error)}`);
      }
    }
  }
  return { cases, stale };
}

/** A template may fail on one alert's labels: that is no ground for the others to wait. */
function nameOf(
  { target }: Remediation,
  record: AlertRecord,
): { readonly name: string; readonly problem?: string } {
  try {
    return { name: target.render(record) };
  } catch (error) {
    return { name: '', problem: `${target.text} fails for this alert: ${messageOf(error)}` };
  }
}

async function aimsOf(
  context: Context,
  remediation: Remediation,
  record: AlertRecord,
  name: string,
  grounds: readonly Ground[],
): Promise<ReturnType<typeof resolve>> {
  const { view, ledger } = context;
  const known = await view.instances();
  const ids = new Set(known.map((one) => one.id));
  // What was made a moment ago may not be in the list yet.
  const extra: Instance[] = [];
  for (const id of new Set(grounds.map((ground) => ground.id))) {
    if (id === undefined || ids.has(id)) continue;
    const found = await view.find(id);
    if (found !== undefined) extra.push(found);
  }
  const project = record.labels['project'];
  const found = resolve(
    { kind: remediation.target.kind, name, ...(project === undefined ? {} : { project }) },
    grounds,
    record.timestamp,
    [...known, ...extra],
    (instance, ground) => ledger.caused(instance.runtime, instance.id, ground.start, ground.at),
  );
  if (found.kind === 'none') return found;
  // An alert that names no start means the run that there is now.
  const aims = await Promise.all(
    found.aims.map(async (aim) =>
      aim.start === undefined
        ? {
            ...aim,
            instance: (await view.inspect(aim.instance.runtime, aim.instance.id)) ?? aim.instance,
          }
        : aim,
    ),
  );
  return { kind: 'aims', aims };
}

async function open(
  context: Context,
  remediation: Remediation,
  record: AlertRecord,
  aim: Aim,
): Promise<readonly Case[]> {
  const { cases } = context;
  const subject = subjectOf(aim.instance);
  const start = aim.start ?? startWithin(aim);
  const made = makeCase(context, remediation, record, subject, aim.at, start);
  const again: Case[] = [];
  for (const kin of cases.kin(made)) {
    if (kin.status === 'finished') {
      // What came before it was verified is settled. By an engine's clock that is behind ours, so
      // would be what came soon after: what is down is not settled, whatever the times say.
      const settled = kin.outcome === 'verified' && kin.expected === start;
      if (settled && aim.at <= kin.changedAt && !(await isDownNow(context, subject))) return [];
      continue;
    }
    if (kin.action !== undefined && absorb(context, kin, aim, start)) return [kin];
    // Of another start: it is to see that it is over.
    if (kin.id !== made.id) again.push(kin);
  }
  const known = cases.get(made.id);
  if (known === undefined) {
    if (aim.own) {
      refuseOwn(context, made);
      return again;
    }
    cases.add(made);
    // Durable before the ledger is written: the step that the ledger has must find its case.
    void cases.save(made).catch(() => undefined);
    return [made, ...again];
  }
  if (aim.own) return again;
  const newer = aim.at > known.changedAt;
  known.evidenceAt = Math.max(known.evidenceAt, aim.at);
  if (known.status !== 'finished') return [known, ...again];
  if (reopens(known, remediation, newer)) {
    known.status = 'open';
    known.decided = false;
    delete known.outcome;
    delete known.reason;
    return [known, ...again];
  }
  context.metrics.repeats.inc();
  if (newer && known.action !== undefined && known.repeatReported !== true) {
    known.repeatReported = true;
    context.reports.report(known, 'refused', 'this very start was acted upon before', {
      reason: 'already_done',
    });
    // Saved when the bus has the record.
  }
  return again;
}

/**
 * A case that ended without any action may be begun again: what the file forbade, when it allows it;
 * what an alert's end had closed, by what is newer.
 */
function reopens(known: Case, remediation: Remediation, newer: boolean): boolean {
  if (known.action !== undefined) return false;
  if (known.outcome === 'skipped') return !remediation.dryRun;
  return known.reason === 'removed' || (newer && known.reason === 'resolved');
}

/** @throws unavailable, permission, timeout */
async function isDownNow({ view }: Context, { runtime, id }: Subject): Promise<boolean> {
  const live = await view.inspect(runtime, id ?? '');
  return live !== undefined && isDown(live);
}

/** The run that evidence without a start is about; none where that began after it. */
function startWithin({ instance, at }: Aim): string | undefined {
  const { startedAt } = instance;
  return startedAt !== undefined && Date.parse(startedAt) > at ? undefined : startedAt;
}

/**
 * What a case has acted upon, and the run that it began, are its own affair until it ends.
 *
 * @returns false when the evidence is about a run that somebody else began
 */
function absorb(context: Context, kin: Case, aim: Aim, start: string | undefined): boolean {
  const before =
    kin.action === undefined ? undefined : context.ledger.get(kin.action.ledgerKey)?.start;
  const isOld = start !== undefined && start === before;
  const isNew =
    start === undefined ||
    start === kin.expected ||
    kin.expected === undefined ||
    kin.status === 'acting';
  if (!isOld && !isNew) return false;
  if (aim.own) return true;
  kin.evidenceAt = Math.max(kin.evidenceAt, aim.at);
  // The run that was there before the action speaks no more against it.
  if (!isOld && (kin.against === undefined || aim.at > kin.against.at)) {
    kin.against = { at: aim.at, ...(aim.start === undefined ? {} : { start: aim.start }) };
  }
  return true;
}

function makeCase(
  context: Context,
  remediation: Remediation,
  record: AlertRecord,
  subject: Subject,
  evidenceAt: number,
  start: string | undefined,
): Case {
  const now = context.clock.now();
  const thing = subject.id ?? `name:${subject.service}`;
  return {
    id: caseId(remediation.name, record.fingerprint, subject.runtime, thing, start ?? ''),
    remediation: remediation.name,
    alert: {
      fingerprint: record.fingerprint,
      name: record.labels['alertname'] ?? record.rule.name,
      labels: record.labels,
    },
    subject,
    ...(start === undefined ? {} : { start, expected: start }),
    openedAt: now,
    status: 'open',
    decided: false,
    step: 0,
    evidenceAt,
    changedAt: now,
    records: 0,
    outbox: [],
  };
}

function refuseOwn(context: Context, one: Case): void {
  one.status = 'refused';
  one.reason = 'own_action';
  context.cases.add(one);
  context.reports.report(one, 'refused', 'what raised the alert was our own action', {
    reason: 'own_action',
  });
}

/** The case of a refusal that concerns no instance; one for each time that the alert fires. */
function nowhereCase(
  context: Context,
  remediation: Remediation,
  record: AlertRecord,
  name: string,
): Case {
  const {
    start: _start,
    expected: _expected,
    ...made
  } = makeCase(
    context,
    remediation,
    record,
    { runtime: '', service: name },
    record.timestamp,
    String(record.startsAt ?? record.activeAt),
  );
  return context.cases.get(made.id) ?? made;
}

/** Said once per reason. */
async function refuse(
  context: Context,
  one: Case,
  reason: ActionReason,
  message: string,
): Promise<void> {
  if (one.reason === reason) return;
  if (context.cases.get(one.id) === undefined) context.cases.add(one);
  one.status = 'refused';
  one.reason = reason;
  // A view that is stale is looked at again by itself.
  const phase = reason === 'stale_view' ? 'waiting' : 'refused';
  context.reports.report(one, phase, message, { reason });
  await context.cases.save(one);
}
