import type { Instance } from '../core/contracts/runtime.ts';
import { formatDuration } from '../core/durations.ts';
import { isReflexarcError, messageOf } from '../core/errors.ts';
import type { Case } from './case.ts';
import type { Context } from './context.ts';
import { judge, type Refusal } from './judge.ts';
import { type LedgerEntry, ledgerKey } from './ledger.ts';
import type { RestartStep } from './playbooks/load.ts';
import { within } from './view.ts';

/** The bound of a call, beyond the runtime's own: a container may have a grace of its own. */
const callTimeout = (step: RestartStep): number => (step.grace ?? 60_000) + 90_000;

/** The pause before a runtime that could not be read is asked again. */
export const STALE_RETRY = 2000;

/** How a step's call went; the case was told, and is saved by the caller. */
export type Acted =
  /** The call returned, or is known to have taken effect: verify. */
  | 'done'
  /** It failed: the ladder goes on. */
  | 'failed'
  /** Its outcome is not known yet: look again. */
  | 'unsure'
  /** The ledger has it already. */
  | 'repeat'
  | Refusal;

/**
 * The step: the ledger first; then, as the last thing before the call, the lease and the target's
 * live identity.
 */
export async function act(
  context: Context,
  one: Case,
  step: RestartStep,
  live: Instance,
  attempt: number,
): Promise<Acted> {
  const { clock, ledger, reports } = context;
  const now = clock.now();
  const entry: LedgerEntry = {
    case: one.id,
    remediation: one.remediation,
    fingerprint: one.alert.fingerprint,
    step: one.step,
    kind: step.kind,
    call: live.state === 'running' ? 'restart' : 'start',
    subject: one.subject,
    start: live.startedAt ?? '',
    phase: 'started',
    tries: [now],
    fence: context.lease.fence,
  };
  const key = ledgerKey(entry);
  await context.cases.saved(one);
  if (!(await ledger.begin(key, entry))) {
    return resume(context, one, step) ? 'unsure' : 'repeat';
  }
  const refusal = await lastLook(context, one, live);
  if (refusal !== undefined) {
    await ledger.update(key, { phase: 'void' });
    return refusal;
  }
  one.status = 'acting';
  one.action = { ledgerKey: key, attempt, startedAt: now };
  // Decided just now, and nothing said before: it had to wait for nothing.
  if (one.records === 1) context.metrics.reaction.observe((clock.now() - one.openedAt) / 1000);
  context.metrics.sinceEvidence.observe(Math.max(0, clock.now() - one.evidenceAt) / 1000);
  reports.report(one, 'started', `${verb(live)} ${one.subject.name}`, {
    step: { index: one.step, kind: step.kind },
    attempt,
  });
  return call(context, one, step, live);
}

/**
 * A step that the ledger has and the case does not: we died after the one was written and before
 * the other was. The case takes it over.
 */
export function resume(context: Context, one: Case, step: RestartStep): boolean {
  const found = context.ledger.begun(one.id, one.step);
  if (found === undefined) return false;
  const { key, entry } = found;
  const startedAt = entry.tries[0] ?? context.clock.now();
  one.action = { ledgerKey: key, attempt: entry.tries.length, startedAt };
  one.status = 'acting';
  const message = `${one.subject.name} was to be started, or was`;
  const at = { index: one.step, kind: step.kind };
  const { attempt } = one.action;
  const fields = { reason: 'interrupted', step: at, attempt } as const;
  context.reports.report(one, 'started', message, fields, entry.tries.length);
  return true;
}

export const verb = (live: Instance): string =>
  live.state === 'running' ? 'restarting' : 'starting';

