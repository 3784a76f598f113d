import type { Instance } from '../core/contracts/runtime.ts';
import { messageOf } from '../core/errors.ts';
import type { ActionReason } from '../core/records/action.ts';
import type { AlertRecord } from '../core/records/alert.ts';
import { formatMillis } from '../core/time.ts';
import { type Acted, act, resume, STALE_RETRY } from './act.ts';
import { type Case, serviceKey } from './case.ts';
import type { Context } from './context.ts';
import { checkLimits, judge, keepUp, type Refusal, type Wait } from './judge.ts';
import type { Remediation, RestartStep } from './playbooks/load.ts';
import { recover } from './recover.ts';
import { isDown } from './target.ts';
import { verify } from './verify.ts';

/** Reasons that end a ladder on its way: people, the engine or the file took over. */
const ENDS: ReadonlySet<ActionReason> = new Set([
  'silenced',
  'inhibited',
  'opted_out',
  'stopped_by_hand',
  'engine_acts',
  'changed',
  'own_action',
  'already_done',
  'interrupted',
]);

/**
 * Takes a case as far as it goes now: to its end, to a refusal, or to a wait. The case is saved
 * whenever it rests.
 */
export async function climb(context: Context, one: Case): Promise<void> {
  while (!context.ending.aborted) {
    const remediation = context.remediation(one.remediation);
    if (remediation === undefined || !remediation.matches(one.alert.labels)) {
      // A call that is under way or done is seen through; nothing more is begun.
      if (one.status !== 'acting' && one.status !== 'verifying') {
        return finish(context, one, 'removed', 'remediations.yaml does not ask for it any more');
      }
    }
    const step = remediation?.steps[one.step];
    switch (one.status) {
      case 'open':
      case 'refused':
      case 'waiting':
        if (context.stopping.aborted) return;
        if (remediation !== undefined) await decide(context, one, remediation);
        break;
      case 'acting':
        if (context.stopping.aborted) return;
        await takeUp(context, one, step?.kind === 'restart' ? step : FALLBACK, remediation);
        break;
      case 'verifying': {
        const verdict = await verify(context, one, step?.kind === 'restart' ? step : FALLBACK);
        if (verdict === undefined) return;
        if (verdict === 'verified') return end(context, one, 'verified');
        if (verdict === 'stopped') {
          return finish(context, one, 'stopped_by_hand', 'someone stopped it while it was watched');
        }
        await goOn(context, one, remediation);
        break;
      }
      case 'finished':
        return;
    }
    const status: string = one.status;
    if (status === 'finished' || status === 'refused' || status === 'waiting') return;
  }
}

/** Evidence that is older may tell what was, and not what is. */
const FRESH = 10_000;

/**
 * Whether an alert speaks of what is over by all that can be seen, for a target that is not down. It
 * may fire on all the same: its window looks back, or nobody evaluated it while we were away.
 */
function isPast(context: Context, one: Case, alert: AlertRecord, step: RestartStep): boolean {
  const now = context.clock.now();
  // At the start alerting says again what it knew: only newer evidence is news then.
  const heard = alert.cause === 'transition' ? alert.timestamp : one.evidenceAt;
  if (heard < context.since - FRESH) return true;
  // After a wait it takes what a step must show to be verified.
  const waited = now - one.openedAt > FRESH && alert.evidence.length > 0;
  return waited && one.evidenceAt < now - Math.max(FRESH, step.verify.healthyFor);
}

/** For a step that was begun, and is no longer in the file. */
const FALLBACK: RestartStep = { kind: 'restart', verify: { within: 60_000, healthyFor: 10_000 } };

