import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type {
  Bus,
  Delivery,
  Handler,
  Message,
  Outcome,
  Outgoing,
  SubscribeOptions,
  Subscription,
  Topic,
} from '../../core/contracts/bus.ts';

/** An empty place that a bus can be opened on again and again, one at a time: a restart. */
export interface BusPlace {
  open(): Promise<Bus>;
  /** Every bus is closed by then. */
  dispose(): Promise<void>;
}

/** Long enough for an engine across a network; nothing waits for it in vain but a failing test. */
const PATIENCE = { timeout: 25_000, interval: 5 };
const TIMEOUT = 60_000;

const out = (key: string, text: string): Outgoing => ({
  key,
  value: Buffer.from(text),
  records: 1,
});
const textOf = ({ value }: Message): string => Buffer.from(value).toString();

/** One subscriber and what it got. */
class Listener {
  readonly deliveries: Delivery[] = [];
  subscription!: Subscription;
  #handle: Handler;

  constructor(handle: Handler = async () => undefined) {
    this.#handle = handle;
  }

  async on(bus: Bus, topic: Topic, group: string, options?: SubscribeOptions): Promise<this> {
    this.subscription = await bus.subscribe(
      topic,
      group,
      async (delivery) => {
        this.deliveries.push(delivery);
        return this.#handle(delivery);
      },
      options,
    );
    return this;
  }

  get messages(): Message[] {
    return this.deliveries.flatMap(({ messages }) => messages);
  }

  get texts(): string[] {
    return this.messages.map(textOf);
  }

  async until(check: (texts: string[]) => boolean): Promise<void> {
    await vi.waitFor(() => expect(this.texts).toSatisfy(check), PATIENCE);
  }
}

/** In the order of publishing per key, which is all that several partitions promise. */
function byKey(messages: readonly Message[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const message of messages) (found[message.key] ??= []).push(textOf(message));
  return found;
}

/**
 * What every Bus keeps, whatever it runs on: any number of partitions, any timing. Tests use
 * several keys, so that several partitions are really used.
 */
