import { BIGINT, DOUBLE, DuckDBInstance, INTEGER, VARCHAR } from '@duckdb/node-api';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeFolder } from '../testing.ts';
import { Numbers, Rows, Texts } from './columns.ts';
import { Generation } from './generation.ts';
import { Wal } from './wal.ts';

type Cell = string | null;

const COLUMNS = [
  { name: 'i', type: 'INTEGER' },
  { name: 'l', type: 'BIGINT' },
  { name: 'd', type: 'DOUBLE' },
  { name: 't', type: 'VARCHAR' },
] as const;

describe('columns', () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let instance: DuckDBInstance;
  let number = 0;
  beforeAll(async () => {
    folder = await makeFolder();
    instance = await DuckDBInstance.create(':memory:');
  });
  afterAll(async () => {
    instance.closeSync();
    await folder.remove();
  });

  async function roundTrip(rows: Rows, seq = 0): Promise<unknown[][]> {
    const connection = await instance.connect();
    const wal = Wal.create(`${folder.path}/wal-${++number}`);
    const generation = await Generation.create(number, wal, 'x', 0, COLUMNS, connection, () =>
      Promise.resolve(),
    );
    await generation.insert(
      { rows, counts: [], ids: [], references: new Set(), undo: () => undefined },
      seq,
    );
    const found = await connection.runAndReadAll(`SELECT * FROM ${generation.table} ORDER BY seq`);
    wal.close();
    connection.closeSync();
    expect(found.columnTypes()).toEqual([BIGINT, BIGINT, INTEGER, BIGINT, DOUBLE, VARCHAR]);
    return found.getRows();
  }

  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme-ascii', minLength: 10, maxLength: 14 }),
  );
  const source = 'x'.repeat(20_000);

  it('come back as they were given, however they came', async () => {
    const cell = fc.option(text, { nil: null });
    await fc.assert(
      fc.asyncProperty(
        fc.array(cell, { minLength: 1, maxLength: 60 }),
        fc.array(fc.constantFrom('set', 'copy', 'refer', 'unescape'), { minLength: 1 }),
        fc.integer({ min: 1, max: 80 }),
        async (given, ways, repeats) => {
          const cells = Array.from({ length: repeats }, () => given).flat();
          const integers = new Numbers('INTEGER');
          const longs = new Numbers('BIGINT');
          const doubles = new Numbers('DOUBLE');
          const texts = new Texts();
          const rows = new Rows([integers, longs, doubles, texts]);
          const wanted = cells.map((cell, row) => [
            BigInt(row) * 4_000_000_000_000_000n - 2n ** 62n,
            2n ** 40n + BigInt(row),
            7 - row,
            row % 3 === 0 ? null : BigInt(row - 5) * 99_999_999_999n,
            row / 3,
            cell?.toWellFormed() ?? null,
          ]);
          for (const [row, value] of cells.entries()) {
            rows.times.pushBigint(BigInt(row) * 4_000_000_000_000_000n - 2n ** 62n);
            integers.set(row, 7 - row);
            if (row % 3 !== 0) longs.set(row, (row - 5) * 99_999_999_999);
            doubles.set(row, row / 3);
            put(texts, row, value, ways[row % ways.length]);
            rows.count++;
          }
          expect(await roundTrip(rows, 2 ** 40)).toEqual(wanted);
          expect(rows.count).toBe(0);
        },
      ),
      { numRuns: 30 },
    );
  });

  function put(texts: Texts, row: number, value: Cell, way: string | undefined): void {
    if (value === null) return;
    const bytes = Buffer.from(value);
    if (way === 'set') texts.set(row, value);
    else if (way === 'copy') texts.copy(row, bytes, 0, bytes.length);
    else if (way === 'refer') {
      const place = texts.addSource(Buffer.from(source + value));
      if (place === undefined) texts.set(row, value);
      else texts.refer(row, place, source.length, bytes.length);
    } else {
      const json = Buffer.from(JSON.stringify(value));
      texts.unescape(row, json, 1, json.length - 1);
    }
  }

  it('keep the rows that are wanted', async () => {
    const integers = new Numbers('INTEGER');
    const texts = new Texts();
    const rows = new Rows([integers, new Numbers('BIGINT'), new Numbers('DOUBLE'), texts]);
    for (let row = 0; row < 5000; row++) {
      rows.times.push(row, 999_999_999);
      integers.set(row, row);
      if (row % 2 === 0) texts.set(row, `text of row ${row}`);
      rows.count++;
    }
    const kept = Uint32Array.from({ length: 2500 }, (_, index) => index * 2 + (index % 2));
    rows.keep(kept);
    const found = await roundTrip(rows);
    expect(found).toEqual(
      Array.from(kept, (row, index) => [
        BigInt(row) * 1_000_000_000n + 999_999_999n,
        BigInt(index),
        row,
        null,
        null,
        row % 2 === 0 ? `text of row ${row}` : null,
      ]),
    );
  });

  it('hold sources that are long enough', () => {
    const texts = new Texts();
    expect(texts.addSource(Buffer.from('short'))).toBeUndefined();
    expect(texts.addSource(Buffer.alloc(16 * 1024))).toBe(1);
    expect(texts.addSource(Buffer.alloc(16 * 1024))).toBe(2);
  });

  it('know the first and the last time', () => {
    const rows = new Rows([]);
    const times = [5n, -(2n ** 61n), 2n ** 33n, -1n, 2n ** 61n, 0n];
    for (const time of times) rows.times.pushBigint(time);
    expect(rows.times.range()).toEqual({ min: -(2n ** 61n), max: 2n ** 61n });
    expect(times.map((_, row) => rows.times.get(row))).toEqual(times);
  });
});