async function decide(context: Context, one: Case, remediation: Remediation): Promise<void> {
  const { alerts, reports } = context;
  const begun = remediation.steps[one.step];
  if (begun?.kind === 'restart' && resume(context, one, begun)) {
    context.busy.set(serviceKey(one.subject), one);
    return;
  }
  const tracked = alerts.get(one.alert.fingerprint)?.record;
  const onTheWay = one.action !== undefined;
  const firing = tracked?.state === 'firing';
  // An alert also ends because its window moved on, while what waits for its turn, or for the
  // engine, is down still.
  const waits = one.status === 'waiting' || one.reason === 'engine_acts';
  if (!firing && !onTheWay && !waits) {
    return finish(context, one, 'resolved', 'the alert ended');
  }
  const step = remediation.steps[one.step];
  if (step === undefined) return exhaust(context, one);
  if (firing && tracked.silencedBy.length > 0) {
    return refuse(context, one, {
      reason: 'silenced',
      message: `the alert is silenced by ${tracked.silencedBy.join(', ')}`,
    });
  }
  if (firing && tracked.inhibitedBy.length > 0) {
    return refuse(context, one, {
      reason: 'inhibited',
      message: `the alert is inhibited by ${tracked.inhibitedBy.join(', ')}`,
    });
  }
  let live: Instance | undefined;
  let others: readonly Instance[] = [];
  try {
    live = await context.view.inspect(one.subject.runtime, one.subject.id ?? '');
    if (live?.state === 'running' && step.kind === 'restart') others = await siblings(context, one);
  } catch (error) {
    return wait(context, one, {
      reason: 'stale_view',
      message: `what runs cannot be read: ${messageOf(error)}`,
      until: context.clock.now() + STALE_RETRY,
    });
  }
  if (!firing && live !== undefined && !isDown(live)) {
    return finish(context, one, 'resolved', 'the alert ended, and the target runs');
  }
  const expected = one.expected ?? one.start;
  const refusal =
    judge({ live, expected, evidenceAt: one.evidenceAt }) ??
    (live === undefined || step.kind !== 'restart'
      ? undefined
      : keepUp(remediation.limits.keepUp, live, others));

  if (step.kind === 'notify') {
    // To tell somebody needs no leave of the target; on the first step it needs a ground.
    if (refusal !== undefined && !onTheWay) return refuse(context, one, refusal);
    decided(context, one, remediation);
    reports.report(one, remediation.dryRun ? 'skipped' : 'notified', `tells ${step.receiver}`, {
      step: { index: one.step, kind: 'notify' },
      receiver: step.receiver,
      ...(remediation.dryRun ? { dryRun: true, reason: 'dry_run' as const } : {}),
    });
    return goOn(context, one, remediation);
  }
  if (refusal !== undefined || live === undefined) {
    return refuse(context, one, refusal ?? { reason: 'changed', message: 'it is gone' });
  }
  if (firing && !onTheWay && !isDown(live) && isPast(context, one, tracked, step)) {
    return wait(context, one, {
      reason: 'stale_view',
      message: `it runs, and its newest evidence is of ${formatMillis(one.evidenceAt)}: newer is waited for`,
    });
  }

  // From here to the reservation nothing is awaited: two cases cannot both pass.
  const wanted = limitsFor(context, one, remediation);
  if (wanted.wait !== undefined) {
    decided(context, one, remediation);
    return wait(context, one, wanted.wait);
  }
  decided(context, one, remediation);
  if (remediation.dryRun) {
    reports.report(one, 'skipped', `dry run: would restart ${live.name}`, {
      reason: 'dry_run',
      dryRun: true,
      step: { index: one.step, kind: 'restart' },
      attempt: wanted.attempt,
    });
    one.reason = 'dry_run';
    return end(context, one, 'skipped');
  }
  context.busy.set(serviceKey(one.subject), one);
  delete one.reason;
  delete one.until;
  await settleStep(context, one, remediation, await act(context, one, step, live, wanted.attempt));
}

/** A step that was begun by a process that died, or whose call did not answer. */
async function takeUp(
  context: Context,
  one: Case,
  step: RestartStep,
  remediation: Remediation | undefined,
): Promise<void> {
  const acted = await recover(context, one, step, (now): Refusal | undefined => {
    if (remediation === undefined || remediation.dryRun) {
      return { reason: 'removed', message: 'remediations.yaml does not ask for it any more' };
    }
    const used = context.ledger.attempts(
      one.remediation,
      one.subject,
      now - remediation.limits.window,
    );
    return used.length < remediation.limits.attempts
      ? undefined
      : { reason: 'attempts', message: 'the attempts in the window are used up' };
  });
  await settleStep(context, one, remediation, acted);
}

async function settleStep(
  context: Context,
  one: Case,
  remediation: Remediation | undefined,
  acted: Acted,
): Promise<void> {
  switch (acted) {
    case 'done':
      return context.cases.save(one);
    case 'unsure':
      return;
    case 'failed':
      return goOn(context, one, remediation);
    case 'repeat':
      return refuse(context, one, {
        reason: 'already_done',
        message: 'this very step was done on this very start',
      });
    default:
      if (acted.reason === 'lease_lost') {
        // Whoever holds the lease now goes on with the case as it was saved.
        context.reports.report(one, 'refused', acted.message, { reason: 'lease_lost' });
        return context.abdicate(acted.message);
      }
      if (acted.reason === 'stale_view') {
        return wait(context, one, { ...acted, until: context.clock.now() + STALE_RETRY });
      }
      return refuse(context, one, acted);
  }
}

function decided(context: Context, one: Case, remediation: Remediation): void {
  if (one.decided) return;
  one.decided = true;
  const steps = remediation.steps.map((step) => step.kind).join(', ');
  context.reports.report(one, 'decided', `${remediation.name} is to heal it by: ${steps}`, {
    dryRun: remediation.dryRun,
  });
}

