import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { Bus, Message, SubscribeOptions } from '../../core/contracts/bus.ts';
import { makeFolder, openIn } from '../../engines/embedded/testing.ts';

const ROUNDS = 12;
const CHILD = join(import.meta.dirname, 'bus-kill.child.ts');

/** Everything that one run said before it was killed, some moment after it was open. */
async function runAndKill(folder: string, from: number): Promise<string[]> {
  const report = join(folder, 'report.txt');
  writeFileSync(report, '');
  const child = spawn(execPath, [CHILD, folder, report, String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  await Promise.race([once(child.stdout, 'data'), closed]);
  // From the middle of the first commit to some hundreds of them.
  systemClock.after(Math.random() ** 2 * 400, () => child.kill('SIGKILL'));
  const [, signal] = (await closed) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return readFileSync(report, 'utf8').split('\n');
}

async function readAll(bus: Bus, group: string, options: SubscribeOptions): Promise<Message[]> {
  const messages: Message[] = [];
  const subscription = await bus.subscribe(
    'logs',
    group,
    async (delivery) => {
      messages.push(...delivery.messages);
      return undefined;
    },
    options,
  );
  await subscription.caughtUp();
  await subscription.close();
  return messages;
}

it('loses nothing acknowledged, and repeats and reorders nothing, at kill -9', {
  timeout: 180_000,
}, async () => {
  const folder = await makeFolder();
  const acknowledged = new Set<string>();
  const handled = new Set<string>();
  const onBus: Message[] = [];
  let from = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const line of await runAndKill(folder.path, from)) {
        const [kind, key, number] = line.split(/\s+/);
        if (kind === 'a') acknowledged.add(`${key} ${number}`);
        if (kind === 'c') handled.add(`${key} ${number}`);
      }
      const { bus, close } = await openIn(folder.path);
      const start = { offsets: () => onBus.length };
      onBus.push(...(await readAll(bus, 'check', { ephemeral: true, start })));
      if (round % 4 === 3) {
        // What the group finds from its commit on, and what it has handled before, is everything.
        for (const { key, value } of await readAll(bus, 'g', {})) {
          handled.add(`${key} ${Number(String(value))}`);
        }
        expect(handled.size).toBe(onBus.length);
      }
      await close();
      const highest = new Map<string, number>();
      for (const [offset, message] of onBus.entries()) {
        expect(message.offset).toBe(offset);
        const number = Number(String(message.value));
        expect(number).toBeGreaterThan(highest.get(message.key) ?? -1);
        highest.set(message.key, number);
      }
      const present = new Set(onBus.map(({ key, value }) => `${key} ${Number(String(value))}`));
      expect([...acknowledged].filter((id) => !present.has(id))).toEqual([]);
      from = Math.max(-1, ...highest.values()) + 1;
    }
    expect(acknowledged.size).toBeGreaterThan(100);
    // Handled before a kill, and not known to be finished: that comes again, and nothing else is.
    expect(handled.size).toBe(onBus.length);
  } finally {
    await folder.remove();
  }
});
