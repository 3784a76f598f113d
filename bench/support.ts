import { readdirSync, readFileSync } from 'node:fs';

/** What the benchmarks share: percentiles, what a process uses, and one way to print a row. */

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.max(0, Math.ceil((p / 100) * sorted.length) - 1));
  return sorted[index] ?? Number.NaN;
}

export interface Usage {
  /** Seconds of CPU, user and system, of all threads. */
  readonly cpu: number;
  readonly rssBytes: number;
  /** Of it what is no file's: mapped files can be let go of when memory is short. */
  readonly anonBytes: number;
  readonly peakRssBytes: number;
}

/** From /proc: Linux only. */
export function usageOf(pid: number): Usage {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return {
    // utime and stime are fields 14 and 15; the clock's tick is 100 Hz on every Linux of today.
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
    rssBytes: kib('VmRSS') * 1024,
    anonBytes: kib('RssAnon') * 1024,
    peakRssBytes: kib('VmHWM') * 1024,
  };
}

/** One figure beside what it is measured against. */
export function row(what: string, value: string, against = ''): void {
  console.log(`  ${what.padEnd(52)} ${value.padStart(16)}  ${against}`);
}

export function heading(text: string, command: string): void {
  console.log(`\n${text}\n  (repeat: ${command})`);
}

export const MIB = 1024 * 1024;

/** Seconds of CPU by thread, most first: where a process' time goes. */
export function threadsOf(pid: number): { name: string; cpu: number }[] {
  const sums = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8');
    const fields = stat.replace(/^.*\) /, '').split(' ');
    const called = /\((.*)\)/.exec(stat)?.[1] ?? '';
    const name = task === String(pid) ? 'main' : called;
    sums.set(name, (sums.get(name) ?? 0) + (Number(fields[11]) + Number(fields[12])) / 100);
  }
  return [...sums].map(([name, cpu]) => ({ name, cpu })).sort((a, b) => b.cpu - a.cpu);
}
