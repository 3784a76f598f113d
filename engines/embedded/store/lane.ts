import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type DuckDBConnection, INTEGER, LIST, listValue, VARCHAR } from '@duckdb/node-api';
import type { AppendResult } from '../../../core/contracts/store.ts';
import { messageOf, ReflexarcError } from '../../../core/errors.ts';
import { formatRfc3339 } from '../../../core/time.ts';
import { type Database, escapeGlob, quote } from './database.ts';
import type { Dictionary } from './dictionary.ts';
import { checksumOf, removeFile, sizeOf, syncFile, syncFolder, writeError } from './files.ts';
import { type Call, decodeCall, encodeCall, valuesOf } from './frame.ts';
import { type Frozen, Generation } from './generation.ts';
import type { Mark } from './logs.ts';
import { type Manifest, type SegmentEntry, writeManifest } from './manifest.ts';
import type { Failpoint, Report } from './report.ts';
import { sampleKey } from './samples.ts';
import { Segment } from './segment.ts';
import type { Decoded, Table } from './table.ts';
import { View } from './view.ts';
import { Wal } from './wal.ts';

/** Sizes that tests make small. */
export interface Tuning {
  /** Rows of a segment: more make the newest lines slow, fewer make many files. */
  readonly sealRows: number;
  /** Bytes of messages of a segment, for long lines. */
  readonly sealBytes: number;
  /** Milliseconds after which a quiet lane's rows are sealed too, so that age can remove them. */
  readonly sealAge: number;
  /** Bytes that are written and synced together. */
  readonly groupBytes: number;
}

export interface LaneOptions<B extends Decoded> {
  readonly folder: string;
  readonly table: Table<B>;
  /** Undefined for documents, which refer to nothing. */
  readonly dictionary: Dictionary | undefined;
  readonly manifest: Manifest;
  readonly db: Database;
  readonly tuning: Tuning;
  readonly report: Report;
  readonly failpoint: Failpoint;
  /** Marks of sources as they stand, for the manifest. */
  readonly marks: () => readonly Mark[];
}

interface Waiting extends Call {
  resolve(result: AppendResult): void;
  reject(error: unknown): void;
}

export const manifestPath = (folder: string): string => join(folder, 'manifest.json');
export const walName = (number: number): string => `wal-${String(number).padStart(9, '0')}.log`;
const SEGMENTS = 'segments';

/**
 * One topic's rows: a log on disk and tables in memory for the newest, segments for the rest.
 *
 * An append is written to the log and synced, then its rows go to memory. When the table in memory
 * is full it freezes, another takes over, and it is written as a segment. It counts as a segment
 * from the moment the manifest names it; that same moment ends its log. Until then the log is what
 * counts, and a segment without a manifest is removed at the next start.
 */
export class Lane<B extends Decoded> {
  readonly dictionary: Dictionary | undefined;
  readonly #options: LaneOptions<B>;
  readonly #writer: DuckDBConnection;
  readonly #sealer: DuckDBConnection;
  /** A connection does one thing at a time: what drops tables has its own. */
  readonly #dropper: DuckDBConnection;
  #dropping: Promise<unknown> = Promise.resolve();
  #segments: Segment[];
  /** Oldest first; the last one takes the appends. */
  #generations: Generation[] = [];
  #frozen: Frozen;
  #firstWal: number;
  #seq: number;
  #newest: bigint | undefined;
  readonly #commits = new Map<string, readonly [string, string, number, number]>();
  #queue: Waiting[] = [];
  #pumping: Promise<void> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #sealing: Promise<void> | undefined;
  #sealError: ReflexarcError | undefined;
  #closed = false;

