import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../core/testing/clock.ts';
import { Coalescer } from './early.ts';
import { everyTick, nextTick, offsetOf } from './schedule.ts';

describe('ticks', () => {
  it('lie on the grid that file, name and interval give', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.integer({ min: 1, max: 10 ** 7 }),
        fc.nat(),
        (name, interval, now) => {
          const offset = offsetOf({ file: 'f', name, interval });
          expect(offset).toBeGreaterThanOrEqual(0);
          expect(offset).toBeLessThan(interval);
          const next = nextTick(now, interval, offset);
          expect((next - offset) % interval).toBe(0);
          expect(next - now).toBeGreaterThanOrEqual(0);
          expect(next - now).toBeLessThan(interval);
        },
      ),
    );
  });

  it('come with their own time, one at a time; those that pass meanwhile are counted', async () => {
    const clock = new ManualClock(1000);
    const abort = new AbortController();
    const ticks: [number, number][] = [];
    const done = everyTick(
      clock,
      { interval: 100, offset: 30 },
      async (at, missed) => {
        ticks.push([at, missed]);
        if (at === 1230) await clock.sleep(250);
      },
      abort.signal,
    );
    await clock.advance(700);
    abort.abort();
    await done;
    expect(ticks).toEqual([
      [1030, 0],
      [1130, 0],
      [1230, 0],
      [1430, 1],
      [1530, 0],
      [1630, 0],
    ]);
  });

  it('go on when the wall clock is set back', async () => {
    const clock = new ManualClock(1_000_000);
    const abort = new AbortController();
    const ticks: number[] = [];
    const done = everyTick(
      clock,
      { interval: 100, offset: 0 },
      (at) => Promise.resolve(void ticks.push(at)),
      abort.signal,
    );
    await clock.advance(150);
    clock.jump(-500_000);
    await clock.advance(300);
    abort.abort();
    await done;
    expect(ticks.slice(0, 2)).toEqual([1_000_000, 1_000_100]);
    expect(ticks.slice(2).length).toBeGreaterThanOrEqual(2);
    expect(ticks[2]).toBeLessThan(501_000);
  });
});

describe('Coalescer', () => {
  it('runs the first call at once, and a flood once in each spacing', async () => {
    const clock = new ManualClock(0);
    const runs: number[] = [];
    const coalescer = new Coalescer(clock, () => Promise.resolve(void runs.push(clock.now())));
    for (let ms = 0; ms < 200; ms += 10) {
      coalescer.call(50);
      await clock.advance(10);
    }
    await clock.advance(1000);
    expect(runs).toEqual([0, 50, 100, 150, 200]);
  });

  it('a call that must not wait overtakes one that waits', async () => {
    const clock = new ManualClock(0);
    const runs: number[] = [];
    const coalescer = new Coalescer(clock, () => Promise.resolve(void runs.push(clock.now())));
    coalescer.call(1000);
    await clock.advance(10);
    coalescer.call(1000);
    await clock.advance(10);
    coalescer.call(0);
    await clock.advance(2000);
    expect(runs).toEqual([0, 20]);
  });

  it('never runs twice at a time, and takes at most a fifth of the time', async () => {
    const clock = new ManualClock(0);
    const runs: number[] = [];
    const coalescer = new Coalescer(clock, async () => {
      runs.push(clock.now());
      await clock.sleep(100);
    });
    for (let ms = 0; ms < 1200; ms += 10) {
      coalescer.call(50);
      await clock.advance(10);
    }
    coalescer.stop();
    expect(runs).toEqual([0, 500, 1000]);
  });
});
