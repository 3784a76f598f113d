import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Bus, Handler, Outgoing, Topic } from '../../../core/contracts/bus.ts';
import { ManualClock } from '../../../core/testing/clock.ts';
import type { Embedded } from '../open.ts';
import { makeFolder, openIn } from '../testing.ts';

const SIZE = 4 * 1024 ** 2;
const AGE = 3_600_000;
const MESSAGE = 50_000;

let folder: Awaited<ReturnType<typeof makeFolder>>;
let clock: ManualClock;
let metrics: Registry;
let embedded: Embedded;
let bus: Bus;

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

async function open(maxSize = SIZE): Promise<void> {
  embedded = await openIn(folder.path, { clock, metrics, maxSize, maxAge: AGE });
  bus = embedded.bus;
}

// Random, so that compressing does not save room.
const message = (n: number): Outgoing => {
  const value = Buffer.from(crypto.getRandomValues(new Uint8Array(MESSAGE)));
  value.writeUInt32LE(n);
  return { key: 'k', value, records: 2 };
};

async function publish(from: number, to: number, topic: Topic = 'logs'): Promise<void> {
  for (let n = from; n < to; n++) await bus.publish(topic, [message(n)]);
}

const collect = (seen: number[], gate?: () => Promise<unknown>): Handler => {
  return async ({ messages }) => {
    await gate?.();
    for (const { value } of messages) seen.push(Buffer.from(value).readUInt32LE());
    return undefined;
  };
};

async function held(topic: Topic = 'logs'): Promise<number[]> {
  const seen: number[] = [];
  const subscription = await bus.subscribe(topic, 'look', collect(seen), { ephemeral: true });
  await subscription.caughtUp();
  await subscription.close();
  return seen;
}

async function metric(name: string, labels: Record<string, string> = {}): Promise<number> {
  const found = (await metrics.getSingleMetric(name)?.get())?.values ?? [];
  return found
    .filter((value) => Object.entries(labels).every(([key, text]) => value.labels[key] === text))
    .reduce((sum, { value }) => sum + value, 0);
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, n) => from + n);

/** Resolves when so many publish calls wait for room. */
const blocked = (count: number): Promise<void> =>
  vi.waitFor(
    async () => expect(await metric('reflexarc_bus_waiting_publishers')).toBe(count),
    25_000,
  );

