import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../../core/contracts/store.ts';
import { encodeLogs, encodeSamples, lineId, sourceId } from '../../../core/records/codec.ts';
import type { LogRecord } from '../../../core/records/log.ts';
import { ManualClock } from '../../../core/testing/clock.ts';
import { formatRfc3339 } from '../../../core/time.ts';
import { makeFolder } from '../testing.ts';
import { makeTelemetry, openStoreIn } from './testing.ts';

const T0 = 1_767_323_045_000_000_000n;
const SECOND = 1_000_000_000n;
const stream = {
  labels: { service: 'web' },
  resource: { 'reflexarc.source': 's', 'reflexarc.generation': '1' },
};
const record = (number: number): LogRecord => ({
  timestamp: formatRfc3339(T0 + BigInt(number) * SECOND),
  id: lineId(sourceId('s', '1'), number),
  position: number,
  line: `line ${number}`,
  stream,
});
const records = (from: number, to: number): Uint8Array =>
  encodeLogs(Array.from({ length: to - from }, (_, index) => record(from + index)));

async function read(store: Store): Promise<string[]> {
  const lines: string[] = [];
  const query = {
    start: 0n,
    end: 2n ** 62n,
    matchers: [],
    filters: [],
    direction: 'forward',
  } as const;
  for await (const rows of store.selectLogs(query, new AbortController().signal)) {
    lines.push(...rows.map(({ line }) => line));
  }
  return lines;
}
const expected = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index}`);

describe('the embedded store', () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => folder.remove());

  const segments = (): string[] =>
    globSync('logs/segments/*/*.parquet', { cwd: folder.path })
      .sort()
      .map((name) => join(folder.path, name));

  /** Three segments of 100 lines, and 50 lines in the log. */
  async function fill(): Promise<void> {
    const store = await openStoreIn(folder.path);
    for (let from = 0; from < 300; from += 100)
      await store.append('logs', [records(from, from + 100)]);
    await store.append('logs', [records(300, 350)]);
    await store.close();
    const again = await openStoreIn(folder.path);
    await again.retain();
    await again.close();
    expect(segments()).toHaveLength(3);
  }

  it('belongs to one opener at a time', async () => {
    const store = await openStoreIn(folder.path);
    await expect(openStoreIn(folder.path)).rejects.toMatchObject({ code: 'locked' });
    await store.close();
    await (await openStoreIn(folder.path)).close();
  });

  it.each([
    ['a flipped bit', (bytes: Buffer) => ((bytes[40]! ^= 1), bytes)],
    ['a cut end', (bytes: Buffer) => bytes.subarray(0, 100)],
    ['nothing in it', () => Buffer.alloc(0)],
  ])('serves the rest when a segment has %s, and says so', async (_, damage) => {
    await fill();
    const [, file = ''] = segments();
    writeFileSync(file, damage(readFileSync(file)));
    const telemetry = makeTelemetry();
    const store = await openStoreIn(folder.path, { telemetry });
    try {
      expect(await read(store)).toEqual([...expected(0, 100), ...expected(200, 350)]);
      expect(telemetry.lines).toContainEqual(
        expect.objectContaining({
          level: 50,
          code: 'corrupt',
          file,
          rows: 100,
          msg: expect.stringMatching(/start again, or leave it: .* until its age/) as string,
        }),
      );
      expect(telemetry.lines).toContainEqual(
        expect.objectContaining({
          level: 40,
          msg: expect.stringContaining('an answer lacks') as string,
        }),
      );
      expect(await telemetry.metrics.metrics()).toContain('reflexarc_store_corrupt_total 1');
      // A query beside it is whole, and says nothing.
      const before = telemetry.lines.length;
      await store.series(
        { of: 'logs', range: { start: T0 + 250n * SECOND, end: 2n ** 62n }, matchers: [] },
        new AbortController().signal,
      );
      expect(telemetry.lines).toHaveLength(before);
      expect(await store.append('logs', [records(0, 360)])).toMatchObject({
        stored: 10,
        repeated: 350,
      });
    } finally {
      await store.close();
    }
  });

  it.each(['damaged', 'empty'])('makes a manifest again that is %s', async (kind) => {
    await fill();
    const file = join(folder.path, 'logs/manifest.json');
    writeFileSync(
      file,
      kind === 'empty' ? '' : readFileSync(file, 'utf8').replace('"seq"', '"sec"'),
    );
    const telemetry = makeTelemetry();
    const store = await openStoreIn(folder.path, { telemetry });
    expect(telemetry.lines).toContainEqual(
      expect.objectContaining({ level: 50, code: 'corrupt', file }),
    );
    expect(await read(store)).toEqual(expected(0, 350));
    expect(await store.append('logs', [records(0, 360)])).toMatchObject({
      stored: 10,
      repeated: 350,
    });
    await store.close();
    const again = await openStoreIn(folder.path);
    expect(await read(again)).toEqual(expected(0, 360));
    await again.close();
  });

  it('removes what a crash left unfinished', async () => {
    await fill();
    const orphan = join(folder.path, 'logs/segments/2026-01-02T03/000000099.parquet');
    mkdirSync(join(orphan, '..'), { recursive: true });
    writeFileSync(orphan, 'half');
    const store = await openStoreIn(folder.path);
    expect(segments()).not.toContain(orphan);
    expect(await read(store)).toEqual(expected(0, 350));
    await store.close();
  });

  it('works in a folder whose name looks like a pattern', async () => {
    const path = join(folder.path, "a[b]*?'c");
    const store = await openStoreIn(path);
    for (let from = 0; from < 300; from += 100)
      await store.append('logs', [records(from, from + 100)]);
    expect(await read(store)).toEqual(expected(0, 300));
    await store.close();
    expect(readdirSync(join(path, 'logs/segments')).length).toBeGreaterThan(0);
  });

  it('shows each row once while it is sealed', async () => {
    const store = await openStoreIn(folder.path, {}, { tuning: { sealRows: 50 } });
    let done = 0;
    const writing = (async () => {
      for (let from = 0; from < 3000; from += 25) {
        await store.append('logs', [records(from, from + 25)]);
        done = from + 25;
      }
    })();
    while (done < 3000) {
      const known = done;
      const lines = await read(store);
      expect(lines.length).toBeGreaterThanOrEqual(known);
      expect(lines).toEqual(expected(0, lines.length));
    }
    await writing;
    await store.close();
  });

  it('removes by age and by size, whole segments, and knows repeats all the same', async () => {
    const clock = new ManualClock(Number(T0 / 1_000_000n));
    const telemetry = { ...makeTelemetry(), clock };
    const options = { telemetry, maxAge: 3_600_000 };
    const store = await openStoreIn(folder.path, options);
    await store.append('logs', [records(0, 100)]);
    await store.append('metrics', [
      encodeSamples([{ labels: { __name__: 'up' }, timestamp: clock.now(), value: 1 }]),
    ]);
    expect(await store.retain()).toEqual({ removedBytes: 0 });
    clock.jump(2_000_000);
    await store.append('logs', [records(2000, 2050)]);
    // Quiet rows are sealed in time, so that they can go.
    await store.retain();
    expect(await store.stats()).toMatchObject({ logs: 150, samples: 1 });
    clock.jump(1_800_000);
    expect((await store.retain()).removedBytes).toBeGreaterThan(0);
    expect(await store.stats()).toMatchObject({ logs: 50, samples: 0 });
    expect(await read(store)).toEqual(expected(2000, 2050));
    expect(await store.append('logs', [records(0, 100)])).toMatchObject({ stored: 0 });
    await store.close();
    const small = await openStoreIn(folder.path, {
      ...options,
      telemetry: { ...makeTelemetry(), clock },
      maxSize: 1,
    });
    expect((await small.retain()).removedBytes).toBeGreaterThan(0);
    await small.close();
  });

  it('reads a log back that a crash left, with its tables', async () => {
    const store = await openStoreIn(folder.path);
    const samples = [{ labels: { __name__: 'up' }, timestamp: 1000, value: 1 }];
    await store.append('metrics', [encodeSamples(samples)]);
    await store.append('logs', [records(0, 10)]);
    await store.close();
    rmSync(join(folder.path, 'tmp'), { recursive: true, force: true });
    const again = await openStoreIn(folder.path);
    expect(await again.stats()).toMatchObject({ logs: 10, samples: 1 });
    expect(await again.append('metrics', [encodeSamples(samples)])).toMatchObject({ repeated: 1 });
    await again.close();
  });
});
