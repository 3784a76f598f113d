import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Damage, type Frame, Wal } from './wal.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-wal-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const frameOf = (text: string, size = 0): Frame => ({
  heading: Buffer.from(text),
  data: Buffer.alloc(size, text === '' ? 'x' : text),
});

async function recover(
  path: string,
): Promise<{ frames: string[]; damages: Damage[]; bytes: number }> {
  const frames: string[] = [];
  const damages: Damage[] = [];
  const wal = await Wal.recover(
    path,
    async ({ heading, data }) => {
      frames.push(`${Buffer.from(heading).toString()}:${data.length}`);
    },
    (damage) => damages.push(damage),
  );
  const { bytes } = wal;
  wal.close();
  return { frames, damages, bytes };
}

it('gives back what was appended, long and short, and goes on after it', async () => {
  const path = join(folder, 'a');
  const wal = Wal.create(path);
  await wal.append([frameOf('a', 10), frameOf('b', 100_000), frameOf('c', 0)]);
  await wal.append([frameOf('d', 5000)]);
  wal.close();
  const { frames, damages } = await recover(path);
  expect(frames).toEqual(['a:10', 'b:100000', 'c:0', 'd:5000']);
  expect(damages).toEqual([]);
});

it('cuts off what a crash left half-written, wherever it stopped', async () => {
  const path = join(folder, 'a');
  const wal = Wal.create(path);
  await wal.append([frameOf('a', 100)]);
  const whole = wal.bytes;
  await wal.append([frameOf('b', 100)]);
  wal.close();
  const bytes = readFileSync(path);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: whole, max: bytes.length - 1 }), async (length) => {
      writeFileSync(path, bytes.subarray(0, length));
      expect(await recover(path)).toEqual({ frames: ['a:100'], damages: [], bytes: whole });
      expect(readFileSync(path).length).toBe(whole);
    }),
    { numRuns: 40 },
  );
  truncateSync(path, 0);
  expect((await recover(path)).frames).toEqual([]);
});

it('says which part is damaged, and reads what follows it', async () => {
  const path = join(folder, 'a');
  const wal = Wal.create(path);
  await wal.append([frameOf('a', 100)]);
  const from = wal.bytes;
  await wal.append([frameOf('b', 100)]);
  const to = wal.bytes;
  await wal.append([frameOf('c', 100)]);
  wal.close();
  const bytes = readFileSync(path);
  bytes[from + 50]! ^= 1;
  writeFileSync(path, bytes);
  const { frames, damages } = await recover(path);
  expect(frames).toEqual(['a:100', 'c:100']);
  expect(damages).toEqual([{ offset: from, bytes: to - from }]);
});

it('says that the disk is full', async () => {
  const wal = Wal.create('/dev/full');
  await expect(wal.append([frameOf('a', 10)])).rejects.toMatchObject({ code: 'disk_full' });
  wal.close();
});