describe('size', () => {
  it('removes the oldest where nobody is known to read', async () => {
    await publish(0, 200);
    const left = await held();
    expect(left).toEqual(range(left[0]!, 200));
    expect(left.length * MESSAGE).toBeLessThan(SIZE);
    expect(left.length).toBeGreaterThan(40);
    expect(await metric('reflexarc_bus_removed_messages_total', { reason: 'size' })).toBe(left[0]);
  });

  it('keeps what a group has not read, and publishers wait', async () => {
    const gate = Promise.withResolvers<void>();
    const seen: number[] = [];
    const subscription = await bus.subscribe(
      'logs',
      'g',
      collect(seen, () => gate.promise),
    );
    let published = 0;
    let call: Promise<void>;
    for (;;) {
      call = bus.publish('logs', [message(published)]);
      const done = call.then(() => true);
      if (!(await Promise.race([done, blocked(1).then(() => false)]))) break;
      published++;
    }
    expect(published).toBeGreaterThan(40);
    // What goes by another topic is not held up.
    await publish(0, 3, 'alerts');
    const giveUp = new AbortController();
    const second = bus.publish('logs', [message(0)], giveUp.signal);
    await blocked(2);
    giveUp.abort();
    await expect(second).rejects.toMatchObject({ code: 'cancelled' });
    await clock.advance(5000);
    gate.resolve();
    await call;
    expect(await metric('reflexarc_bus_publish_waiting_seconds_total')).toBeGreaterThanOrEqual(5);
    await subscription.caughtUp();
    expect(seen).toEqual(range(0, published + 1));
  });

  it('keeps room for every topic, whatever another one holds', async () => {
    await publish(0, 200);
    for (const topic of ['metrics', 'alerts', 'actions', 'dead-letters'] as const) {
      await publish(0, 4, topic);
      expect(await held(topic)).toEqual(range(0, 4));
    }
    expect(await metric('reflexarc_bus_size_bytes')).toBeLessThanOrEqual(SIZE);
  });

  it('takes room back from a topic that nobody else needed', async () => {
    await publish(0, 60, 'metrics');
    await clock.advance(1000);
    await publish(0, 60);
    expect((await held()).length).toBeGreaterThan(30);
    expect(await metric('reflexarc_bus_size_bytes')).toBeLessThanOrEqual(SIZE);
    expect((await held('metrics')).at(-1)).toBe(59);
  });

  it('obeys a smaller size after a restart', async () => {
    await publish(0, 60);
    await embedded.close();
    await open(SIZE / 4);
    await vi.waitFor(async () => {
      expect(await metric('reflexarc_bus_size_bytes')).toBeLessThanOrEqual(SIZE / 4);
    });
    expect((await held()).at(-1)).toBe(59);
  });

  it('waits for a group of an earlier run that has not come back yet', async () => {
    const first = await bus.subscribe('logs', 'g', async () => {
      throw new Error('not now');
    });
    await publish(0, 2);
    await first.close();
    await embedded.close();
    await open();
    const calls = range(2, 120).map((n) => bus.publish('logs', [message(n)]));
    await vi.waitFor(
      async () => expect(await metric('reflexarc_bus_waiting_publishers')).toBeGreaterThan(50),
      25_000,
    );
    const seen: number[] = [];
    const subscription = await bus.subscribe('logs', 'g', collect(seen));
    await Promise.all(calls);
    await subscription.caughtUp();
    expect(seen).toEqual(range(0, 120));
  });

  it('lets nothing be held back by a group that stayed away too long', async () => {
    const first = await bus.subscribe('logs', 'gone', async () => {
      throw new Error('never');
    });
    await publish(0, 1);
    await first.close();
    const calls = Promise.all(range(1, 120).map((n) => bus.publish('logs', [message(n)])));
    await vi.waitFor(
      async () => expect(await metric('reflexarc_bus_waiting_publishers')).toBeGreaterThan(50),
      25_000,
    );
    await clock.advance(AGE + 120_000);
    await calls;
    const seen: number[] = [];
    const back = await bus.subscribe('logs', 'gone', collect(seen));
    await back.caughtUp();
    expect(seen.at(-1)).toBe(119);
    expect(await metric('reflexarc_bus_skipped_messages_total', { group: 'gone' })).toBe(seen[0]);
  });

  it('does not hold a slow live tail against anyone', async () => {
    const gate = Promise.withResolvers<void>();
    const seen: number[] = [];
    const tail = await bus.subscribe(
      'logs',
      'tail-1',
      collect(seen, () => gate.promise),
      {
        ephemeral: true,
        maxMessages: 1,
      },
    );
    await publish(0, 150);
    gate.resolve();
    await tail.caughtUp();
    expect(seen.slice(-40)).toEqual(range(110, 150));
    const skipped = { topic: 'logs', group: 'ephemeral' };
    expect(await metric('reflexarc_bus_skipped_messages_total', skipped)).toBe(150 - seen.length);
  });

  it('refuses what could never have room', async () => {
    const value = Buffer.alloc(SIZE / 8);
    await expect(bus.publish('logs', [{ key: 'k', value, records: 1 }])).rejects.toMatchObject({
      code: 'limit_exceeded',
    });
  });
});

describe('age', () => {
  it('removes what all groups have read, and goes on counting', async () => {
    const seen: number[] = [];
    const subscription = await bus.subscribe('logs', 'g', collect(seen));
    await publish(0, 10);
    await subscription.caughtUp();
    expect(await held()).toEqual(range(0, 10));
    await clock.advance(AGE / 2);
    expect(await held()).toEqual(range(0, 10));
    await clock.advance(AGE);
    await vi.waitFor(async () => expect(await held()).toEqual([]));
    expect(await metric('reflexarc_bus_removed_messages_total', { reason: 'age' })).toBe(10);
    await embedded.close();
    await open();
    const offsets: number[] = [];
    const again = await bus.subscribe('logs', 'g', async ({ messages }) => {
      offsets.push(...messages.map(({ offset }) => offset));
      return undefined;
    });
    await publish(10, 12);
    await again.caughtUp();
    expect(offsets).toEqual([10, 11]);
  });

  it('keeps what a subscribed group has not read, however old', async () => {
    const gate = Promise.withResolvers<void>();
    const seen: number[] = [];
    const subscription = await bus.subscribe(
      'logs',
      'g',
      collect(seen, () => gate.promise),
    );
    await publish(0, 10);
    await clock.advance(AGE * 3);
    expect(await held()).toEqual(range(0, 10));
    gate.resolve();
    await subscription.caughtUp();
    expect(seen).toEqual(range(0, 10));
  });
});
