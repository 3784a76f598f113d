import type { Instance } from '../core/contracts/runtime.ts';
import type { ActionReason } from '../core/records/action.ts';
import type { Limits } from './playbooks/load.ts';

/** Why something is not done. */
export interface Refusal {
  readonly reason: ActionReason;
  readonly message: string;
  /** Milliseconds after which to look again by itself, though nothing may have been heard. */
  readonly again?: number;
}

/** How soon it is looked whether the engine did bring back what it was to. */
const LOOK_AGAIN = 10_000;

/** A container's label by which its owner keeps remediation away: anything but a yes does. */
export const OPT_OUT_LABEL = 'reflexarc.remediate';
const YES = new Set(['true', 'yes', 'on', '1']);

export interface Situation {
  /** As the runtime has it now; absent: it is gone. */
  readonly live: Instance | undefined;
  /** The start that the action may be on; absent: the alert names none. */
  readonly expected: string | undefined;
  /** Of the newest evidence, milliseconds since the epoch. */
  readonly evidenceAt: number;
}

/**
 * Whether an instance may be restarted on the ground of an alert: people and the engine come first,
 * and only the very run that raised the alert is meant. Says nothing about limits.
 */
export function judge({ live, expected, evidenceAt }: Situation): Refusal | undefined {
  if (live === undefined || live.state === 'removing') {
    return { reason: 'changed', message: 'it is gone, or being removed' };
  }
  const wish = live.labels[OPT_OUT_LABEL];
  if (wish !== undefined && !YES.has(wish.trim().toLowerCase())) {
    return {
      reason: 'opted_out',
      message: `its label ${OPT_OUT_LABEL} is ${JSON.stringify(wish)}`,
    };
  }
  if (expected !== undefined && expected !== live.startedAt) {
    return {
      reason: 'changed',
      message: `the alert is about its run of ${expected}, it was started again at ${live.startedAt ?? 'an unknown time'}`,
    };
  }
  const startedAt = live.startedAt === undefined ? undefined : Date.parse(live.startedAt);
  if (expected === undefined && startedAt !== undefined && startedAt > evidenceAt) {
    return {
      reason: 'changed',
      message: `it was started at ${live.startedAt}, after the evidence`,
    };
  }
  if (live.state === 'created' && live.startedAt === undefined) {
    return {
      reason: 'stopped_by_hand',
      message: 'it was made and never started: that is for people',
    };
  }
  if (live.state === 'paused') return { reason: 'stopped_by_hand', message: 'someone paused it' };
  const down = live.state !== 'running';
  if (live.stoppedByHand === true) {
    const message = down
      ? 'someone stopped it by hand: it stays stopped'
      : 'someone asked it to stop, and it has not ended yet';
    return { reason: 'stopped_by_hand', message };
  }
  if (live.orchestrator?.type === 'swarm') {
    return { reason: 'engine_acts', message: 'Swarm replaces its tasks itself' };
  }
  if (live.state === 'restarting') {
    return {
      reason: 'engine_acts',
      message: 'the engine is restarting it',
      again: LOOK_AGAIN,
    };
  }
  if (down && live.stoppedByHand === 'unknown') {
    return {
      reason: 'stale_view',
      message:
        "it is down, and the engine's events no longer tell whether someone stopped it by hand",
    };
  }
  if (down && policyActs(live)) {
    return {
      reason: 'engine_acts',
      message: `its restart policy ${live.restartPolicy} brings it back`,
      again: LOOK_AGAIN,
    };
  }
  return undefined;
}

/** Whether the engine's restart policy acts on an exit such as the newest. */
function policyActs(live: Instance): boolean {
  const { restartPolicy, exitCode, restarts, restartLimit, startError } = live;
  // A start that fails ends the engine's own attempts, whatever the policy says.
  if (startError !== undefined) return false;
  if (restartPolicy === 'on-failure') {
    if (exitCode === 0) return false;
    return restartLimit === undefined || restartLimit === 0 || restarts < restartLimit;
  }
  return restartPolicy !== 'no';
}

/**
 * `keep_up`: counts what the action takes away. What is down has nothing to lose and may always be
 * started. What runs, however badly, may be restarted only where enough others stay running; and
 * where it is not known to be unhealthy, enough others that are not unhealthy either. A service of
 * one replica has nothing else to keep up.
 *
 * @param others the service's other replicas, as they are now
 */
export function keepUp(
  limit: Limits['keepUp'],
  live: Instance,
  others: readonly Instance[],
): Refusal | undefined {
  // What someone stopped, or never started, is no replica that ought to be up.
  const replicas = others.filter((one) => one.stoppedByHand !== true && one.state !== 'created');
  if (live.state !== 'running' || replicas.length === 0) return undefined;
  const count = replicas.length + 1;
  const needed = 'replicas' in limit ? limit.replicas : Math.ceil(limit.share * count - 1e-9);
  const sick = live.health === 'unhealthy';
  const up = replicas.filter(
    (one) =>
      one.state === 'running' &&
      (sick || (one.health !== 'unhealthy' && one.health !== 'starting')),
  ).length;
  if (up >= needed) return undefined;
  const kind = sick ? 'running' : 'running and healthy';
  return {
    reason: 'keep_up',
    message: `only ${up} of the other ${replicas.length} replicas would be left ${kind}, and ${needed} must be`,
  };
}

/** A wait that time, or the end of another case, will change. */
export interface Wait extends Refusal {
  /** Milliseconds since the epoch; absent: until another case on the service ends. */
  readonly until?: number;
}

export interface History {
  readonly now: number;
  /** Whether another case acts on the service or verifies there, and until when at most. */
  readonly busy: { readonly until?: number } | undefined;
  /** The newest moment of another case's action on the target. */
  readonly lastAction: number | undefined;
  /** When actions of the remediation on the service were begun within the window, oldest first. */
  readonly attempts: readonly number[];
}

/** The limits that time changes: one at a time, cooldown, attempts in a window. */
export function checkLimits(limits: Limits, history: History): Wait | undefined {
  const { now, busy, lastAction, attempts } = history;
  if (busy !== undefined) {
    return {
      reason: 'busy',
      message: 'another heal of the service is under way',
      ...(busy.until === undefined ? {} : { until: busy.until }),
    };
  }
  if (attempts.length >= limits.attempts) {
    const freed = attempts[attempts.length - limits.attempts] ?? now;
    return {
      reason: 'attempts',
      message: `${attempts.length} of ${limits.attempts} attempts in the window are used up`,
      until: freed + limits.window,
    };
  }
  if (lastAction !== undefined && lastAction + limits.cooldown > now) {
    return {
      reason: 'cooldown',
      message: 'the last action on the target is too recent',
      until: lastAction + limits.cooldown,
    };
  }
  return undefined;
}
