import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { InstanceStats } from '../../core/contracts/runtime.ts';

/** What the kernel tells of processes: by /proc on Linux, by ps(1) elsewhere, nothing on Windows. */

const hasProc = existsSync('/proc/self/stat');

/** `/proc/<pid>/stat`, proc(5), from its third field on. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is a name in brackets that may hold anything.
    return text
      .slice(text.lastIndexOf(')') + 2)
      .trimEnd()
      .split(' ');
  } catch {
    return undefined;
  }
}

const field = (stat: readonly string[], number: number): string => stat[number - 3] ?? '';

let boot: string | undefined;
function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return boot;
}

/**
 * What tells a process from every other that has its number, before or after it. Undefined: none
 * of that number lives, or this system does not say.
 */
export function identityOf(pid: number): string | undefined {
  if (hasProc) {
    const stat = statOf(pid);
    if (stat === undefined || field(stat, 3) === 'Z' || field(stat, 3) === 'X') return undefined;
    return `${bootId()} ${field(stat, 22)}`;
  }
  try {
    const started = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    return started === '' ? undefined : started;
  } catch {
    return undefined;
  }
}

/**
 * How a process ended that is nobody's yet: its parent has not asked. Undefined when it is gone
 * already, as it is nearly always where init(1) does its work.
 */
export function endOf(pid: number): { code: number } | { signal: number } | undefined {
  const stat = hasProc ? statOf(pid) : undefined;
  if (stat === undefined || field(stat, 3) !== 'Z') return undefined;
  const status = Number(field(stat, 52));
  if (!Number.isInteger(status)) return undefined;
  return (status & 0x7f) === 0 ? { code: (status >> 8) & 0xff } : { signal: status & 0x7f };
}

/** Whether processes of a session live whose leader is gone; its number then is still its own. */
export function orphansOf(session: number): boolean {
  if (!hasProc || statOf(session) !== undefined) return false;
  return pids().some((pid) => {
    const stat = statOf(pid);
    return stat !== undefined && field(stat, 3) !== 'Z' && Number(field(stat, 6)) === session;
  });
}

const pids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** Whether any process of the group lives; one that nobody has buried does not count. */
export function groupAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  if (!hasProc) return true;
  return pids().some((pid) => {
    const stat = statOf(pid);
    return stat !== undefined && field(stat, 3) !== 'Z' && Number(field(stat, 5)) === group;
  });
}

// USER_HZ, which Linux fixes for everything it shows: time(7).
const TICK = 100;

/** A process and all that it started: what they use now, and the CPU of those that ended. */
export function readStats(pid: number, timestamp: number): InstanceStats | undefined {
  if (!hasProc) return undefined;
  let user = 0;
  let system = 0;
  let rss = 0;
  let processes = 0;
  let io: { readBytes: number; writeBytes: number; reads: number; writes: number } | undefined;
  for (const one of treeOf(pid)) {
    const stat = statOf(one);
    if (stat === undefined) continue;
    processes++;
    user += Number(field(stat, 14)) + Number(field(stat, 16));
    system += Number(field(stat, 15)) + Number(field(stat, 17));
    const status = maybe(`/proc/${one}/status`) ?? '';
    rss += Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
    const counts = maybe(`/proc/${one}/io`);
    if (counts === undefined) continue;
    const of = (name: string): number =>
      Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(counts)?.[1] ?? 0);
    io ??= { readBytes: 0, writeBytes: 0, reads: 0, writes: 0 };
    io.readBytes += of('read_bytes');
    io.writeBytes += of('write_bytes');
    io.reads += of('syscr');
    io.writes += of('syscw');
  }
  if (processes === 0) return undefined;
  return {
    timestamp,
    cpuSeconds: (user + system) / TICK,
    cpuUserSeconds: user / TICK,
    cpuSystemSeconds: system / TICK,
    memoryUsage: rss,
    memoryWorkingSet: rss,
    memoryRss: rss,
    // Linux counts a process' bytes for all devices together, and calls instead of operations.
    ...(io !== undefined && { blockIo: { all: io } }),
    processes,
  };
}

/** A process and its descendants, as far as they have not been given away to init. */
function treeOf(pid: number): number[] {
  const found = [pid];
  for (let index = 0; index < found.length; index++) {
    const one = found[index] ?? 0;
    let threads: string[] = [];
    try {
      threads = readdirSync(`/proc/${one}/task`);
    } catch {
      // Gone in the meantime.
    }
    for (const thread of threads) {
      const children = maybe(`/proc/${one}/task/${thread}/children`) ?? '';
      for (const child of children.split(' ')) if (child !== '') found.push(Number(child));
    }
  }
  return found;
}

/** A file that another user's process or an older kernel does not show. */
function maybe(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
