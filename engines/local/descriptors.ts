import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';

/**
 * What a child must not get of the files that this program has open.
 *
 * Node opens its own so that a child does not have them, but libraries do not: lmdb has its data
 * file open for writing in every child. Nobody outside can change that of an open file, so in the
 * child each of them is replaced by /dev/null.
 *
 * Linux only: on macOS a child of libuv inherits nothing that it is not given, and Windows neither.
 */

const INFO = '/proc/self/fdinfo';
const hasInfo = existsSync(INFO);
// O_CLOEXEC of asm-generic and of x86 and arm, which is what `flags` shows: proc_pid_fdinfo(5).
const CLOEXEC = 0o2000000;

/** Those from 3 up that a child would inherit. */
function inheritable(): number[] {
  if (!hasInfo) return [];
  return readdirSync(INFO)
    .map(Number)
    .filter((descriptor) => descriptor > 2 && !closedByExec(descriptor));
}

function closedByExec(descriptor: number): boolean {
  try {
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`${INFO}/${descriptor}`, 'latin1'))?.[1];
    return flags === undefined || (Number.parseInt(flags, 8) & CLOEXEC) !== 0;
  } catch {
    // It was closed since; the one that lists the folder always is.
    return true;
  }
}

/** Calls `start` with what `stdio` of spawn needs after the first three. */
export function withNothingInherited<T>(start: (rest: ('ignore' | number)[]) => T): T {
  const found = new Set(inheritable());
  if (found.size === 0) return start([]);
  const nothing = openSync('/dev/null', 'r+');
  try {
    // `ignore` alone leaves a descriptor above 2 as it is: libuv opens /dev/null for the first three only.
    const length = Math.max(...found) - 2;
    return start(Array.from({ length }, (_, index) => (found.has(index + 3) ? nothing : 'ignore')));
  } finally {
    closeSync(nothing);
  }
}
