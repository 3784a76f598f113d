import type { Instance } from '../core/contracts/runtime.ts';
import { messageOf } from '../core/errors.ts';
import { type Acted, call, done, lastLook, STALE_RETRY, verb } from './act.ts';
import type { Case } from './case.ts';
import type { Context } from './context.ts';
import { judge, type Refusal } from './judge.ts';
import type { RestartStep } from './playbooks/load.ts';
import { isDown } from './target.ts';

/**
 * By when an engine is through with a restart, whether or not anybody still waits for it: its own
 * grace of ten seconds where the step names none, and some time to start.
 */
const through = (step: RestartStep): number => (step.grace ?? 10_000) + 30_000;

/** An engine that stopped something to restart it has started it again by then. */
const START_GAP = 5000;

/**
 * Takes up a step whose outcome is not known: we died in it, or the call did not answer. A newer
 * start than the ledger's shows that it took effect. Otherwise it is repeated only where that is
 * safe: after an interruption, the same start still down or unhealthy, and not before the engine
 * must be through with the call that it may have got.
 */
export async function recover(
  context: Context,
  one: Case,
  step: RestartStep,
  attempts: (now: number) => Refusal | undefined,
): Promise<Acted> {
  const { clock, ledger, reports } = context;
  const { action } = one;
  const entry = action === undefined ? undefined : ledger.get(action.ledgerKey);
  if (action === undefined || entry === undefined || entry.phase === 'void') {
    return { reason: 'interrupted', message: 'it was interrupted before the runtime was called' };
  }
  const at = { index: one.step, kind: step.kind };
  if (entry.phase === 'failed') {
    reports.report(one, 'failed', 'it failed', { step: at, reason: 'interrupted' });
    return 'failed';
  }
  const lastTry = entry.tries.at(-1) ?? action.startedAt;
  if (entry.phase === 'done') {
    await done(context, one, step, entry.endedAt ?? lastTry, undefined, true);
    return 'done';
  }
  let live: Instance | undefined;
  try {
    live = await context.view.inspect(one.subject.runtime, one.subject.id ?? '');
  } catch (error) {
    if (one.reason !== 'stale_view') {
      one.reason = 'stale_view';
      reports.report(one, 'waiting', `its runtime cannot be read: ${messageOf(error)}`, {
        reason: 'stale_view',
        step: at,
      });
    }
    await context.pause(one, STALE_RETRY);
    return 'unsure';
  }
  if (live === undefined) {
    await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
    return { reason: 'changed', message: 'it is gone' };
  }
  const over =
    live.state === 'running'
      ? lastTry + through(step)
      : Math.max(lastTry, Date.parse(live.finishedAt ?? '') || 0) + START_GAP;
  if (live.startedAt !== undefined && live.startedAt !== entry.start) {
    const startedAt = Math.ceil(Date.parse(live.startedAt));
    if (startedAt > lastTry + through(step)) {
      await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
      return { reason: 'changed', message: `it was started again at ${live.startedAt}, not by us` };
    }
    const endedAt = Math.min(Math.max(lastTry, startedAt), clock.now());
    await done(context, one, step, endedAt, live.startedAt, true);
    return 'done';
  }
  // A restart may still be under way in the engine, though nobody waits for it: it is given its
  // time, since a second one on top would be one too many. A start does no harm if it comes late.
  const underWay = entry.call === 'restart';
  if (underWay && clock.now() < over) {
    if (one.reason !== 'interrupted' && action.unanswered !== true) {
      one.reason = 'interrupted';
      reports.report(
        one,
        'waiting',
        'the step was cut off; whether it takes effect is being watched',
        { reason: 'interrupted', step: at, until: over },
      );
      await context.cases.save(one);
    }
    await context.pause(one, over - clock.now());
    return 'unsure';
  }
  if (context.stopping.aborted) return 'unsure';
  const refusal =
    judge({ live, expected: entry.start, evidenceAt: one.evidenceAt }) ?? attempts(clock.now());
  if (refusal !== undefined) {
    await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
    return refusal;
  }
  // To start what is down may be repeated without harm; a second restart only where the first
  // cannot still be under way.
  const safe = live.state !== 'running' || (isDown(live) && action.unanswered !== true);
  if (!safe) {
    await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
    reports.report(one, 'failed', 'the step had no effect, and to repeat it is not safe', {
      reason: action.unanswered === true ? 'error' : 'interrupted',
      step: at,
      elapsed: clock.now() - action.startedAt,
    });
    return 'failed';
  }
  const now = clock.now();
  await ledger.update(action.ledgerKey, {
    tries: [...entry.tries, now],
    call: live.state === 'running' ? 'restart' : 'start',
    fence: context.lease.fence,
  });
  const late = await lastLook(context, one, live);
  if (late !== undefined) {
    await ledger.update(action.ledgerKey, { phase: 'failed', endedAt: clock.now() });
    return late;
  }
  one.action = { ...action, attempt: action.attempt + 1 };
  reports.report(
    one,
    'started',
    `${verb(live)} ${one.subject.name}, as the first try was cut off`,
    {
      reason: 'interrupted',
      step: at,
      attempt: one.action.attempt,
    },
    entry.tries.length + 1,
  );
  return call(context, one, step, live);
}
