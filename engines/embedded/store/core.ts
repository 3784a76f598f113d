import { mkdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { StoredTopic } from '../../../core/contracts/store.ts';
import { isReflexarcError, ReflexarcError } from '../../../core/errors.ts';
import { Database } from './database.ts';
import { Dictionary } from './dictionary.ts';
import { DocumentTable } from './documents.ts';
import { Lane, manifestPath } from './lane.ts';
import { LogTable, type Mark } from './logs.ts';
import { EMPTY_MANIFEST, type Manifest, readManifest, writeManifest } from './manifest.ts';
import type { WorkerOptions } from './protocol.ts';
import { marksOf, rebuildManifest } from './rebuild.ts';
import type { Failpoint, Report } from './report.ts';
import { SampleTable } from './samples.ts';
import type { Segment } from './segment.ts';
import type { Decoded, Table } from './table.ts';

/** The four lanes over one DuckDB. Lives on the store's own thread. */
export class StoreCore {
  readonly lanes: Readonly<Record<StoredTopic, Lane<Decoded>>>;
  readonly #db: Database;
  readonly #logTable: LogTable;
  readonly #options: WorkerOptions;

  private constructor(
    lanes: Readonly<Record<StoredTopic, Lane<Decoded>>>,
    db: Database,
    logTable: LogTable,
    options: WorkerOptions,
  ) {
    this.lanes = lanes;
    this.#db = db;
    this.#logTable = logTable;
    this.#options = options;
  }

  static async open(
    options: WorkerOptions,
    report: Report,
    failpoint: Failpoint,
  ): Promise<StoreCore> {
    const temporary = join(options.folder, 'tmp');
    rmSync(temporary, { recursive: true, force: true });
    const db = await Database.open({
      memory: options.memory,
      threads: Math.min(4, availableParallelism()),
      concurrency: 2,
      temporary,
    });
    const lane = async <B extends Decoded>(
      topic: StoredTopic,
      make: (dictionary: Dictionary, manifest: Manifest, rebuilt: boolean) => Promise<Table<B>>,
      marks: () => readonly Mark[],
    ): Promise<Lane<Decoded>> => {
      const folder = join(options.folder, topic);
      mkdirSync(folder, { recursive: true });
      const reference = topic === 'logs' ? 'stream' : topic === 'metrics' ? 'series' : undefined;
      const { manifest, rebuilt } = await loadManifest(folder, reference, db, report);
      const dictionary = Dictionary.open(
        folder,
        manifest.dictionary.number,
        rebuilt ? undefined : manifest.dictionary.bytes,
        (path, line) => {
          report.count('corrupt_total');
          report.log(
            'error',
            { code: 'corrupt', file: path, line },
            'an entry of the dictionary of streams cannot be read; the rows of that stream are missing from answers',
          );
        },
      );
      const table = await make(dictionary, manifest, rebuilt);
      if (rebuilt) {
        writeManifest(manifestPath(folder), {
          ...manifest,
          dictionary: dictionary.state,
          marks: marks().map((m) => [m.source, m.generation, m.first, m.second, m.seen]),
        });
      }
      return await Lane.open({
        folder,
        table,
        dictionary: reference === undefined ? undefined : dictionary,
        manifest,
        db,
        tuning: options.tuning,
        report,
        failpoint,
        marks,
      });
    };
    let logTable: LogTable | undefined;
    const logs = await lane(
      'logs',
      async (dictionary, manifest, rebuilt) => {
        logTable = new LogTable(dictionary);
        for (const [source, generation, first, second, seen] of manifest.marks) {
          logTable.setMark({ source, generation, first, second, seen });
        }
        if (rebuilt) await restoreMarks(logTable, dictionary, manifest, options.folder, db);
        return logTable;
      },
      () => logTable?.marks() ?? [],
    );
    const metrics = await lane(
      'metrics',
      (dictionary) => Promise.resolve(new SampleTable(dictionary)),
      () => [],
    );
    const documents = (topic: 'alerts' | 'actions'): Promise<Lane<Decoded>> =>
      lane(
        topic,
        () => Promise.resolve(new DocumentTable(topic)),
        () => [],
      );
    const lanes = {
      logs,
      metrics,
      alerts: await documents('alerts'),
      actions: await documents('actions'),
    };
    if (logTable === undefined) throw new ReflexarcError('internal', 'no table of logs');
    return new StoreCore(lanes, db, logTable, options);
  }

  position(group: string, topic: string, partition: number): number | undefined {
    for (const lane of Object.values(this.lanes)) {
      const found = lane.position(group, topic, partition);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  stats(): { readonly bytes: number; readonly logs: number; readonly samples: number } {
    let bytes = 0;
    for (const lane of Object.values(this.lanes)) bytes += lane.stats.bytes;
    return { bytes, logs: this.lanes.logs.stats.rows, samples: this.lanes.metrics.stats.rows };
  }

  /** Whole segments: first those that are too old, then the oldest of all until the size fits. */
  async retain(now: number): Promise<number> {
    const { maxAge, maxSize } = this.#options;
    this.#logTable.expireMarks(now - maxAge);
    const lanes = Object.values(this.lanes);
    for (const lane of lanes) await lane.sealOld(now);
    const all = lanes.flatMap((lane) => lane.oldest().map((part) => ({ lane, ...part })));
    all.sort((a, b) => a.end - b.end);
    let { bytes } = this.stats();
    const removed = new Map<Lane<Decoded>, Set<Segment>>();
    for (const { lane, segment, end } of all) {
      if (end >= now - maxAge && bytes <= maxSize) break;
      bytes -= segment.entry.bytes;
      removed.set(lane, (removed.get(lane) ?? new Set()).add(segment));
    }
    let removedBytes = 0;
    for (const [lane, segments] of removed) removedBytes += await lane.remove(segments);
    return removedBytes;
  }

  async close(): Promise<void> {
    for (const lane of Object.values(this.lanes)) await lane.close();
    this.#db.close();
  }
}

async function loadManifest(
  folder: string,
  reference: 'stream' | 'series' | undefined,
  db: Database,
  report: Report,
): Promise<{ readonly manifest: Manifest; readonly rebuilt: boolean }> {
  try {
    const manifest = readManifest(manifestPath(folder));
    if (manifest !== undefined) return { manifest, rebuilt: false };
    // So that its absence later means damage, and not a new folder.
    writeManifest(manifestPath(folder), EMPTY_MANIFEST);
    return { manifest: EMPTY_MANIFEST, rebuilt: false };
  } catch (error) {
    if (!isReflexarcError(error, 'corrupt')) throw error;
    report.count('corrupt_total');
    report.log(
      'error',
      { code: error.code, file: error.where?.file, hint: error.hint },
      error.message,
    );
    return { manifest: await rebuildManifest(folder, reference, db, report), rebuilt: true };
  }
}

async function restoreMarks(
  table: LogTable,
  dictionary: Dictionary,
  manifest: Manifest,
  folder: string,
  db: Database,
): Promise<void> {
  const highest = new Map<string, Mark>();
  for (const [stream, [first, second]] of await marksOf(
    join(folder, 'logs'),
    manifest.segments,
    db,
  )) {
    const source = dictionary.get(stream)?.source;
    if (source === undefined) continue;
    const key = `${source.name}\u0000${source.generation}`;
    const known = highest.get(key);
    if (known !== undefined && (known.first - first || known.second - second) >= 0) continue;
    // Seen at a time unknown: it expires with the age of what is newest.
    const seen = Number(
      manifest.segments.reduce((max, { max: m }) => (m > max ? m : max), 0n) / 1_000_000n,
    );
    highest.set(key, { source: source.name, generation: source.generation, first, second, seen });
  }
  for (const mark of highest.values()) table.setMark(mark);
}
