import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Delivery, Message } from '../../../core/contracts/bus.ts';
import { ManualClock } from '../../../core/testing/clock.ts';
import type { Embedded } from '../open.ts';
import { makeFolder, openIn } from '../testing.ts';

let folder: Awaited<ReturnType<typeof makeFolder>>;
let clock: ManualClock;
let metrics: Registry;
let embedded: Embedded;

const open = async (): Promise<void> => {
  embedded = await openIn(folder.path, { clock, metrics });
};
beforeEach(async () => {
  folder = await makeFolder();
  clock = new ManualClock();
  metrics = new Registry();
  await open();
});
afterEach(async () => {
  await embedded.close();
  await folder.remove();
});

const publish = (...texts: string[]): Promise<void> =>
  embedded.bus.publish(
    'logs',
    texts.map((text) => ({ key: 'k', value: Buffer.from(text), records: 3 })),
  );
const textOf = ({ value }: Message): string => Buffer.from(value).toString();

it('gives groups at the tail the very same messages', async () => {
  const seen: Message[][] = [[], []];
  const subscriptions = await Promise.all(
    seen.map((mine, n) =>
      embedded.bus.subscribe('logs', `g${n}`, async ({ messages }) => {
        mine.push(...messages);
        return undefined;
      }),
    ),
  );
  await publish('a', 'b'.repeat(100_000));
  await Promise.all(subscriptions.map((subscription) => subscription.caughtUp()));
  expect(seen[0]).toHaveLength(2);
  expect(seen[0]![0]).toBe(seen[1]![0]);
  expect(seen[0]![1]).toBe(seen[1]![1]);
});

it('calls a failing handler again after 100 ms, and then twice as long each time', async () => {
  const calls: number[] = [];
  const started = clock.now();
  await publish('a');
  await embedded.bus.subscribe('logs', 'g', async () => {
    calls.push(clock.now() - started);
    throw new Error('no');
  });
  await vi.waitFor(() => expect(calls).toHaveLength(1));
  for (let n = 0; n < 12; n++) {
    const before = calls.length;
    // To the next pause's end, and not a millisecond more.
    const pause = Math.min(30_000, 100 * 2 ** n);
    await clock.advance(pause - 1);
    expect(calls).toHaveLength(before);
    await clock.advance(1);
    await vi.waitFor(() => expect(calls).toHaveLength(before + 1));
  }
  const errors = await metrics.getSingleMetric('reflexarc_bus_handler_errors_total')!.get();
  expect(errors.values).toEqual([{ labels: { topic: 'logs', group: 'g' }, value: 13 }]);
});

it('lets one member hold the partition, and the next take over what is left', async () => {
  const seen: string[][] = [[], [], []];
  const join = (n: number, options = {}) =>
    embedded.bus.subscribe(
      'logs',
      'g',
      async ({ messages }) => {
        seen[n]!.push(...messages.map(textOf));
        return undefined;
      },
      options,
    );
  const first = await join(0);
  // `latest` is where the group begins, not where a member takes over.
  const second = await join(1, { start: 'latest' });
  const third = await join(2, { start: { offsets: () => 1 } });
  await publish('a', 'b');
  await first.caughtUp();
  expect(await second.lag()).toBe(0);
  await first.close();
  await publish('c');
  await second.caughtUp();
  await second.close();
  await third.caughtUp();
  await vi.waitFor(() => expect(seen[2]).toEqual(['b', 'c']));
  expect(seen.slice(0, 2)).toEqual([['a', 'b'], ['c']]);
});

it('refuses a place to come back to that was not delivered', async () => {
  const froms: number[] = [];
  await publish('a', 'b');
  const subscription = await embedded.bus.subscribe('logs', 'g', async () => {
    froms.push(froms.length === 0 ? 7 : 2);
    return { from: froms.at(-1)!, when: Promise.resolve() };
  });
  await vi.waitFor(() => expect(froms).toHaveLength(1));
  await clock.advance(100);
  await subscription.caughtUp();
  expect(froms).toEqual([7, 2]);
});

