import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OutputLine } from '../../core/contracts/runtime.ts';
import { formatRfc3339, parseRfc3339 } from '../../core/time.ts';
import { Repeats } from './follow.ts';

/** Milliseconds are close enough together for many lines to share one. */
const line = (ms: number, stream: OutputLine['stream'], text: string): OutputLine => ({
  stream,
  timestamp: formatRfc3339(BigInt(ms) * 1_000_000n),
  data: Buffer.from(text),
  partial: false,
});

describe('Repeats', () => {
  it('tells every line once, however often the connection is cut', () => {
    fc.assert(
      fc.property(
        // A log in the order in which it was written: steps forward, and a little back.
        fc.array(fc.tuple(fc.integer({ min: -40, max: 60 }), fc.boolean()), { maxLength: 60 }),
        fc.array(fc.nat(60), { maxLength: 5 }),
        (steps, cuts) => {
          let newest = 1000;
          const log = steps.map(([step, stderr], index) => {
            const at = step < 0 ? newest + step : newest + (step > 30 ? step - 30 : 0);
            newest = Math.max(newest, at);
            return line(at, stderr ? 'stderr' : 'stdout', String(index));
          });
          const repeats = new Repeats(undefined);
          const told: string[] = [];
          const read = (until: number): void => {
            const from = repeats.resume();
            for (const one of log.slice(0, until)) {
              if (from !== undefined && parseRfc3339(one.timestamp)! < from) continue;
              if (repeats.isNew(one)) told.push(Buffer.from(one.data).toString());
            }
          };
          for (const cut of [...cuts].sort((a, b) => a - b)) read(cut);
          read(log.length);
          expect(told).toEqual(log.map((one) => Buffer.from(one.data).toString()));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('begins where it was told to, inclusive', () => {
    const repeats = new Repeats(5_000_000n);
    expect(repeats.resume()).toBe(5_000_000n);
    expect([4, 5, 6].map((ms) => repeats.isNew(line(ms, 'stdout', '')))).toEqual([
      false,
      true,
      true,
    ]);
  });
});
