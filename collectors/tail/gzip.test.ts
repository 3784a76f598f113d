import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openGzip } from './gzip.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-gzip-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('gives what it holds by offset, forward, a little back, and from the start again', async () => {
  const whole = randomBytes(5_000_000);
  const path = join(folder, 'a.gz');
  writeFileSync(path, gzipSync(whole));
  const bytes = await openGzip(path);
  for (const [position, length] of [
    [0, 10],
    [100_000, 500_000],
    [599_000, 1000],
    [4_000_000, 900_000],
    [10, 100],
    [4_999_990, 100],
    [6_000_000, 10],
  ] as const) {
    const buffer = Buffer.alloc(length);
    const read = await bytes.read(buffer, length, position);
    expect(buffer.subarray(0, read).equals(whole.subarray(position, position + length))).toBe(true);
  }
  await bytes.close();
});

it('a damaged one is an error', async () => {
  const path = join(folder, 'a.gz');
  writeFileSync(path, 'no gzip');
  const bytes = await openGzip(path);
  await expect(bytes.read(Buffer.alloc(10), 10, 0)).rejects.toThrow('incorrect header');
  await bytes.close();
});
