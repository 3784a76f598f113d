import { setImmediate as nextTurn } from 'node:timers/promises';
import { isReflexarcError } from '../../../core/errors.ts';
import { formatRfc3339 } from '../../../core/time.ts';
import {
  Columns,
  type Database,
  escapeGlob,
  type Parameter,
  queryError,
  quote,
} from './database.ts';
import type { Generation } from './generation.ts';
import type { Report } from './report.ts';
import type { Segment } from './segment.ts';

/**
 * The rows of one lane as they are at one moment: a list of segments and of tables in memory. A
 * row is in exactly one of them, whatever is sealed or removed while a query runs.
 */
export class View {
  readonly segments: Segment[];
  readonly generations: readonly Generation[];
  readonly #seq: number;
  readonly #db: Database;
  readonly #report: Report;
  #open = true;

  constructor(
    segments: readonly Segment[],
    generations: readonly Generation[],
    seq: number,
    db: Database,
    report: Report,
  ) {
    this.segments = [...segments];
    this.generations = [...generations];
    this.#seq = seq;
    this.#db = db;
    this.#report = report;
    for (const segment of this.segments) segment.pin();
    for (const generation of this.generations) generation.pin();
    this.#pinned = [...segments];
  }

  readonly #pinned: readonly Segment[];

  release(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const segment of this.#pinned) segment.unpin();
    for (const generation of this.generations) {
      generation.unpin().catch((error: unknown) => {
        this.#report.log('error', { err: String(error) }, 'cannot drop a table in memory');
      });
    }
  }

  /** Takes lost segments out, and says that the answer lacks them. */
  async verify(): Promise<void> {
    for (const segment of this.segments) {
      const before = segment.lost;
      segment.verify(this.#report);
      if (!before && !segment.lost) await nextTurn();
    }
    this.#dropLost();
  }

  #dropLost(): void {
    for (const segment of this.segments.filter(({ lost }) => lost)) {
      this.segments.splice(this.segments.indexOf(segment), 1);
      this.#report.count('incomplete_queries_total');
      this.#report.log(
        'warn',
        {
          code: 'corrupt',
          file: segment.path,
          from: formatRfc3339(segment.entry.min),
          to: formatRfc3339(segment.entry.max),
        },
        'an answer lacks the rows of a segment that cannot be read back',
      );
    }
  }

  /**
   * `SELECT columns FROM … WHERE predicate` over what overlaps `[from, to)`; undefined when nothing
   * does.
   */
  sql(columns: string, predicate: string, from: bigint, to: bigint): string | undefined {
    const parts: string[] = [];
    const bounds = `ts >= ${from} AND ts < ${to} AND ${predicate}`;
    const files = this.segments.filter((segment) => segment.overlaps(from, to));
    if (files.length > 0) {
      const list = files.map(({ path }) => quote(escapeGlob(path))).join(', ');
      parts.push(`SELECT ${columns} FROM read_parquet([${list}]) WHERE ${bounds}`);
    }
    for (const generation of this.generations) {
      if (!generation.overlaps(from, to)) continue;
      parts.push(
        `SELECT ${columns} FROM ${generation.table} WHERE ${bounds} AND seq < ${this.#seq}`,
      );
    }
    return parts.length === 0 ? undefined : parts.join('\nUNION ALL\n');
  }

  /**
   * Runs what `build` makes. When a segment turns out to be unreadable, again without it.
   * `onChunk` may therefore see rows twice, after `onStart`.
   */
  async each(
    build: () => string | undefined,
    values: readonly Parameter[],
    signal: AbortSignal,
    onStart: () => void,
    onChunk: (columns: Columns) => void,
  ): Promise<void> {
    for (;;) {
      const sql = build();
      onStart();
      if (sql === undefined) return;
      try {
        let query = (): Promise<void> =>
          this.#db.each(sql, values, signal, (part) => onChunk(new Columns(part)));
        for (const generation of this.generations) {
          const inner = query;
          query = () => generation.read(inner);
        }
        await query();
        return;
      } catch (error) {
        if (isReflexarcError(error, 'cancelled')) throw error;
        const before = this.segments.length;
        for (const segment of this.segments) segment.verify(this.#report, true);
        this.#dropLost();
        if (this.segments.length === before) throw queryError(error);
      }
    }
  }

  /** As `each`, all at once. */
  async read(
    build: () => string | undefined,
    values: readonly Parameter[],
    signal: AbortSignal,
  ): Promise<Columns> {
    let columns = new Columns([]);
    await this.each(
      build,
      values,
      signal,
      () => {
        columns = new Columns([]);
      },
      (part) => columns.append(part),
    );
    return columns;
  }
}
