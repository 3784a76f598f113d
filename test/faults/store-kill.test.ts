import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import type { Step } from '../../engines/embedded/store/report.ts';
import { openStoreIn } from '../../engines/embedded/store/testing.ts';
import { makeFolder } from '../../engines/embedded/testing.ts';

const CHILD = join(import.meta.dirname, 'store-kill.child.ts');
const ROUNDS = 12;
const STEPS: readonly Step[] = [
  'frozen',
  'segment-writing',
  'segment-written',
  'dictionary-written',
  'manifest-written',
  'log-removed',
];

/** What one run said until it ended. */
async function run(folder: string, dieAt?: Step): Promise<string[]> {
  const child = spawn(execPath, [CHILD, folder, dieAt ?? ''], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let killing = dieAt !== undefined;
  child.stdout.on('data', (part: Buffer) => {
    text += part.toString();
    if (killing) return;
    killing = true;
    systemClock.after(Math.random() ** 2 * 900, () => child.kill('SIGKILL'));
  });
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return text.split('\n').slice(0, -1);
}

function check(said: readonly string[]): number {
  expect(said.filter((line) => /^(twice|missing)/.test(line))).toEqual([]);
  const last = said.findLast((line) => line.startsWith('a '));
  return Number(last?.split(' ')[2] ?? 0);
}

/** Every line up to what was acknowledged, and perhaps some more, each once. */
async function look(folder: string, acknowledged: number): Promise<void> {
  const store = await openStoreIn(folder);
  try {
    const lines: string[] = [];
    const signal = new AbortController().signal;
    const whole = { start: 0n, end: 2n ** 62n, matchers: [], filters: [] };
    for await (const rows of store.selectLogs({ ...whole, direction: 'forward' }, signal)) {
      lines.push(...rows.map(({ line }) => line));
    }
    expect(new Set(lines).size).toBe(lines.length);
    const numbered = lines.filter((line) => line.startsWith('line '));
    expect(numbered.length).toBeGreaterThanOrEqual(acknowledged);
    expect(numbered).toEqual(numbered.map((_, index) => `line ${index}`));
    // The position came with the rows, in the same step.
    expect((await store.position('g', 'logs', 0)) ?? 0).toBe(numbered.length);
    expect((await store.stats()).logs).toBe(lines.length);
  } finally {
    await store.close();
  }
}

describe('the embedded store at kill -9', { timeout: 180_000 }, () => {
  it('has every acknowledged line once, whenever it happens', async () => {
    const folder = await makeFolder();
    try {
      let acknowledged = 0;
      for (let round = 0; round < ROUNDS; round++) {
        acknowledged = Math.max(acknowledged, check(await run(folder.path)));
      }
      expect(acknowledged).toBeGreaterThan(400);
      await look(folder.path, acknowledged);
    } finally {
      await folder.remove();
    }
  });

  it.each(STEPS)('has every acknowledged line once after dying at: %s', async (step) => {
    const folder = await makeFolder();
    try {
      // Twice: the second run begins with what the first one left.
      const first = check(await run(folder.path, step));
      const second = check(await run(folder.path, step));
      await look(folder.path, Math.max(first, second));
    } finally {
      await folder.remove();
    }
  });

  it('leaves no file behind when it dies while removing segments', async () => {
    const folder = await makeFolder();
    try {
      check(await run(folder.path, 'retain-manifest-written'));
      const before = globSync(join(folder.path, 'logs/segments/*/*.parquet')).length;
      const store = await openStoreIn(folder.path);
      await store.close();
      const after = globSync(join(folder.path, 'logs/segments/*/*.parquet')).length;
      expect(after).toBeLessThan(before);
    } finally {
      await folder.remove();
    }
  });
});
