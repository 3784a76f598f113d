import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { messageOf } from '../../../core/errors.ts';
import { Columns, type Database, escapeGlob, quote } from './database.ts';
import { dictionariesIn } from './dictionary.ts';
import { checksumOf, sizeOf } from './files.ts';
import { EMPTY_MANIFEST, type Manifest, type SegmentEntry } from './manifest.ts';
import type { Report } from './report.ts';

/**
 * A manifest made from the segments themselves, where the real one cannot be read. Segments whose
 * log is still there are left out: the log has their rows. What the bus's position was is lost; the
 * bus has its own.
 */
export async function rebuildManifest(
  folder: string,
  reference: 'stream' | 'series' | undefined,
  db: Database,
  report: Report,
): Promise<Manifest> {
  const logs = readdirSync(folder)
    .map((name) => Number(/^wal-(\d+)\.log$/.exec(name)?.[1]))
    .filter((number) => !Number.isNaN(number));
  const root = join(folder, 'segments');
  mkdirSync(root, { recursive: true });
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile() && item.name.endsWith('.parquet'))
    .map((item) => join(item.parentPath, item.name))
    .sort((a, b) => numberOf(a) - numberOf(b));
  const firstLog = logs.length > 0 ? Math.min(...logs) : numberOf(files.at(-1) ?? '0') + 1;
  const segments: SegmentEntry[] = [];
  let seq = 0;
  for (const path of files) {
    if (numberOf(path) >= firstLog) continue;
    try {
      const { entry, next } = await describe(path, folder, reference, db);
      segments.push(entry);
      seq = Math.max(seq, next);
    } catch (error) {
      report.count('corrupt_total');
      report.log(
        'error',
        { code: 'corrupt', file: path, err: messageOf(error) },
        'segment cannot be read back and is left out of all answers; it is kept beside as *.corrupt',
      );
      renameSync(path, `${path}.corrupt`);
    }
  }
  return {
    ...EMPTY_MANIFEST,
    wal: Math.max(1, firstLog),
    seq,
    // Longer than the file is: all of it counts.
    dictionary: { number: dictionariesIn(folder).at(-1) ?? 1, bytes: Number.MAX_SAFE_INTEGER },
    segments,
  };
}

async function describe(
  path: string,
  folder: string,
  reference: string | undefined,
  db: Database,
): Promise<{ readonly entry: SegmentEntry; readonly next: number }> {
  const unplaced = reference === 'stream' ? 'count(*) - count(p0)' : '1';
  const from = `FROM read_parquet(${quote(escapeGlob(path))})`;
  const [summary, references] = await Promise.all([
    one(db, `SELECT min(ts), max(ts), count(*), max(seq), ${unplaced} ${from}`),
    reference === undefined ? undefined : one(db, `SELECT DISTINCT ${reference} ${from}`),
  ]);
  const number = (column: number): number => Number(summary.bigints(column)[0] ?? 0);
  const entry = {
    file: relative(folder, path),
    min: summary.bigints(0)[0] ?? 0n,
    max: summary.bigints(1)[0] ?? 0n,
    rows: number(2),
    bytes: sizeOf(path),
    crc: checksumOf(path),
    streams: [...(references?.numbers(0) ?? [])].sort((a, b) => a - b),
    ids: reference !== 'series' && number(4) > 0,
    sealed: 0,
  };
  return { entry, next: number(3) + 1 };
}

/** The highest position of each stream. */
export async function marksOf(
  folder: string,
  segments: readonly SegmentEntry[],
  db: Database,
): Promise<Map<number, readonly [number, number]>> {
  const marks = new Map<number, readonly [number, number]>();
  if (segments.length === 0) return marks;
  const files = segments.map(({ file }) => quote(escapeGlob(join(folder, file)))).join(', ');
  const found = await one(
    db,
    `SELECT stream, max(p0), max_by(coalesce(p1, 0), {a: p0, b: coalesce(p1, 0)}) FROM read_parquet([${files}]) WHERE p0 IS NOT NULL GROUP BY stream`,
  );
  for (const [index, stream] of found.numbers(0).entries()) {
    marks.set(stream, [
      Number(found.bigints(1)[index] ?? 0n),
      Number(found.bigints(2)[index] ?? 0n),
    ]);
  }
  return marks;
}

async function one(db: Database, sql: string): Promise<Columns> {
  const columns = new Columns([]);
  await db.each(sql, [], new AbortController().signal, (part) => columns.append(new Columns(part)));
  return columns;
}

const numberOf = (path: string): number => Number.parseInt(basename(path), 10);