  private constructor(
    options: LaneOptions<B>,
    writer: DuckDBConnection,
    sealer: DuckDBConnection,
    dropper: DuckDBConnection,
  ) {
    const { manifest } = options;
    this.#options = options;
    this.dictionary = options.dictionary;
    this.#writer = writer;
    this.#sealer = sealer;
    this.#dropper = dropper;
    this.#segments = manifest.segments.map((entry) => new Segment(options.folder, entry));
    this.#frozen = { seq: manifest.seq, marks: options.marks(), commits: manifest.commits, at: 0 };
    this.#firstWal = manifest.wal;
    this.#seq = manifest.seq;
    for (const commit of manifest.commits) this.#commits.set(commitKey(commit), commit);
    for (const { max } of manifest.segments) this.#see(max);
  }

  /** Removes what counts for nothing and reads the logs back. */
  static async open<B extends Decoded>(options: LaneOptions<B>): Promise<Lane<B>> {
    const writer = await options.db.connect();
    const sealer = await options.db.connect();
    const lane = new Lane(options, writer, sealer, await options.db.connect());
    lane.#removeOrphans();
    await lane.#replay();
    return lane;
  }

  #removeOrphans(): void {
    const { folder, report } = this.#options;
    const kept = new Set(this.#segments.map(({ path }) => path));
    const root = join(folder, SEGMENTS);
    mkdirSync(root, { recursive: true });
    for (const item of readdirSync(root, { recursive: true, withFileTypes: true })) {
      const path = join(item.parentPath, item.name);
      if (!item.isFile() || !path.endsWith('.parquet') || kept.has(path)) continue;
      removeFile(path);
      report.log('info', { file: path }, 'removed a segment that a crash left unfinished');
    }
    for (const segment of this.#segments) {
      // The size costs nothing to look at; the rest is read when somebody asks for it.
      if (sizeOf(segment.path) !== segment.entry.bytes) segment.verify(report);
    }
  }

  async #replay(): Promise<void> {
    const { folder, report } = this.#options;
    const numbers: number[] = [];
    for (const name of readdirSync(folder)) {
      const found = /^wal-(\d+)\.log$/.exec(name);
      if (found === null) continue;
      const number = Number(found[1]);
      if (number < this.#firstWal) removeFile(join(folder, name));
      else numbers.push(number);
    }
    numbers.sort((a, b) => a - b);
    for (const number of numbers) {
      const path = join(folder, walName(number));
      // Rows need a table before the log is read, and the table's owner holds the log.
      const pending: Call[] = [];
      let damaged = false;
      const wal = await Wal.recover(
        path,
        async (frame) => {
          pending.push(decodeCall(frame));
          await nextTurn();
        },
        ({ offset, bytes }) => {
          damaged = true;
          report.count('corrupt_total');
          report.log(
            'error',
            { code: 'corrupt', file: path, offset, bytes },
            'a part of the log cannot be read back; what it held is lost unless the bus still has it. The file is kept beside as *.corrupt once its other rows are sealed',
          );
        },
      );
      const now = pending[0]?.now ?? 0;
      await this.#begin(number, wal, now);
      if (damaged) this.#damaged.add(number);
      for (const call of pending) await this.#apply([call], [this.#decode(call)]);
    }
    if (numbers.length === 0) {
      await this.#begin(this.#firstWal, Wal.create(join(folder, walName(this.#firstWal))), 0);
    }
    this.#sealNext();
  }

  readonly #damaged = new Set<number>();

  /** Another table takes the appends; what was before is sealed. */
  async #begin(number: number, wal: Wal, now: number): Promise<void> {
    const { table } = this.#options;
    const generation = await Generation.create(
      number,
      wal,
      table.topic,
      now,
      table.columns,
      this.#writer,
      (name) => this.#drop(name),
    );
    const last = this.#generations.at(-1);
    if (last !== undefined) {
      last.frozen = {
        seq: this.#seq,
        marks: this.#options.marks(),
        commits: [...this.#commits.values()],
        at: now,
      };
    }
    this.#generations.push(generation);
  }

