import { openSync, writeSync } from 'node:fs';
import { argv } from 'node:process';
import { openIn } from '../../engines/embedded/testing.ts';

// Publishes numbered messages until it is killed, and says which were acknowledged (`a key number`)
// and which a group has handled (`c key number`).
const [, , folder = '', reportFile = '', firstNumber = '0'] = argv;
const KEYS = ['p0', 'p1', 'p2', 'p3'];

const { bus } = await openIn(folder);
// Into a file, at once: what a pipe or a stream has not passed on yet is lost with the process.
const report = openSync(reportFile, 'a');
const say = (text: string): number => writeSync(report, text);

await bus.subscribe('logs', 'g', async ({ messages }) => {
  say(messages.map(({ key, value }) => `c ${key} ${String(value)}\n`).join(''));
  return undefined;
});

async function publishAll(key: string): Promise<void> {
  for (let number = Number(firstNumber); ; ) {
    const count = 1 + Math.floor(Math.random() * 20);
    const numbers = Array.from({ length: count }, (_, index) => number + index);
    number += count;
    await bus.publish(
      'logs',
      numbers.map((n) => ({
        key,
        value: Buffer.from(`${n}`.padEnd(50 + (n % 3) * 3000)),
        records: 1,
      })),
    );
    say(numbers.map((n) => `a ${key} ${n}\n`).join(''));
  }
}

writeSync(1, 'open\n');
await Promise.all(KEYS.map(publishAll));