/** Whether we may act, and the target is still what was decided about; asks both engines anew. */
export async function lastLook(
  context: Context,
  one: Case,
  decided: Instance,
): Promise<Refusal | undefined> {
  let held: boolean;
  let live: Instance | undefined;
  try {
    [held, live] = await Promise.all([
      context.lease.held(),
      context.view.inspect(one.subject.runtime, one.subject.id ?? ''),
    ]);
  } catch (error) {
    return { reason: 'stale_view', message: `it could not be looked at: ${messageOf(error)}` };
  }
  if (!held || context.lease.signal.aborted || context.stopping.aborted) {
    return { reason: 'lease_lost', message: 'this process may not act any longer' };
  }
  if (live !== undefined && live.startedAt !== decided.startedAt) {
    return { reason: 'changed', message: 'it was started again in this very moment' };
  }
  // It ran when it was decided and exited since, or became healthy by itself.
  if (live !== undefined && live.state !== decided.state) {
    return (
      judge({ live, expected: decided.startedAt, evidenceAt: one.evidenceAt }) ?? {
        reason: 'changed',
        message: `it was ${decided.state} and is ${live.state} now`,
      }
    );
  }
  return judge({ live, expected: decided.startedAt, evidenceAt: one.evidenceAt });
}

export async function call(
  context: Context,
  one: Case,
  step: RestartStep,
  live: Instance,
): Promise<Acted> {
  const { clock, ledger, reports, metrics } = context;
  const action = one.action;
  const runtime = context.runtimes.get(one.subject.runtime);
  if (action === undefined || runtime === undefined || one.subject.id === undefined) {
    return 'failed';
  }
  const { id } = one.subject;
  // The ledger has what matters; the case is written while the runtime works.
  const saved = context.cases.save(one);
  saved.catch(() => undefined);
  const from = clock.monotonic();
  const measure = (result: string): void =>
    metrics.calls.observe({ kind: step.kind, result }, (clock.monotonic() - from) / 1000);
  const at = { index: one.step, kind: step.kind };
  try {
    await within(
      clock,
      callTimeout(step),
      `the runtime did not finish within ${formatDuration(callTimeout(step))}`,
      (signal) =>
        live.state === 'running'
          ? runtime.restart(id, step.grace === undefined ? {} : { grace: step.grace }, signal)
          : runtime.start(id, signal),
      context.ending,
    );
  } catch (error) {
    await saved;
    // Given up because we stop: the next process looks at what became of it.
    if (context.ending.aborted) return 'unsure';
    const code = isReflexarcError(error) ? error.code : 'internal';
    measure(code);
    if (code === 'timeout' || code === 'unavailable' || code === 'cancelled') {
      action.unanswered = true;
      reports.report(one, 'waiting', `whether it took effect is not known: ${messageOf(error)}`, {
        reason: 'error',
        step: at,
        error: messageOf(error),
        elapsed: clock.now() - action.startedAt,
      });
      return 'unsure';
    }
    await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
    reports.report(one, 'failed', `it failed: ${messageOf(error)}`, {
      step: at,
      error: messageOf(error),
      elapsed: clock.now() - action.startedAt,
    });
    return 'failed';
  }
  const endedAt = clock.now();
  await saved;
  measure('ok');
  await done(context, one, step, endedAt, await startNow(context, one, live.startedAt), false);
  return 'done';
}

/** The start that a call led to; undefined where it cannot be read: verifying asks again. */
async function startNow(
  context: Context,
  one: Case,
  before: string | undefined,
): Promise<string | undefined> {
  try {
    const live = await context.view.inspect(one.subject.runtime, one.subject.id ?? '');
    return live?.startedAt === before ? undefined : live?.startedAt;
  } catch {
    return undefined; // counted by the view
  }
}

/** The call took effect: the ledger knows, and verifying begins. */
export async function done(
  context: Context,
  one: Case,
  step: RestartStep,
  endedAt: number,
  start: string | undefined,
  cutOff: boolean,
): Promise<void> {
  const { action } = one;
  if (action === undefined) return;
  await context.ledger.update(action.ledgerKey, { phase: 'done', endedAt });
  action.endedAt = endedAt;
  action.deadline = endedAt + step.verify.within;
  one.status = 'verifying';
  if (start === undefined) delete one.expected;
  else one.expected = start;
  context.reports.report(one, 'done', `${one.subject.name} was started; now it is watched`, {
    step: { index: one.step, kind: step.kind },
    attempt: action.attempt,
    elapsed: endedAt - action.startedAt,
    ...(cutOff && action.unanswered !== true ? { reason: 'interrupted' as const } : {}),
  });
}
