import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Clock } from '../../core/clock.ts';
import type { Change, State } from '../../core/contracts/state.ts';
import { ManualClock } from '../../core/testing/clock.ts';

/** An empty place that a state can be opened on again and again, one at a time: a restart. */
export interface StatePlace {
  open(clock: Clock): Promise<State>;
  /** Every state is closed by then. */
  dispose(): Promise<void>;
}

/** Long enough for an engine across a network; nothing waits for it in vain but a failing test. */
const PATIENCE = { timeout: 25_000, interval: 5 };
const TIMEOUT = 60_000;

/** What every State keeps, whatever it runs on. */
export function stateConformance(name: string, create: () => Promise<StatePlace>): void {
  describe(`${name} keeps the state contract`, { timeout: TIMEOUT }, () => {
    let place: StatePlace;
    let clock: ManualClock;
    let state: State;

    beforeEach(async () => {
      place = await create();
      clock = new ManualClock();
      state = await place.open(clock);
    }, TIMEOUT);

    afterEach(async () => {
      await state.close();
      await place.dispose();
    }, TIMEOUT);

    const reopen = async (): Promise<void> => {
      await state.close();
      state = await place.open(clock);
    };

    describe('values', () => {
      it('has nothing at first', async () => {
        expect(await state.get('a/b')).toBeUndefined();
        expect(await state.list('')).toEqual([]);
      });

      it.each([
        ['null', null],
        ['false', false],
        ['a number', 1.5],
        ['a text', 'ключ "\\\n\u0000'],
        ['an empty list', []],
        ['nested', { a: [1, { b: null }], 'c d': '' }],
      ])('keeps %s through a restart', async (_, value) => {
        const version = await state.create('k', value);
        await reopen();
        expect(await state.get('k')).toEqual({ key: 'k', value, version });
      });

      it('keeps what the value was at the time of the call', async () => {
        const value = { n: 1 };
        const created = state.create('k', value);
        value.n = 2;
        await created;
        const read = await state.get<{ n: number }>('k');
        expect(read?.value).toEqual({ n: 1 });
        read!.value.n = 3;
        expect((await state.get('k'))?.value).toEqual({ n: 1 });
      });

      it('lists by prefix and key', async () => {
        await state.put(
          ['silences/b', 'silences/a', 'silence', 'silences', 'holds/x', 'silences/a/1'].map(
            (key) => ({ key, value: key }),
          ),
        );
        const keys = async (prefix: string): Promise<string[]> =>
          (await state.list(prefix)).map(({ key }) => key);
        expect(await keys('silences/')).toEqual(['silences/a', 'silences/a/1', 'silences/b']);
        expect(await keys('holds/x')).toEqual(['holds/x']);
        expect(await keys('none')).toEqual([]);
        expect(await keys('')).toHaveLength(6);
      });

      it('refuses what is no JSON', async () => {
        await expect(state.create('k', undefined)).rejects.toMatchObject({ code: 'bad_request' });
        await expect(state.create('', 1)).rejects.toMatchObject({ code: 'bad_request' });
      });
    });

    describe('versions', () => {
      it('creates only what is not there', async () => {
        await state.create('k', 1);
        await expect(state.create('k', 2)).rejects.toMatchObject({ code: 'conflict' });
        expect((await state.get('k'))?.value).toBe(1);
      });

      it('replaces only the version that was read', async () => {
        const first = await state.create('k', 1);
        const second = await state.replace('k', 2, first);
        expect(second).not.toBe(first);
        await expect(state.replace('k', 3, first)).rejects.toMatchObject({ code: 'conflict' });
        expect(await state.get('k')).toEqual({ key: 'k', value: 2, version: second });
        await reopen();
        await state.replace('k', 4, second);
        expect((await state.get('k'))?.value).toBe(4);
      });

      it('does not take a key made again for the old one', async () => {
        const first = await state.create('k', 1);
        await state.delete('k');
        await expect(state.replace('k', 2, first)).rejects.toMatchObject({ code: 'conflict' });
        await reopen();
        const second = await state.create('k', 1);
        expect(second).not.toBe(first);
        await expect(state.replace('k', 2, first)).rejects.toMatchObject({ code: 'conflict' });
        await expect(state.delete('k', first)).rejects.toMatchObject({ code: 'conflict' });
      });

      it('a put changes the version', async () => {
        const first = await state.create('k', 1);
        await state.put([{ key: 'k', value: 1 }]);
        await expect(state.replace('k', 2, first)).rejects.toMatchObject({ code: 'conflict' });
      });

      it('deletes by version, or whatever it is', async () => {
        const version = await state.create('k', 1);
        await expect(state.delete('k', 'another')).rejects.toMatchObject({ code: 'conflict' });
        await state.delete('k', version);
        expect(await state.get('k')).toBeUndefined();
        await state.delete('k');
        await expect(state.delete('k', version)).rejects.toMatchObject({ code: 'conflict' });
      });

      it('lets one of many win', async () => {
        const created = await Promise.allSettled(
          Array.from({ length: 20 }, (_, n) => state.create('k', n)),
        );
        const won = created.filter(({ status }) => status === 'fulfilled');
        expect(won).toHaveLength(1);
        const { version } = (await state.get('k'))!;
        const replaced = await Promise.allSettled(
          Array.from({ length: 20 }, (_, n) => state.replace('k', n, version)),
        );
        expect(replaced.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      });

      it('counts right with compare-and-swap from many sides', async () => {
        await state.create('n', 0);
        const add = async (): Promise<void> => {
          for (;;) {
            const { value, version } = (await state.get<number>('n'))!;
            try {
              await state.replace('n', value + 1, version);
              return;
            } catch (error) {
              expect(error).toMatchObject({ code: 'conflict' });
            }
          }
        };
        await Promise.all(Array.from({ length: 10 }, add));
        expect((await state.get('n'))?.value).toBe(10);
      });

      it('puts all or nothing', async () => {
        const entries = [
          { key: 'a', value: 1 },
          { key: 'b', value: undefined },
        ];
        await expect(state.put(entries)).rejects.toMatchObject({ code: 'bad_request' });
        expect(await state.list('')).toEqual([]);
        await state.put([]);
      });
    });

    describe('watching', () => {
      /** Collects in the background until told to stop. */
      const watch = (prefix: string): { changes: Change[]; stop: () => Promise<void> } => {
        const changes: Change[] = [];
        const over = new AbortController();
        const done = (async () => {
          for await (const change of state.watch(prefix, over.signal)) changes.push(change);
        })();
        return {
          changes,
          stop: async () => {
            over.abort();
            await done;
          },
        };
      };
      const short = (change: Change): unknown =>
        change.kind === 'put' ? [change.entry.key, change.entry.value] : [change.key];

      it('yields what is there, then what changes', async () => {
        await state.put([
          { key: 's/a', value: 1 },
          { key: 's/b', value: 2 },
          { key: 't', value: 3 },
        ]);
        const { changes, stop } = watch('s/');
        await vi.waitFor(
          () =>
            expect(changes.map(short)).toEqual([
              ['s/a', 1],
              ['s/b', 2],
            ]),
          PATIENCE,
        );
        const version = await state.create('s/c', 4);
        await vi.waitFor(() => expect(changes).toHaveLength(3), PATIENCE);
        expect(changes[2]).toEqual({ kind: 'put', entry: { key: 's/c', value: 4, version } });
        await state.delete('s/a');
        await state.put([{ key: 't', value: 5 }]);
        await vi.waitFor(() => expect(changes).toHaveLength(4), PATIENCE);
        expect(changes[3]).toEqual({ kind: 'delete', key: 's/a' });
        await state.put([{ key: 's/b', value: 6 }]);
        await vi.waitFor(() => expect(changes.map(short).slice(4)).toEqual([['s/b', 6]]), PATIENCE);
        await stop();
      });

      it('may skip, but never the last, and never goes back', async () => {
        const { changes, stop } = watch('n');
        await state.put([{ key: 'n', value: 0 }]);
        for (let n = 1; n <= 50; n++) await state.put([{ key: 'n', value: n }]);
        await vi.waitFor(() => expect(short(changes.at(-1)!)).toEqual(['n', 50]), PATIENCE);
        const values = changes.map((change) => (short(change) as [string, number])[1]);
        expect(values).toEqual([...values].sort((a, b) => a - b));
        await stop();
      });

      it('serves several, ends with the signal, and with the loop', async () => {
        const [one, two] = [watch('k'), watch('')];
        await state.create('k', 1);
        await vi.waitFor(
          () => expect([one.changes.length, two.changes.length]).toEqual([1, 1]),
          PATIENCE,
        );
        await one.stop();
        await state.put([{ key: 'k', value: 2 }]);
        await vi.waitFor(() => expect(two.changes).toHaveLength(2), PATIENCE);
        expect(one.changes).toHaveLength(1);
        await two.stop();
        for await (const change of state.watch('', new AbortController().signal)) {
          expect(short(change)).toEqual(['k', 2]);
          break;
        }
        for await (const _ of state.watch('', AbortSignal.abort())) expect.unreachable();
      });
    });

    describe('leases', () => {
      const TTL = 30_000;

      it('has one holder', async () => {
        const lease = (await state.acquire('leader', 'a', TTL))!;
        expect(lease).toMatchObject({ name: 'leader', holder: 'a' });
        expect(await lease.held()).toBe(true);
        expect(await state.acquire('leader', 'b', TTL)).toBeUndefined();
        expect(await state.acquire('another', 'b', TTL)).toMatchObject({ holder: 'b' });
      });

      it('has one winner of many', async () => {
        const leases = await Promise.all(
          Array.from({ length: 10 }, (_, n) => state.acquire('leader', `h${n}`, TTL)),
        );
        expect(leases.filter((lease) => lease !== undefined)).toHaveLength(1);
      });

      it('passes on when it is released, with a higher fence', async () => {
        const first = (await state.acquire('leader', 'a', TTL))!;
        await first.release();
        await first.release();
        expect(first.signal.aborted).toBe(true);
        expect(await first.held()).toBe(false);
        const second = (await state.acquire('leader', 'b', TTL))!;
        expect(second.fence).toBeGreaterThan(first.fence);
        await first.release();
        expect(await second.held()).toBe(true);
      });

      it('renews itself', async () => {
        const lease = (await state.acquire('leader', 'a', TTL))!;
        for (let n = 0; n < 30; n++) {
          await clock.advance(TTL / 5);
          expect(await lease.held()).toBe(true);
        }
        expect(lease.signal.aborted).toBe(false);
        expect(await state.acquire('leader', 'b', TTL)).toBeUndefined();
      });

      it('runs out when it was not renewed in time, and passes on', async () => {
        const first = (await state.acquire('leader', 'a', TTL))!;
        // As when the process was stopped, or the machine slept.
        clock.jump(TTL * 2);
        expect(await first.held()).toBe(false);
        expect(first.signal.aborted).toBe(true);
        const second = await vi.waitFor(async () => {
          await clock.advance(TTL);
          const lease = await state.acquire('leader', 'b', TTL);
          expect(lease).toBeDefined();
          return lease!;
        }, PATIENCE);
        expect(second.fence).toBeGreaterThan(first.fence);
        expect(await first.held()).toBe(false);
      });

      it('tells the holder that it ran out, unasked', async () => {
        const lease = (await state.acquire('leader', 'a', TTL))!;
        clock.jump(TTL * 2);
        await clock.advance(TTL);
        await vi.waitFor(() => expect(lease.signal.aborted).toBe(true), PATIENCE);
        expect(lease.signal.reason).toMatchObject({ code: 'lease_lost' });
      });

      it('keeps the fences rising through restarts', async () => {
        let last = 0;
        for (let n = 0; n < 3; n++) {
          const lease = await vi.waitFor(async () => {
            await clock.advance(TTL);
            const found = await state.acquire('leader', `h${n}`, TTL);
            expect(found).toBeDefined();
            return found!;
          }, PATIENCE);
          expect(lease.fence).toBeGreaterThan(last);
          last = lease.fence;
          await reopen();
          expect(lease.signal.aborted).toBe(true);
        }
      });
    });

    it('closes', async () => {
      const over = new AbortController();
      const seen: Change[] = [];
      const watching = (async () => {
        for await (const change of state.watch('', over.signal)) seen.push(change);
      })();
      await state.create('k', 1);
      await vi.waitFor(() => expect(seen).toHaveLength(1), PATIENCE);
      await Promise.all([state.close(), state.close()]);
      await watching;
      await expect(state.get('k')).rejects.toMatchObject({ code: 'unavailable' });
      await expect(state.create('l', 1)).rejects.toMatchObject({ code: 'unavailable' });
    });
  });
}
