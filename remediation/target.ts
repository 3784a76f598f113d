import type { Instance } from '../core/contracts/runtime.ts';
import type { ActionReason } from '../core/records/action.ts';
import type { Evidence } from '../core/records/alert.ts';
import { normalizeRfc3339, parseMillis } from '../core/time.ts';

/** Newest evidence about one run of one container or process, or about none that is named. */
export interface Ground {
  readonly id?: string;
  /** RFC 3339 in the wire's one form. */
  readonly start?: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** It says itself that it was caused by us. */
  readonly own: boolean;
}

/** One instance that a remediation is about, and what about it. */
export interface Aim {
  readonly instance: Instance;
  /** The start that the evidence names; absent: the alert names none. */
  readonly start?: string;
  /** Of the newest evidence, milliseconds since the epoch. */
  readonly at: number;
  /** All evidence on it came from our own action. */
  readonly own: boolean;
}

export type Resolution =
  | { readonly kind: 'aims'; readonly aims: readonly Aim[] }
  | { readonly kind: 'none'; readonly reason: ActionReason; readonly message: string };

/** What a matching alert's evidence says, by run. */
export function groundsOf(evidence: readonly Evidence[]): readonly Ground[] {
  const grounds: Ground[] = [];
  for (const one of evidence) {
    const start = one.origin?.startedAt;
    const known = start === undefined ? undefined : normalizeRfc3339(start);
    grounds.push({
      ...(one.origin === undefined ? {} : { id: one.origin.id }),
      ...(known === undefined ? {} : { start: known }),
      at: parseMillis(one.timestamp),
      own: marksOwn(one),
    });
  }
  return grounds;
}

// Only the engine's events can bear the mark: a service that logs these words is not exempt.
function marksOwn({ labels, text }: Evidence): boolean {
  return labels['by'] === 'reflexarc' || (labels['stream'] === 'events' && OWN_MARK.test(text));
}
const OWN_MARK = /(?:^|\s)by="?reflexarc"?(?:\s|$)/;

export interface Wanted {
  readonly kind: 'service' | 'container';
  /** What the template gave; may be empty. */
  readonly name: string;
  /** The alert's own label `project`, which tells services of one name apart. */
  readonly project?: string;
}

/**
 * Which instances a remediation is about. Those that the evidence names, where it names any of the
 * target; an alert that names none means the one instance that the target has, or those of it that
 * are down or unhealthy. An empty name means nothing, and no name ever means all.
 *
 * @param caused whether evidence on a run is our own doing
 */
export function resolve(
  wanted: Wanted,
  grounds: readonly Ground[],
  /** When the alert was decided: the evidence's time where it has none. */
  decidedAt: number,
  instances: readonly Instance[],
  caused: (instance: Instance, ground: Ground) => boolean,
): Resolution {
  if (wanted.name === '') {
    return { kind: 'none', reason: 'no_target', message: 'the target is empty for this alert' };
  }
  const candidates = instances.filter((one) => isWanted(one, wanted));
  const what = describe(wanted);
  if (candidates.length === 0) {
    return { kind: 'none', reason: 'no_target', message: `there is no ${what}` };
  }
  const homes = new Set(candidates.map(homeOf));
  if (homes.size > 1 || (wanted.kind === 'container' && candidates.length > 1)) {
    const names = [...homes].sort().join(', ');
    return {
      kind: 'none',
      reason: 'ambiguous_target',
      message: `there is more than one ${what}: in ${names}; a label \`project\` on the alert tells them apart`,
    };
  }

  const aims: Aim[] = [];
  for (const instance of candidates) {
    const about = grounds.filter((ground) => ground.id === instance.id);
    if (about.length > 0) aims.push(aimAt(instance, about, caused));
  }
  if (aims.length > 0) return { kind: 'aims', aims };

  const ids = new Set(instances.map((one) => one.id));
  if (grounds.some((ground) => ground.id !== undefined && !ids.has(ground.id))) {
    return {
      kind: 'none',
      reason: 'changed',
      message: `what raised the alert is gone; ${what} has other instances now`,
    };
  }
  const at = grounds.length === 0 ? decidedAt : Math.max(...grounds.map((ground) => ground.at));
  const own = grounds.length > 0 && grounds.every((ground) => ground.own);
  const meant = candidates.length === 1 ? candidates : candidates.filter(isDown);
  if (meant.length === 0) {
    return {
      kind: 'none',
      reason: 'ambiguous_target',
      message: `the alert names none of the ${candidates.length} replicas of ${what}, and none of them is down or unhealthy`,
    };
  }
  return { kind: 'aims', aims: meant.map((instance) => ({ instance, at, own })) };
}

/** Evidence on the newest run counts; what we caused ourselves only where there is no other. */
function aimAt(
  instance: Instance,
  grounds: readonly Ground[],
  caused: (instance: Instance, ground: Ground) => boolean,
): Aim {
  const real = grounds.filter((ground) => !ground.own && !caused(instance, ground));
  let newest: Ground | undefined;
  for (const ground of real.length > 0 ? real : grounds) {
    if (newest === undefined || isNewer(ground, newest)) newest = ground;
  }
  return {
    instance,
    ...(newest?.start === undefined ? {} : { start: newest.start }),
    at: newest?.at ?? 0,
    own: real.length === 0,
  };
}

function isNewer(a: Ground, b: Ground): boolean {
  if (a.start !== undefined && b.start !== undefined && a.start !== b.start) {
    return a.start > b.start;
  }
  return a.at > b.at;
}

function isWanted(instance: Instance, { kind, name, project }: Wanted): boolean {
  if (kind === 'container') {
    const short = /^[0-9a-f]{12,63}$/.test(name) && instance.id.startsWith(name);
    return instance.name === name || instance.id === name || short;
  }
  if (instance.service !== name) return false;
  return project === undefined || project === '' || (instance.project ?? '') === project;
}

const homeOf = ({ runtime, project }: Instance): string =>
  project === undefined ? runtime : `project ${project}`;

const describe = ({ kind, name, project }: Wanted): string =>
  kind === 'service' && project !== undefined && project !== ''
    ? `service ${JSON.stringify(name)} in project ${JSON.stringify(project)}`
    : `${kind} ${JSON.stringify(name)}`;

/** Not running, or running and known to be unhealthy. */
export const isDown = (instance: Instance): boolean =>
  instance.state !== 'running' || instance.health === 'unhealthy';
