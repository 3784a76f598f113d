import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SortedTimes } from './sorted.ts';

it('does what a sorted list does', () => {
  const operation = fc.oneof(
    { weight: 8, arbitrary: fc.record({ insert: fc.bigInt({ min: 0n, max: 60n }) }) },
    { weight: 1, arbitrary: fc.record({ drop: fc.nat(9) }) },
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const sorted = new SortedTimes<number>();
      let naive: [bigint, number][] = [];
      for (const [order, todo] of operations.entries()) {
        if ('insert' in todo) {
          sorted.insert(todo.insert, order);
          naive.push([todo.insert, order]);
          naive.sort((a, b) => Number(a[0] - b[0]) || a[1] - b[1]);
        } else {
          const count = Math.min(todo.drop, naive.length);
          const gone: number[] = [];
          sorted.dropFirst(count, (item) => gone.push(item));
          expect(gone).toEqual(naive.slice(0, count).map(([, item]) => item));
          naive = naive.slice(count);
        }
        expect(sorted.length).toBe(naive.length);
      }
      expect(naive.map((_, index) => [sorted.time(index), sorted.item(index)])).toEqual(naive);
      for (let time = -1n; time < 62n; time += 3n) {
        expect(sorted.from(time)).toBe(naive.filter(([other]) => other < time).length);
        expect(sorted.after(time)).toBe(naive.filter(([other]) => other <= time).length);
      }
    }),
  );
});
