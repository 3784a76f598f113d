import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Slice, Slices } from './slices.ts';

const part = fc
  .record({
    min: fc.bigInt(0n, 1000n),
    length: fc.bigInt(0n, 500n),
    rows: fc.integer({ min: 1, max: 1_000_000 }),
  })
  .map(({ min, length, rows }) => ({ min, max: min + length, rows }));

it('covers every row of the range once, in the order asked for', () => {
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.bigInt(-10n, 1600n),
      fc.bigInt(-10n, 1600n),
      fc.boolean(),
      fc.array(fc.boolean(), { minLength: 1 }),
      (parts, from, to, down, found) => {
        const view = {
          segments: parts.slice(1).map((entry) => ({ entry })),
          generations: parts.slice(0, 1),
        };
        const slices = new Slices(view, from, to, down, 20_000);
        const all: Slice[] = [];
        for (let slice = slices.next(); slice !== undefined; slice = slices.next()) {
          expect(slice.from < slice.to).toBe(true);
          all.push(slice);
          slices.learn(found[all.length % found.length] ?? true);
        }
        for (let i = 1; i < all.length; i++) {
          const [before, after] = [all[i - 1]!, all[i]!];
          expect(down ? before.from : before.to).toBe(down ? after.to : after.from);
        }
        for (const { min, max } of parts) {
          for (const time of [min, max]) {
            const inside = all.filter((slice) => slice.from <= time && time < slice.to).length;
            expect(inside).toBe(time >= from && time < to ? 1 : 0);
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});