export function busConformance(name: string, create: () => Promise<BusPlace>): void {
  describe(`${name} keeps the bus contract`, { timeout: TIMEOUT }, () => {
    let place: BusPlace;
    let bus: Bus;

    beforeEach(async () => {
      place = await create();
      bus = await place.open();
    }, TIMEOUT);

    afterEach(async () => {
      await bus.close();
      await place.dispose();
    }, TIMEOUT);

    const reopen = async (): Promise<void> => {
      await bus.close();
      bus = await place.open();
    };
    const keys = ['a', 'b', 'c', 'd', 'e'];
    const numbered = (from: number, to: number): Outgoing[] => {
      const messages: Outgoing[] = [];
      for (let n = from; n < to; n++) messages.push(out(keys[n % keys.length]!, `m${n}`));
      return messages;
    };
    const names = (from: number, to: number): string[] =>
      numbered(from, to).map(({ value }) => Buffer.from(value).toString());
    const sorted = (texts: readonly string[]): string[] => [...texts].sort();

    it('delivers what was published, in the order of each key', async () => {
      await bus.publish('logs', numbered(0, 40));
      await bus.publish('logs', numbered(40, 80));
      const listener = await new Listener().on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 80);
      const expected: Record<string, string[]> = {};
      for (const { key, value } of numbered(0, 80)) {
        (expected[key] ??= []).push(Buffer.from(value).toString());
      }
      expect(byKey(listener.messages)).toEqual(expected);
    });

    it('delivers consecutive messages of one partition, with their end', async () => {
      await bus.publish('logs', numbered(0, 50));
      const listener = await new Listener().on(bus, 'logs', 'g', { maxMessages: 7 });
      await listener.until((texts) => texts.length >= 50);
      const last = new Map<number, Message>();
      for (const delivery of listener.deliveries) {
        const { partition, messages, end, topic } = delivery;
        expect(topic).toBe('logs');
        expect(messages.length).toBeGreaterThan(0);
        expect(messages.length).toBeLessThanOrEqual(7);
        for (const message of messages) {
          const before = last.get(partition);
          if (before !== undefined) {
            expect(message.offset).toBeGreaterThan(before.offset);
            expect(message.timestamp).toBeGreaterThanOrEqual(before.timestamp);
          }
          expect(end).toBeGreaterThan(message.offset);
          last.set(partition, message);
        }
        await expect(delivery.heartbeat()).resolves.toBeUndefined();
      }
    });

    it('keeps any bytes and any key', async () => {
      const bytes = Buffer.from(Array.from({ length: 5000 }, (_, index) => index % 256));
      const value = { key: 'ключ/\u0000', value: bytes, records: 1 };
      await bus.publish('logs', [
        value,
        out('', ''),
        { key: 'x', value: new Uint8Array(100_000), records: 1 },
      ]);
      await reopen();
      const listener = await new Listener().on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 3);
      const found = new Map(listener.messages.map((message) => [message.key, message]));
      expect(Buffer.from(found.get('ключ/\u0000')!.value).equals(bytes)).toBe(true);
      expect(found.get('')!.value.length).toBe(0);
      expect(Buffer.from(found.get('x')!.value).equals(Buffer.alloc(100_000))).toBe(true);
    });

    it('orders overlapping calls for a key by the order of the calls', async () => {
      const calls: Promise<void>[] = [];
      for (let n = 0; n < 60; n++)
        calls.push(bus.publish('logs', [out('k', `m${n}`), out('k', `n${n}`)]));
      await Promise.all(calls);
      const listener = await new Listener().on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 120);
      expect(listener.texts).toEqual(
        Array.from({ length: 60 }, (_, n) => [`m${n}`, `n${n}`]).flat(),
      );
    });

    it('keeps topics apart', async () => {
      await Promise.all([
        bus.publish('logs', [out('k', 'log')]),
        bus.publish('alerts', [out('k', 'alert')]),
        bus.publish('dead-letters', [out('k', 'dead')]),
      ]);
      const alerts = await new Listener().on(bus, 'alerts', 'g');
      const dead = await new Listener().on(bus, 'dead-letters', 'g');
      await alerts.until((texts) => texts.length >= 1);
      await dead.until((texts) => texts.length >= 1);
      expect([alerts.texts, dead.texts]).toEqual([['alert'], ['dead']]);
    });

    it('publishes nothing when there is nothing', async () => {
      await expect(bus.publish('logs', [])).resolves.toBeUndefined();
    });

    it('is still there after a restart, and every group goes on where it was', async () => {
      await bus.publish('logs', numbered(0, 30));
      const first = await new Listener().on(bus, 'logs', 'g');
      await first.until((texts) => texts.length >= 30);
      await first.subscription.caughtUp();
      await first.subscription.close();
      await bus.publish('logs', numbered(30, 40));
      await reopen();
      const again = await new Listener().on(bus, 'logs', 'g');
      const other = await new Listener().on(bus, 'logs', 'other');
      await again.until((texts) => texts.length >= 10);
      await other.until((texts) => texts.length >= 40);
      await again.subscription.caughtUp();
      expect(sorted(again.texts)).toEqual(sorted(names(30, 40)));
      expect(sorted(other.texts)).toEqual(sorted(names(0, 40)));
    });

    it('gives every group everything, and each message of a group to one member', async () => {
      const [one, two, other] = [new Listener(), new Listener(), new Listener()];
      await Promise.all([
        one.on(bus, 'logs', 'g'),
        two.on(bus, 'logs', 'g'),
        other.on(bus, 'logs', 'h'),
      ]);
      await bus.publish('logs', numbered(0, 40));
      await other.until((texts) => texts.length >= 40);
      await vi.waitFor(() => {
        const both = new Set([...one.texts, ...two.texts]);
        expect(both.size).toBe(40);
      }, PATIENCE);
      await Promise.all([one.subscription.caughtUp(), two.subscription.caughtUp()]);
      // Whoever leaves, the others go on; what was finished does not come again.
      await one.subscription.close();
      await bus.publish('logs', numbered(40, 80));
      await vi.waitFor(() => {
        expect(new Set([...one.texts, ...two.texts]).size).toBe(80);
      }, PATIENCE);
      await two.subscription.close();
      const three = await new Listener().on(bus, 'logs', 'g');
      await bus.publish('logs', numbered(80, 90));
      await three.until((texts) => texts.length >= 10);
      expect(sorted(three.texts)).toEqual(sorted(names(80, 90)));
    });

    it('begins at the end with `latest`', async () => {
      await bus.publish('logs', numbered(0, 10));
      const listener = await new Listener().on(bus, 'logs', 'g', { start: 'latest' });
      await bus.publish('logs', numbered(10, 20));
      await listener.until((texts) => texts.length >= 10);
      await listener.subscription.caughtUp();
      expect(sorted(listener.texts)).toEqual(sorted(names(10, 20)));
    });

    it('begins at a time', async () => {
      for (let n = 0; n < 20; n++) await bus.publish('logs', numbered(n, n + 1));
      const all = await new Listener().on(bus, 'logs', 'all');
      await all.until((texts) => texts.length >= 20);
      const { timestamp } = all.messages.find((message) => textOf(message) === 'm11')!;
      const expected = all.messages.filter((message) => message.timestamp >= timestamp).map(textOf);
      const options = { start: { time: BigInt(timestamp) * 1_000_000n } };
      const listener = await new Listener().on(bus, 'logs', 'g', options);
      await listener.until((texts) => texts.length >= expected.length);
      await listener.subscription.caughtUp();
      expect(sorted(listener.texts)).toEqual(sorted(expected));
      const future = BigInt(timestamp + 3_600_000) * 1_000_000n;
      const late = await new Listener().on(bus, 'logs', 'late', { start: { time: future } });
      await late.subscription.caughtUp();
      expect(late.texts).toEqual([]);
    });

    it('begins at offsets that the consumer keeps', async () => {
      await bus.publish('logs', numbered(0, 40));
      const all = await new Listener().on(bus, 'logs', 'all');
      await all.until((texts) => texts.length >= 40);
      const perPartition = new Map<number, Message[]>();
      for (const { partition, messages } of all.deliveries) {
        perPartition.set(partition, [...(perPartition.get(partition) ?? []), ...messages]);
      }
      const half = new Map(
        [...perPartition].map(([partition, messages]) => [
          partition,
          messages[Math.floor(messages.length / 2)]!.offset,
        ]),
      );
      const expected = [...perPartition].flatMap(([partition, messages]) =>
        messages.filter(({ offset }) => offset >= half.get(partition)!).map(textOf),
      );
      const start = { offsets: (partition: number) => half.get(partition) };
      const listener = await new Listener().on(bus, 'logs', 'g', { start });
      await listener.until((texts) => texts.length >= expected.length);
      await listener.subscription.caughtUp();
      expect(sorted(listener.texts)).toEqual(sorted(expected));
      const none = await new Listener().on(bus, 'logs', 'h', {
        start: { offsets: () => undefined },
      });
      await none.until((texts) => texts.length >= 40);
    });

    it('delivers the same messages again when a handler rejects', async () => {
      let failures = 2;
      const listener = new Listener(async () => {
        if (failures-- > 0) throw new Error('not yet');
        return undefined;
      });
      await bus.publish('logs', numbered(0, 1));
      await listener.on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 3);
      expect(listener.texts.slice(0, 3)).toEqual(['m0', 'm0', 'm0']);
      await bus.publish('logs', numbered(5, 6));
      await listener.until((texts) => texts.includes('m5'));
      await listener.subscription.caughtUp();
    });

    it('commits nothing of what a handler rejects', async () => {
      await bus.publish('logs', numbered(0, 1));
      const failing = await new Listener(async () => {
        throw new Error('never');
      }).on(bus, 'logs', 'g');
      await failing.until((texts) => texts.length >= 1);
      await failing.subscription.close();
      await reopen();
      const next = await new Listener().on(bus, 'logs', 'g');
      await next.until((texts) => texts.includes('m0'));
    });

    it('pauses and comes back from where a handler asks', async () => {
      await bus.publish(
        'logs',
        Array.from({ length: 10 }, (_, n) => out('k', `m${n}`)),
      );
      const { promise, resolve } = Promise.withResolvers<void>();
      let asked = false;
      const listener = await new Listener(async ({ messages }): Promise<Outcome> => {
        const stop = messages.find((message) => textOf(message) === 'm4');
        if (asked || stop === undefined) return undefined;
        asked = true;
        return { from: stop.offset, when: promise };
      }).on(bus, 'logs', 'g');
      await listener.until((texts) => texts.includes('m4'));
      const before = listener.deliveries.length;
      // Another group is not held up, and is a sign that time went by.
      const other = await new Listener().on(bus, 'logs', 'other');
      await other.until((texts) => texts.length >= 10);
      expect(listener.deliveries.length).toBe(before);
      await expect(listener.subscription.lag()).resolves.toBe(6);
      resolve();
      await listener.subscription.caughtUp();
      const again = listener.deliveries
        .slice(before)
        .flatMap(({ messages }) => messages.map(textOf));
      expect(again).toEqual(['m4', 'm5', 'm6', 'm7', 'm8', 'm9']);
    });

    it('comes back when what a handler waits for fails', async () => {
      let asked = false;
      await bus.publish('logs', numbered(0, 1));
      const listener = await new Listener(async ({ messages }): Promise<Outcome> => {
        if (asked) return undefined;
        asked = true;
        return { from: messages[0]!.offset, when: Promise.reject(new Error('gone')) };
      }).on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 2);
      await listener.subscription.caughtUp();
    });

    it('closes while a handler has asked to pause', async () => {
      await bus.publish('logs', [out('k', 'm0'), out('k', 'm1')]);
      const listener = await new Listener(
        async ({ messages }): Promise<Outcome> =>
          textOf(messages.at(-1)!) === 'm1'
            ? { from: messages.at(-1)!.offset, when: new Promise(() => {}) }
            : undefined,
      ).on(bus, 'logs', 'g');
      await listener.until((texts) => texts.includes('m1'));
      await listener.subscription.close();
      const next = await new Listener().on(bus, 'logs', 'g');
      await next.until((texts) => texts.length >= 1);
      expect(next.texts).toEqual(['m1']);
    });

    it('remembers nothing of an ephemeral subscription', async () => {
      await bus.publish('logs', numbered(0, 10));
      const tail = await new Listener().on(bus, 'logs', 'g', { ephemeral: true, start: 'latest' });
      const whole = await new Listener().on(bus, 'logs', 'g', { ephemeral: true });
      await bus.publish('logs', numbered(10, 15));
      await tail.until((texts) => texts.length >= 5);
      await whole.until((texts) => texts.length >= 15);
      expect(sorted(tail.texts)).toEqual(sorted(names(10, 15)));
      await tail.subscription.close();
      await whole.subscription.close();
      const group = await new Listener().on(bus, 'logs', 'g');
      await group.until((texts) => texts.length >= 15);
    });

    it('tells how far it is behind, and when it has caught up', async () => {
      const gate = Promise.withResolvers<void>();
      const listener = await new Listener(async () => {
        await gate.promise;
        return undefined;
      }).on(bus, 'logs', 'g');
      await expect(listener.subscription.lag()).resolves.toBe(0);
      await listener.subscription.caughtUp();
      await bus.publish('logs', numbered(0, 12));
      await vi.waitFor(async () => expect(await listener.subscription.lag()).toBe(12), PATIENCE);
      const giveUp = new AbortController();
      const waiting = listener.subscription.caughtUp(giveUp.signal);
      giveUp.abort();
      await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
      const caughtUp = listener.subscription.caughtUp();
      gate.resolve();
      await caughtUp;
      expect(sorted(listener.texts)).toEqual(sorted(names(0, 12)));
      await vi.waitFor(async () => expect(await listener.subscription.lag()).toBe(0), PATIENCE);
    });

    it('calls one handler at a time for a partition', async () => {
      const active = new Map<number, number>();
      let most = 0;
      const listener = await new Listener(async ({ partition }) => {
        active.set(partition, (active.get(partition) ?? 0) + 1);
        most = Math.max(most, active.get(partition)!);
        await new Promise((resolve) => setImmediate(resolve));
        active.set(partition, active.get(partition)! - 1);
        return undefined;
      }).on(bus, 'logs', 'g', { maxMessages: 1 });
      await Promise.all(
        [0, 1, 2, 3].map((n) => bus.publish('logs', numbered(n * 10, n * 10 + 10))),
      );
      await listener.until((texts) => texts.length >= 40);
      expect(most).toBe(1);
    });

    it('bounds a delivery by bytes, and still delivers what is larger', async () => {
      const messages = Array.from({ length: 6 }, (_, n) => out('k', `${n}`.repeat(1000)));
      await bus.publish('logs', [...messages, out('k', 'x'.repeat(9000))]);
      const listener = await new Listener().on(bus, 'logs', 'g', { maxBytes: 2500 });
      await listener.until((texts) => texts.length >= 7);
      for (const { messages } of listener.deliveries) {
        const bytes = messages.reduce((sum, { value }) => sum + value.length, 0);
        expect(messages.length === 1 || bytes <= 2500).toBe(true);
      }
    });

    it('tells a handler to give up, waits for it, and commits nothing of what it gave up', async () => {
      await bus.publish('logs', [out('k', 'm0')]);
      let ended = false;
      const listener = await new Listener(
        ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => {
              ended = true;
              reject(new Error('gave up'));
            });
          }),
      ).on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 1);
      await Promise.all([listener.subscription.close(), listener.subscription.close()]);
      expect(ended).toBe(true);
      const calls = listener.deliveries.length;
      const next = await new Listener().on(bus, 'logs', 'g');
      await next.until((texts) => texts.length >= 1);
      expect(listener.deliveries.length).toBe(calls);
    });

    it('commits what a handler finishes while it closes', async () => {
      await bus.publish('logs', [out('k', 'm0')]);
      const gate = Promise.withResolvers<void>();
      const listener = await new Listener(async () => {
        await gate.promise;
        return undefined;
      }).on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 1);
      const closed = listener.subscription.close();
      gate.resolve();
      await closed;
      await bus.publish('logs', [out('k', 'm1')]);
      const next = await new Listener().on(bus, 'logs', 'g');
      await next.until((texts) => texts.includes('m1'));
      expect(next.texts).toEqual(['m1']);
    });

    it('refuses what is too large, and nothing else', async () => {
      const huge = { key: 'k', value: Buffer.alloc(64 * 1024 * 1024, 'x'), records: 1 };
      await expect(bus.publish('logs', [huge])).rejects.toMatchObject({ code: 'limit_exceeded' });
      await bus.publish('logs', [out('k', 'm0')]);
      const listener = await new Listener().on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 1);
      expect(listener.texts).toEqual(['m0']);
    });

    it('publishes nothing once the signal has fired', async () => {
      const call = bus.publish('logs', [out('k', 'm0')], AbortSignal.abort());
      await expect(call).rejects.toMatchObject({ code: 'cancelled' });
      await bus.publish('logs', [out('k', 'm1')]);
      const listener = await new Listener().on(bus, 'logs', 'g');
      await listener.until((texts) => texts.length >= 1);
      expect(listener.texts).toEqual(['m1']);
    });

    it('closes: what is under way settles, handlers are told, later calls are refused', async () => {
      const listener = await new Listener().on(bus, 'logs', 'g');
      const publishing = bus.publish('logs', numbered(0, 5));
      const [outcome] = await Promise.allSettled([publishing, bus.close(), bus.close()]);
      await expect(bus.publish('logs', numbered(5, 6))).rejects.toMatchObject({
        code: 'unavailable',
      });
      await expect(bus.subscribe('logs', 'g', async () => undefined)).rejects.toMatchObject({
        code: 'unavailable',
      });
      await listener.subscription.close();
      bus = await place.open();
      if (outcome.status === 'fulfilled') {
        const next = await new Listener().on(bus, 'logs', 'other');
        await next.until((texts) => texts.length >= 5);
      }
    });
  });
}