it('begins anew when the bus was emptied, and the consumer was not', async () => {
  await publish('a', 'b');
  const seen: string[] = [];
  const handler = async ({ messages }: Delivery): Promise<undefined> => {
    seen.push(...messages.map(textOf));
  };
  const start = { offsets: () => 1000 };
  const subscription = await embedded.bus.subscribe('logs', 'g', handler, { start });
  await subscription.caughtUp();
  expect(seen).toEqual(['a', 'b']);
});

it('reads timestamps that never go back, whatever the clock does', async () => {
  const times: number[] = [];
  await publish('a');
  clock.jump(-60_000);
  await publish('b');
  clock.jump(120_000);
  await publish('c');
  const subscription = await embedded.bus.subscribe('logs', 'g', async ({ messages }) => {
    times.push(...messages.map(({ timestamp }) => timestamp));
    return undefined;
  });
  await subscription.caughtUp();
  const [a, b, c] = times.map((time) => time - times[0]!);
  expect([a, b, c]).toEqual([0, 0, 60_000]);
});

it('writes offsets with the next publish, or soon', async () => {
  const subscription = await embedded.bus.subscribe('logs', 'g', async () => undefined);
  await publish('a');
  await subscription.caughtUp();
  const pending = clock.pending;
  await clock.advance(50);
  expect(clock.pending).toBeLessThan(pending);
});

it('refuses a group without a name, and a topic that is none', async () => {
  const handler = async (): Promise<undefined> => undefined;
  for (const name of ['', 'x'.repeat(300)]) {
    const call = embedded.bus.subscribe('logs', name, handler);
    await expect(call).rejects.toMatchObject({ code: 'bad_request' });
  }
  const none = embedded.bus.publish('no' as 'logs', []);
  await expect(none).rejects.toMatchObject({ code: 'bad_request' });
});

it('subscribes, closes and keeps house while publishers never pause', async () => {
  let over = false;
  let published = 0;
  const flood = async (): Promise<void> => {
    while (!over) {
      await publish(`n${published}`);
      published++;
    }
  };
  const floods = Promise.all([flood(), flood(), flood()]);
  const subscription = await embedded.bus.subscribe('logs', 'g', async () => undefined);
  await subscription.caughtUp();
  await subscription.close();
  const size = metrics.getSingleMetric('reflexarc_bus_removed_messages_total')!;
  await vi.waitFor(async () => {
    await clock.advance(3_600_000);
    expect((await size.get()).values.some(({ value }) => value > 0)).toBe(true);
  }, 20_000);
  over = true;
  await floods;
});

it('counts', async () => {
  const gate = Promise.withResolvers<void>();
  const slow = await embedded.bus.subscribe('logs', 'slow', async () => {
    await gate.promise;
    return undefined;
  });
  const fast = await embedded.bus.subscribe('logs', 'fast', async () => undefined);
  await publish('abc', 'de');
  await fast.caughtUp();
  const text = await metrics.metrics();
  for (const line of [
    'reflexarc_bus_published_messages_total{topic="logs"} 2',
    'reflexarc_bus_published_records_total{topic="logs"} 6',
    'reflexarc_bus_published_bytes_total{topic="logs"} 5',
    'reflexarc_bus_delivered_messages_total{topic="logs",group="fast"} 2',
    'reflexarc_bus_delivered_bytes_total{topic="logs",group="fast"} 5',
    'reflexarc_bus_lag_messages{topic="logs",group="fast"} 0',
    'reflexarc_bus_lag_messages{topic="logs",group="slow"} 2',
    'reflexarc_bus_publish_seconds_count{topic="logs"} 1',
  ]) {
    expect(text).toContain(line);
  }
  gate.resolve();
  await slow.caughtUp();
  // Counters go on when it is opened again; gauges ask the new one.
  await embedded.close();
  expect(await metrics.metrics()).not.toContain('reflexarc_bus_lag_messages');
  await open();
  await publish('f');
  const again = await metrics.metrics();
  expect(again).toContain('reflexarc_bus_published_messages_total{topic="logs"} 3');
  expect(again).toContain('reflexarc_bus_lag_messages{topic="logs",group="slow"} 1');
});
