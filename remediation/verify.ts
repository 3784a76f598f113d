import type { Instance } from '../core/contracts/runtime.ts';
import { formatDuration } from '../core/durations.ts';
import { messageOf } from '../core/errors.ts';
import { STALE_RETRY } from './act.ts';
import type { Case } from './case.ts';
import type { Context } from './context.ts';
import type { RestartStep } from './playbooks/load.ts';

/** What a look at the target says. */
type Look =
  | { readonly kind: 'healthy' }
  | { readonly kind: 'not_yet'; readonly message: string }
  /** Someone stopped it: whether the step helped will not be known. */
  | { readonly kind: 'stopped' }
  /** It will not become what was hoped for. */
  | { readonly kind: 'lost'; readonly message: string };

/**
 * Verified means: the target is healthy, and nothing newer than the action's end matches the rule,
 * for `healthy_for`, within `within`. The alert itself may fire on: its window looks back.
 *
 * Driven by the runtime's news and the alert's, with timers for what only time brings.
 *
 * @returns undefined when we stop before it is known; `stopped` when someone stopped the target
 */
export async function verify(
  context: Context,
  one: Case,
  step: RestartStep,
): Promise<'verified' | 'unverified' | 'stopped' | undefined> {
  const { clock, reports } = context;
  const { action } = one;
  if (action?.endedAt === undefined || action.deadline === undefined) return 'unverified';
  const { endedAt } = action;
  const begun = clock.now();
  // While this process was away nobody looked: what is healthy now is given its time.
  const deadline = Math.max(action.deadline, begun + step.verify.healthyFor);
  const oldStart = context.ledger.get(action.ledgerKey)?.start;
  let healthySince: number | undefined;
  const end = (phase: 'verified' | 'unverified', message: string): typeof phase => {
    reports.report(one, phase, message, {
      step: { index: one.step, kind: step.kind },
      attempt: action.attempt,
      elapsed: clock.now() - action.startedAt,
    });
    return phase;
  };

  while (!context.stopping.aborted) {
    const look = await lookAt(context, one, oldStart);
    const now = clock.now();
    if (look.kind === 'stopped') return 'stopped';
    if (look.kind === 'lost') return end('unverified', look.message);
    if (look.kind === 'healthy') {
      healthySince ??= now;
      const against = one.against?.at;
      // Evidence counts from when it was written, though it is heard of later.
      if (against !== undefined && against > endedAt && against > healthySince) {
        healthySince = Math.min(against, now);
      }
      if (now - healthySince >= step.verify.healthyFor) {
        return end('verified', `${one.subject.name} is healthy, and nothing new speaks against it`);
      }
    } else {
      healthySince = undefined;
    }
    if (now >= deadline) {
      const why =
        look.kind === 'not_yet' ? look.message : 'it is healthy, but what raised the alert goes on';
      return end('unverified', `not verified within ${formatDuration(step.verify.within)}: ${why}`);
    }
    const next = healthySince === undefined ? deadline : healthySince + step.verify.healthyFor;
    const pause = Math.min(next, deadline) - now;
    const unread = look.kind === 'not_yet' && look.message.startsWith(UNREADABLE);
    await context.pause(one, unread ? Math.min(pause, STALE_RETRY) : pause);
  }
  return undefined;
}

/** How far the engine's clock may be ahead of ours. */
const SKEW = 1000;
const UNREADABLE = 'it cannot be looked at';

async function lookAt(context: Context, one: Case, oldStart: string | undefined): Promise<Look> {
  let live: Instance | undefined;
  try {
    live = await context.view.inspect(one.subject.runtime, one.subject.id ?? '');
  } catch (error) {
    return { kind: 'not_yet', message: `${UNREADABLE}: ${messageOf(error)}` };
  }
  if (live === undefined) return { kind: 'lost', message: 'it is gone' };
  if (one.expected === undefined) {
    if (live.startedAt !== undefined && live.startedAt !== oldStart) {
      const endedAt = one.action?.endedAt ?? 0;
      if (Date.parse(live.startedAt) > endedAt + SKEW) {
        return { kind: 'lost', message: `it was started again at ${live.startedAt}, not by us` };
      }
      one.expected = live.startedAt;
    } else if (live.state === 'running') {
      return { kind: 'not_yet', message: 'the runtime shows no newer start' };
    }
  }
  if (one.expected !== undefined && live.startedAt !== one.expected) {
    return {
      kind: 'lost',
      message: `its new run ended: it was started again at ${live.startedAt}`,
    };
  }
  if (live.state === 'paused') return { kind: 'not_yet', message: 'it is paused' };
  if (live.state !== 'running' && live.stoppedByHand === true) return { kind: 'stopped' };
  if (live.state !== 'running') {
    const code = live.exitCode === undefined ? '' : ` with exit code ${live.exitCode}`;
    return { kind: 'lost', message: `its new run is ${live.state}${code}` };
  }
  if (live.health === 'healthy' || live.health === 'none') return { kind: 'healthy' };
  return { kind: 'not_yet', message: `its health is ${live.health}` };
}