  /** @throws disk_full, unavailable */
  append(call: Call): Promise<AppendResult> {
    if (this.#closed) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...call, resolve, reject });
      this.#pumping ??= this.#pump();
    });
  }

  /** Whatever waits is written together: one call when it is quiet, many under load. */
  async #pump(): Promise<void> {
    while (this.#queue.length > 0) {
      const group: Waiting[] = [];
      try {
        await this.#inTurn(async () => {
          let bytes = 0;
          while (this.#queue.length > 0 && bytes < this.#options.tuning.groupBytes) {
            const call = this.#queue.shift();
            if (call === undefined) break;
            group.push(call);
            bytes += call.bytes.length;
          }
          await this.#store(group);
        });
      } catch (error) {
        for (const call of group) call.reject(error);
      }
    }
    // In the same turn as the last look at the queue, so that no call is left behind.
    this.#pumping = undefined;
  }

  async #store(group: readonly Waiting[]): Promise<void> {
    await this.#makeRoom(group[0]?.now ?? 0);
    const { wal } = this.#active;
    const durable = wal.append(group.map(encodeCall)).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    // Decoded while the disk works.
    const batches: B[] = [];
    for (const call of group) {
      batches.push(this.#decode(call));
      await nextTurn();
    }
    const failed = await durable;
    if (failed !== undefined) throw failed.error;
    const results = await this.#apply(group, batches);
    for (const [index, call] of group.entries()) {
      const result = results[index];
      if (result !== undefined) call.resolve(result);
    }
  }

  #decode(call: Call): B {
    return this.#options.table.decode(valuesOf(call));
  }

  async #apply(calls: readonly Call[], batches: readonly B[]): Promise<AppendResult[]> {
    const now = calls[0]?.now ?? 0;
    const sifted = await this.#options.table.sift(batches, now, this);
    const stored = sifted.rows.count;
    try {
      await this.#active.insert(sifted, this.#seq);
    } catch (cause) {
      sifted.undo();
      throw new ReflexarcError('unavailable', `cannot take rows: ${messageOf(cause)}`, {
        cause,
        hint: 'if memory is short, raise `store.memory`',
      });
    }
    this.#seq += stored;
    this.#see(this.#active.rows > 0 ? this.#active.max : undefined);
    for (const { commit, bytes } of calls) {
      this.#active.bytes += bytes.length;
      if (commit === undefined) continue;
      const { group, topic, partition, next } = commit;
      this.#commits.set(commitKey([group, topic, partition]), [group, topic, partition, next]);
    }
    return batches.map(({ bad }, index) => ({
      stored: sifted.counts[index]?.stored ?? 0,
      repeated: sifted.counts[index]?.repeated ?? 0,
      // A view of its buffer would take the whole of it along to the other thread.
      rejected: bad.map((row) => ({ ...row, original: new Uint8Array(row.original) })),
    }));
  }

  async #drop(table: string): Promise<void> {
    const mine = this.#dropping.then(() => this.#dropper.run(`DROP TABLE IF EXISTS ${table}`));
    this.#dropping = mine.catch(() => undefined);
    await mine;
  }

  #see(time: bigint | undefined): void {
    if (time !== undefined && (this.#newest === undefined || time > this.#newest)) {
      this.#newest = time;
    }
  }

  get #active(): Generation {
    const active = this.#generations.at(-1);
    if (active === undefined) throw closed();
    return active;
  }

  async #makeRoom(now: number): Promise<void> {
    const { sealRows, sealBytes } = this.#options.tuning;
    const active = this.#active;
    const full = active.rows >= sealRows || active.bytes >= sealBytes;
    if (!full && !active.wal.poisoned) return;
    // One table fills while another is written; a third would be unbounded memory.
    if (this.#generations.length > 1) {
      this.#sealNext();
      await this.#sealing;
      if (this.#generations.length > 1) throw this.#sealError ?? closed();
    }
    await this.#freeze(now);
  }

  async #freeze(now: number): Promise<void> {
    const number = this.#active.number + 1;
    const path = join(this.#options.folder, walName(number));
    let wal: Wal;
    try {
      wal = Wal.create(path);
    } catch (error) {
      throw writeError(error, path);
    }
    await this.#begin(number, wal, now);
    this.#options.failpoint('frozen');
    this.#sealNext();
  }

  #sealNext(): void {
    if (this.#closed || this.#sealing !== undefined) return;
    const oldest = this.#generations[0];
    if (oldest?.frozen === undefined) return;
    this.#sealing = this.#seal(oldest, oldest.frozen)
      .then(
        () => {
          this.#sealError = undefined;
          return true;
        },
        (error: unknown) => {
          this.#sealError = writeError(error, this.#options.folder);
          this.#options.report.count('seal_errors_total');
          this.#options.report.log(
            'error',
            { code: this.#sealError.code, folder: this.#options.folder, err: messageOf(error) },
            'cannot write a segment; its rows are safe in the log, and it is tried again',
          );
          return false;
        },
      )
      .then((sealed) => {
        this.#sealing = undefined;
        if (sealed) this.#sealNext();
      });
  }

  async #seal(generation: Generation, frozen: Frozen): Promise<void> {
    const { folder, report, failpoint } = this.#options;
    if (generation.rows > 0) {
      generation.segment ??= await this.#writeSegment(generation, frozen.at);
      await this.dictionary?.persist();
      failpoint('dictionary-written');
    }
    // From here to the end nothing else runs on this thread: a query sees before or after.
    const entry = generation.segment;
    const added = entry === undefined ? [] : [new Segment(folder, entry)];
    const segments = [...this.#segments, ...added];
    this.#writeManifest(segments, frozen, generation.number + 1);
    this.#segments = segments;
    this.#frozen = frozen;
    this.#firstWal = generation.number + 1;
    this.#generations.shift();
    failpoint('manifest-written');
    if (this.#damaged.delete(generation.number)) {
      generation.wal.close();
      renameSync(generation.wal.path, `${generation.wal.path}.corrupt`);
    } else {
      generation.wal.remove();
    }
    failpoint('log-removed');
    report.count('segments_sealed_total', added.length);
    await generation.retire();
  }

  async #writeSegment(generation: Generation, sealed: number): Promise<SegmentEntry> {
    const { folder, table, failpoint } = this.#options;
    const hour = formatRfc3339(generation.min).slice(0, 13);
    const path = join(
      folder,
      SEGMENTS,
      hour,
      `${String(generation.number).padStart(9, '0')}.parquet`,
    );
    if (mkdirSync(dirname(path), { recursive: true }) !== undefined) {
      syncFolder(join(folder, SEGMENTS));
    }
    failpoint('segment-writing');
    // Level 2 makes logs as small as the default, 3, for three quarters of its work.
    await this.#sealer.run(
      `COPY (SELECT * FROM ${generation.table} ORDER BY ${table.order}) TO ${quote(path)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 2, ROW_GROUP_SIZE 20480)`,
    );
    syncFile(path);
    syncFolder(dirname(path));
    failpoint('segment-written');
    return {
      file: relative(folder, path),
      min: generation.min,
      max: generation.max,
      rows: generation.rows,
      bytes: sizeOf(path),
      crc: checksumOf(path),
      streams: [...generation.references].sort((a, b) => a - b),
      ids: generation.ids.size > 0,
      sealed,
    };
  }

  #writeManifest(segments: readonly Segment[], frozen: Frozen, wal: number): void {
    writeManifest(manifestPath(this.#options.folder), {
      version: 1,
      wal,
      seq: frozen.seq,
      dictionary: this.dictionary?.state ?? { number: 1, bytes: 0 },
      segments: segments.map(({ entry }) => entry),
      marks: frozen.marks.map((mark) => [
        mark.source,
        mark.generation,
        mark.first,
        mark.second,
        mark.seen,
      ]),
      commits: frozen.commits.map((commit) => [...commit]),
    });
  }

  /** What a query reads: all rows that overlap `[from, to)`, of these streams where given. */
  async view(from: bigint, to: bigint, references?: ReadonlySet<number>): Promise<View> {
    const wanted = (part: { readonly references: ReadonlySet<number> }): boolean =>
      references === undefined || intersects(part.references, references);
    const view = new View(
      this.#segments.filter((segment) => segment.overlaps(from, to) && wanted(segment)),
      this.#generations.filter((part) => part.overlaps(from, to) && wanted(part)),
      this.#seq,
      this.#options.db,
      this.#options.report,
    );
    await view.verify();
    return view;
  }

  /** Newest time that any row may have. */
  newestTime(): bigint | undefined {
    return this.#newest;
  }

  /** Which of these ids are stored, each looked for at its time only. */
  async knownIds(candidates: ReadonlyMap<string, bigint>): Promise<ReadonlySet<string>> {
    const known = new Set<string>();
    const rest: string[] = [];
    let min: bigint | undefined;
    let max: bigint | undefined;
    for (const [id, time] of candidates) {
      if (this.#generations.some(({ ids }) => ids.has(id))) {
        known.add(id);
        continue;
      }
      rest.push(id);
      if (min === undefined || time < min) min = time;
      if (max === undefined || time > max) max = time;
    }
    if (min === undefined || max === undefined) return known;
    const from = min;
    const to = max;
    await this.#lookUp(
      this.#segments.filter(({ entry }) => entry.ids && entry.min <= to && entry.max >= from),
      (files) =>
        `SELECT id FROM read_parquet([${files}]) WHERE ts >= ${from} AND ts <= ${to} AND id IN (SELECT unnest($1))`,
      listValue(rest),
      (row) => known.add(row[0] as string),
    );
    return known;
  }

  async knownSamples(
    candidates: ReadonlyMap<number, ReadonlySet<bigint>>,
  ): Promise<ReadonlySet<string>> {
    const known = new Set<string>();
    if (candidates.size === 0) return known;
    let min = 1n << 63n;
    let max = -min;
    for (const times of candidates.values()) {
      for (const time of times) {
        if (time < min) min = time;
        if (time > max) max = time;
      }
    }
    const see = (row: readonly unknown[]): void => {
      if (candidates.get(row[0] as number)?.has(row[1] as bigint) === true) {
        known.add(sampleKey(row[0] as number, row[1] as bigint));
      }
    };
    const where = `ts >= ${min} AND ts <= ${max} AND series IN (SELECT unnest($1))`;
    const ids = listValue([...candidates.keys()]);
    const wanted = new Set(candidates.keys());
    // Both lists of one moment: while one is read, rows may be sealed into the other.
    const segments = this.#segments.filter(
      (segment) => segment.overlaps(min, max + 1n) && intersects(segment.references, wanted),
    );
    const generations = this.#generations.filter((part) => part.overlaps(min, max + 1n));
    for (const part of [...segments, ...generations]) part.pin();
    try {
      for (const { table } of generations) {
        const found = await this.#writer.runAndReadAll(
          `SELECT series, ts FROM ${table} WHERE ${where}`,
          [ids],
          [LIST(INTEGER)],
        );
        for (const row of found.getRows()) see(row);
      }
      await this.#lookUp(
        segments,
        (files) => `SELECT series, ts FROM read_parquet([${files}]) WHERE ${where}`,
        ids,
        see,
      );
    } finally {
      for (const part of segments) part.unpin();
      for (const part of generations) await part.unpin();
    }
    return known;
  }

  async #lookUp(
    candidates: readonly Segment[],
    sql: (files: string) => string,
    value: ReturnType<typeof listValue>,
    onRow: (row: readonly unknown[]) => void,
  ): Promise<void> {
    const { report } = this.#options;
    for (const segment of candidates) segment.verify(report);
    const segments = candidates.filter(({ lost }) => !lost);
    if (segments.length === 0) return;
    const type = typeof value.items[0] === 'number' ? LIST(INTEGER) : LIST(VARCHAR);
    for (const segment of segments) segment.pin();
    try {
      const files = segments.map(({ path }) => quote(escapeGlob(path))).join(', ');
      const found = await this.#writer.runAndReadAll(sql(files), [value], [type]);
      for (const row of found.getRows()) onRow(row);
    } catch (error) {
      for (const segment of segments) segment.verify(report, true);
      // Without the lost ones a repeat may be stored twice: better than to take nothing any more.
      if (!segments.some(({ lost }) => lost)) throw error;
      await this.#lookUp(segments, sql, value, onRow);
    } finally {
      for (const segment of segments) segment.unpin();
    }
  }

  position(group: string, topic: string, partition: number): number | undefined {
    return this.#commits.get(commitKey([group, topic, partition]))?.[3];
  }

  get stats(): { readonly bytes: number; readonly rows: number } {
    let bytes = this.dictionary?.state.bytes ?? 0;
    let rows = 0;
    for (const { entry } of this.#segments) {
      bytes += entry.bytes;
      rows += entry.rows;
    }
    for (const generation of this.#generations) {
      bytes += generation.wal.bytes;
      rows += generation.rows;
    }
    return { bytes, rows };
  }

  /** By when their rows ended; a row from the future does not outlive the others. */
  oldest(): { readonly segment: Segment; readonly end: number }[] {
    return this.#segments.map((segment) => ({ segment, end: endOf(segment.entry) }));
  }

  /** Seals what has been in memory for long, or tries again what failed. */
  async sealOld(now: number): Promise<void> {
    await this.#inTurn(async () => {
      this.#sealNext();
      const active = this.#active;
      if (active.created === 0) active.created = now;
      if (active.rows === 0 || now - active.created < this.#options.tuning.sealAge) return;
      if (this.#generations.length === 1) await this.#freeze(now);
    });
    await this.#sealing;
  }

  /** Removes these segments; a query that reads one goes on with it. @returns bytes */
  async remove(segments: ReadonlySet<Segment>): Promise<number> {
    if (segments.size === 0) return 0;
    return await this.#inTurn(async () => {
      while (this.#sealing !== undefined) await this.#sealing;
      const { failpoint, report } = this.#options;
      const kept = this.#segments.filter((segment) => !segments.has(segment));
      const gone = this.#segments.filter((segment) => segments.has(segment));
      const cleanUp = this.#compactDictionary(kept);
      this.#writeManifest(kept, this.#frozen, this.#firstWal);
      this.#segments = kept;
      failpoint('retain-manifest-written');
      for (const segment of gone) segment.retire();
      cleanUp();
      report.count('segments_removed_total', gone.length);
      return gone.reduce((sum, { entry }) => sum + entry.bytes, 0);
    });
  }

  /** Streams that no row refers to any more are forgotten, once they are the half of all. */
  #compactDictionary(kept: readonly Segment[]): () => void {
    const used = new Set<number>();
    for (const part of [...kept, ...this.#generations]) {
      for (const reference of part.references) used.add(reference);
    }
    const size = this.dictionary?.size ?? 0;
    if (size < 100 || used.size > size / 2) return () => undefined;
    this.#options.table.forget?.(used);
    return this.dictionary?.compact(used) ?? (() => undefined);
  }

  async #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = before.then(run, run);
    this.#turn = mine.catch(() => undefined);
    return await mine;
  }

  /** Finishes what was called; the rest stays in the log. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pumping;
    await this.#turn;
    await this.#sealing;
    for (const { wal } of this.#generations) wal.close();
    this.#writer.closeSync();
    this.#sealer.closeSync();
    await this.#dropping;
    this.#dropper.closeSync();
  }
}

const commitKey = ([group, topic, partition]: readonly [
  string,
  string,
  number,
  ...unknown[],
]): string => `${group}\u0000${topic}\u0000${partition}`;

const closed = (): ReflexarcError => new ReflexarcError('unavailable', 'the store is closed');

function endOf({ max, sealed }: SegmentEntry): number {
  const end = Number(max / 1_000_000n);
  return sealed > 0 ? Math.min(end, sealed) : end;
}

function intersects(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  for (const item of small) if (large.has(item)) return true;
  return false;
}
