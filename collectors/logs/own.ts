import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Instance } from '../../core/contracts/runtime.ts';

const CONTAINER_ID = /\/containers\/([0-9a-f]{64})\//;

/**
 * The id, or the first digits of it, of the container that this process runs in. Docker mounts
 * files of the container's own folder (`/etc/hostname`), which the mount table shows.
 */
export function ownContainer(
  mountinfo: () => string = () => readFileSync('/proc/self/mountinfo', 'utf8'),
): string | undefined {
  try {
    const found = CONTAINER_ID.exec(mountinfo());
    if (found?.[1] !== undefined) return found[1];
  } catch {
    // No /proc: no Linux, and no container of its engine.
  }
  const name = hostname();
  return /^[0-9a-f]{12}$/.test(name) ? name : undefined;
}

/** Whether an instance is a part of Reflexarc itself. */
export function isOwn(instance: Instance, own: string | undefined): boolean {
  const { labels } = instance;
  return (
    labels['reflexarc.self'] === 'true' ||
    labels['reflexarc.component'] !== undefined ||
    (own !== undefined && instance.id.startsWith(own))
  );
}

/** Whether a pattern of `exclude` names the instance's service or container. */
export function excluder(patterns: readonly string[]): (instance: Instance) => boolean {
  const tests = patterns.map((pattern) => {
    const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`, 's');
  });
  return ({ service, name }) => tests.some((test) => test.test(service) || test.test(name));
}