function limitsFor(
  context: Context,
  one: Case,
  { limits }: Remediation,
): { readonly wait: Wait | undefined; readonly attempt: number } {
  const { clock, ledger, busy } = context;
  const now = clock.now();
  const other = busy.get(serviceKey(one.subject));
  const attempts = ledger.attempts(one.remediation, one.subject, now - limits.window);
  const deadline = other?.action?.deadline;
  const wait = checkLimits(limits, {
    now,
    busy:
      other === undefined || other === one
        ? undefined
        : deadline === undefined || deadline <= now
          ? {}
          : { until: deadline },
    // A ladder's later steps belong to the same heal: the cooldown lies between heals.
    lastAction: ledger.lastAction(one.subject, one.id),
    attempts,
  });
  return { wait, attempt: attempts.length + 1 };
}

/** The service's other replicas, each asked anew. */
async function siblings(context: Context, one: Case): Promise<readonly Instance[]> {
  const mine = serviceKey(one.subject);
  const others = (await context.view.instances()).filter(
    (other) =>
      other.id !== one.subject.id &&
      serviceKey({
        runtime: other.runtime,
        service: other.service,
        ...(other.project === undefined ? {} : { project: other.project }),
      }) === mine,
  );
  const live = await Promise.all(
    others.map((other) => context.view.inspect(other.runtime, other.id)),
  );
  return live.filter((other) => other !== undefined);
}

/** To the next step; past the last, the ladder is at its end. */
async function goOn(
  context: Context,
  one: Case,
  remediation: Remediation | undefined,
): Promise<void> {
  one.step++;
  one.status = 'open';
  if (remediation === undefined || one.step < remediation.steps.length) {
    return context.cases.save(one);
  }
  return exhaust(context, one);
}

function exhaust(context: Context, one: Case): Promise<void> {
  if (one.action === undefined) {
    context.reports.report(one, 'closed', 'the ladder is at its end; it had nothing to act');
    return end(context, one, 'closed');
  }
  context.reports.report(one, 'exhausted', 'the ladder is at its end, and it did not help', {
    attempt: one.action.attempt,
    elapsed: context.clock.now() - one.action.startedAt,
  });
  return end(context, one, 'exhausted');
}

/** Said once per reason; decided anew when the alert has news. On the way, the ladder goes on. */
async function refuse(context: Context, one: Case, refusal: Refusal): Promise<void> {
  const { reason, message } = refusal;
  const said = one.status === 'refused' && one.reason === reason;
  // The engine did bring it back, as was said.
  if (one.status === 'refused' && one.reason === 'engine_acts' && reason === 'changed') {
    return finish(context, one, reason, message);
  }
  const step = context.remediation(one.remediation)?.steps[one.step];
  if (!said) {
    context.reports.report(one, 'refused', message, {
      reason,
      ...(step === undefined ? {} : { step: { index: one.step, kind: step.kind } }),
    });
  }
  if (one.action !== undefined) {
    if (ENDS.has(reason) || reason === 'removed') return finish(context, one, reason, message);
    return goOn(context, one, context.remediation(one.remediation));
  }
  free(context, one);
  one.status = 'refused';
  one.reason = reason;
  if (refusal.again === undefined) delete one.until;
  else one.until = context.clock.now() + refusal.again;
  if (!said) await context.cases.save(one);
}

async function wait(context: Context, one: Case, { reason, message, until }: Wait): Promise<void> {
  const said =
    one.status === 'waiting' &&
    one.reason === reason &&
    (reason === 'stale_view' || one.until === until);
  free(context, one);
  one.status = 'waiting';
  one.reason = reason;
  if (until === undefined) delete one.until;
  else one.until = until;
  if (said) return;
  const step = context.remediation(one.remediation)?.steps[one.step];
  context.reports.report(one, 'waiting', message, {
    reason,
    ...(until === undefined ? {} : { until }),
    ...(step === undefined ? {} : { step: { index: one.step, kind: step.kind } }),
  });
  await context.cases.save(one);
}

/** The end without (more) action; a case that was only refused has said all it had to say. */
async function finish(
  context: Context,
  one: Case,
  reason: ActionReason,
  message: string,
): Promise<void> {
  if (one.status !== 'refused' && one.records > 0) {
    context.reports.report(one, 'closed', message, { reason });
  }
  one.reason = reason;
  return end(context, one, 'closed');
}

async function end(
  context: Context,
  one: Case,
  outcome: NonNullable<Case['outcome']>,
): Promise<void> {
  // What its own new run did wrong is the ground of another case, which limits bind.
  if (outcome !== 'verified' && one.against !== undefined && one.subject.id !== undefined) {
    context.alerts.remind(one.alert.fingerprint, {
      id: one.subject.id,
      own: false,
      at: one.against.at,
      ...(one.against.start === undefined ? {} : { start: one.against.start }),
    });
    await context.alerts.save([one.alert.fingerprint]);
  }
  one.status = 'finished';
  one.outcome = outcome;
  one.changedAt = context.clock.now();
  delete one.until;
  await context.cases.save(one);
  free(context, one);
}

/** Lets other cases on the service go on. */
function free(context: Context, one: Case): void {
  const key = serviceKey(one.subject);
  if (context.busy.get(key) === one) context.busy.delete(key);
}
