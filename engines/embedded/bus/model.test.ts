import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { expect, it, vi } from 'vitest';
import type { Message } from '../../../core/contracts/bus.ts';
import { ManualClock } from '../../../core/testing/clock.ts';
import type { Embedded } from '../open.ts';
import { openIn } from '../testing.ts';

const SIZE = 1024 ** 2;
const AGE = 60_000;
const GROUPS = ['g', 'h'] as const;
type Group = (typeof GROUPS)[number];

type Step =
  | { readonly do: 'publish'; readonly sizes: readonly number[] }
  | { readonly do: 'consume'; readonly group: Group; readonly messages: number }
  | { readonly do: 'reopen' }
  | { readonly do: 'crash' }
  | { readonly do: 'pass'; readonly ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        sizes: fc.array(fc.integer({ min: 4, max: 60_000 }), { minLength: 1, maxLength: 8 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('consume' as const),
        group: fc.constantFrom(...GROUPS),
        messages: fc.integer({ min: 1, max: 30 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'crash' as const }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('pass' as const),
        ms: fc.integer({ min: 1, max: AGE }),
      }),
    },
  ),
  { minLength: 5, maxLength: 40 },
);

/** The bus and, beside it, what it must hold: message n has offset n and the number n in it. */
class Pair {
  readonly #clock = new ManualClock();
  #metrics = new Registry();
  #folder = '';
  #embedded!: Embedded;
  #published = 0;
  /** The group's commit. */
  readonly #next = new Map<Group, number>();
  /** When the group was last subscribed. */
  readonly #seen = new Map<Group, number>();

  async open(folder?: string): Promise<void> {
    this.#folder = folder ?? (await mkdtemp(join(tmpdir(), 'reflexarc-model-')));
    this.#metrics = new Registry();
    this.#embedded = await openIn(this.#folder, {
      clock: this.#clock,
      metrics: this.#metrics,
      maxSize: SIZE,
      maxAge: AGE,
    });
  }

  async close(): Promise<void> {
    await this.#embedded.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        return this.#publish(step.sizes);
      case 'consume':
        return this.#consume(step.group, step.messages);
      case 'reopen':
        await this.#embedded.close();
        return this.open(this.#folder);
      case 'crash':
        return this.#crash();
      case 'pass':
        return this.#clock.advance(step.ms);
    }
  }

  async #publish(sizes: readonly number[]): Promise<void> {
    const messages = sizes.map((size, index) => {
      const value = Buffer.from(crypto.getRandomValues(new Uint8Array(size)));
      value.writeUInt32LE(this.#published + index);
      return { key: `k${index % 3}`, value, records: 1 };
    });
    const call = this.#embedded.bus.publish('logs', messages);
    let done = false;
    const ended = call.finally(() => {
      done = true;
    });
    while (!done) {
      await Promise.race([ended, this.#untilBlocked()]);
      if (done) break;
      // Somebody must hold it back, and reading makes room.
      const behind = GROUPS.filter((group) => this.#holds(group));
      expect(behind.length).toBeGreaterThan(0);
      for (const group of behind) await this.#consume(group, 10);
    }
    await ended;
    this.#published += sizes.length;
  }

  async #untilBlocked(): Promise<void> {
    const gauge = this.#metrics.getSingleMetric('reflexarc_bus_waiting_publishers')!;
    await vi.waitFor(async () => {
      const { values } = await gauge.get();
      expect(values.some(({ value }) => value > 0)).toBe(true);
    }, 20_000);
  }

  #holds(group: Group): boolean {
    const seen = this.#seen.get(group);
    return seen !== undefined && this.#clock.now() - seen <= AGE;
  }

  /** What is on the bus, from the oldest on. Checked for what must hold at any time. */
  async #look(): Promise<Message[]> {
    const messages: Message[] = [];
    const subscription = await this.#embedded.bus.subscribe(
      'logs',
      'look',
      async (delivery) => {
        messages.push(...delivery.messages);
        return undefined;
      },
      { ephemeral: true, maxMessages: 7 },
    );
    await subscription.caughtUp();
    await subscription.close();
    return messages;
  }

  async #consume(group: Group, count: number): Promise<void> {
    const seen: number[] = [];
    const subscription = await this.#embedded.bus.subscribe(
      'logs',
      group,
      async ({ messages, signal }) => {
        if (seen.length >= count) {
          // Enough: the rest is for another time.
          await new Promise((resolve) => {
            if (signal.aborted) resolve(undefined);
            signal.addEventListener('abort', resolve);
          });
          throw new Error('given up');
        }
        seen.push(...messages.map(({ value }) => Buffer.from(value).readUInt32LE()));
        return undefined;
      },
      { maxMessages: 3 },
    );
    const start = this.#next.get(group) ?? 0;
    const lag = await subscription.lag();
    await vi.waitFor(
      () => expect(seen.length).toBeGreaterThanOrEqual(Math.min(count, lag)),
      20_000,
    );
    await subscription.close();
    // Nothing is left out but what was removed while the group was away for too long.
    if (seen.length > 0) {
      if (this.#holds(group) || !this.#seen.has(group)) {
        if (this.#seen.has(group)) expect(seen[0]).toBe(start);
      }
      expect(seen[0]).toBeGreaterThanOrEqual(start);
      expect(seen).toEqual(seen.map((_, index) => seen[0]! + index));
      this.#next.set(group, seen.at(-1)! + 1);
    }
    this.#seen.set(group, this.#clock.now());
  }

  /** The files as they are at this moment, without a close, are what a crash leaves behind. */
  async #crash(): Promise<void> {
    const image = await mkdtemp(join(tmpdir(), 'reflexarc-model-'));
    for (const name of ['bus.mdb', 'state.mdb']) {
      await cp(join(this.#folder, name), join(image, name));
    }
    await this.close();
    await this.open(image);
  }

  async check(): Promise<void> {
    const numbers = (await this.#look()).map(({ offset, value }) => {
      const number = Buffer.from(value).readUInt32LE();
      expect(offset).toBe(number);
      return number;
    });
    const first = numbers[0] ?? this.#published;
    expect(numbers).toEqual(Array.from({ length: this.#published - first }, (_, n) => first + n));
    for (const group of GROUPS) {
      if (this.#holds(group)) expect(first).toBeLessThanOrEqual(this.#next.get(group) ?? first);
    }
    const { values } = await this.#metrics.getSingleMetric('reflexarc_bus_size_bytes')!.get();
    expect(values.reduce((sum, { value }) => sum + value, 0)).toBeLessThanOrEqual(SIZE);
  }
}

it('holds what the model says, through publishing, reading, crashes, time and little room', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const pair = new Pair();
      await pair.open();
      try {
        for (const step of list) {
          await pair.run(step);
          await pair.check();
        }
      } finally {
        await pair.close();
      }
    }),
    { numRuns: 15 },
  );
});
