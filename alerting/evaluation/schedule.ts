import { createHash } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';

/** A group's place within its interval, so that groups do not all run at once. */
export function offsetOf(group: { file: string; name: string; interval: number }): number {
  const digest = createHash('sha256').update(`${group.file}\u0000${group.name}`).digest();
  return Number(digest.readBigUInt64BE() % BigInt(group.interval));
}

/** The first tick at or after `now`: a multiple of the interval, plus the offset. */
export function nextTick(now: number, interval: number, offset: number): number {
  return Math.ceil((now - offset) / interval) * interval + offset;
}

/**
 * Calls `run` at each tick with the tick's own time, one call at a time. Ticks that pass meanwhile
 * are skipped and counted. Ends when the signal fires.
 */
export async function everyTick(
  clock: Clock,
  { interval, offset }: { interval: number; offset: number },
  run: (at: number, missed: number) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let next = nextTick(clock.now(), interval, offset);
  while (!signal.aborted) {
    const now = clock.now();
    // The wall clock was set back.
    if (next - now > interval) next = nextTick(now, interval, offset);
    if (next > now) {
      // Never longer than an interval, and looked at again: timers and wall clock may disagree.
      await clock.sleep(next - now, signal).catch(() => {});
      continue;
    }
    const missed = Math.floor((now - next) / interval);
    const at = next + missed * interval;
    next = at + interval;
    await run(at, missed);
  }
}
