import { type DuckDBConnection, DuckDBDataChunk } from '@duckdb/node-api';
import type { Mark } from './logs.ts';
import type { SegmentEntry } from './manifest.ts';
import { type Cell, type Column, DUCKDB_TYPES, type Sifted } from './table.ts';
import type { Wal } from './wal.ts';

/** DuckDB's vector size. */
const CHUNK = 2048;
/** An appender flushes by itself beyond this, and then no longer all or nothing. */
const FLUSH = 200_000;

/** What the manifest says once a generation is a segment. */
export interface Frozen {
  readonly seq: number;
  readonly marks: readonly Mark[];
  readonly commits: readonly (readonly [string, string, number, number])[];
  /** When; milliseconds. */
  readonly at: number;
}

/** Rows that are in memory and in one log, and in no segment yet. */
export class Generation {
  readonly number: number;
  readonly wal: Wal;
  readonly table: string;
  /** Wall clock, milliseconds; 0 until somebody knows. */
  created: number;
  readonly ids = new Set<string>();
  readonly references = new Set<number>();
  /** Bytes of the messages that it holds. */
  bytes = 0;
  rows = 0;
  min = 0n;
  max = 0n;
  frozen: Frozen | undefined;
  /** Of a segment that was written, and is not in the manifest yet. */
  segment: SegmentEntry | undefined;
  readonly #columns: readonly Column[];
  readonly #connection: DuckDBConnection;
  readonly #drop: (table: string) => Promise<void>;
  #readers = 0;
  #retired = false;

  private constructor(
    number: number,
    wal: Wal,
    topic: string,
    created: number,
    columns: readonly Column[],
    connection: DuckDBConnection,
    drop: (table: string) => Promise<void>,
  ) {
    this.number = number;
    this.wal = wal;
    this.table = `${topic}_${number}`;
    this.created = created;
    this.#columns = columns;
    this.#connection = connection;
    this.#drop = drop;
  }

  static async create(
    number: number,
    wal: Wal,
    topic: string,
    created: number,
    columns: readonly Column[],
    connection: DuckDBConnection,
    drop: (table: string) => Promise<void>,
  ): Promise<Generation> {
    const generation = new Generation(number, wal, topic, created, columns, connection, drop);
    const rest = columns.map(({ name, type }) => `, ${name} ${type}`).join('');
    await connection.run(`CREATE TABLE ${generation.table} (ts BIGINT, seq BIGINT${rest})`);
    return generation;
  }

  /** All of the rows or none. Visible to queries when it resolves. */
  async insert(sifted: Sifted, seq: number): Promise<void> {
    const { times, cells, ids, references } = sifted;
    const rows = times.length;
    if (rows === 0) return;
    const whole = rows <= FLUSH;
    if (!whole) await this.#connection.run('BEGIN');
    try {
      await this.#append(times, cells, seq);
      if (!whole) await this.#connection.run('COMMIT');
    } catch (error) {
      if (!whole) await this.#connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
    let min = this.rows === 0 ? (times[0] ?? 0n) : this.min;
    let max = this.rows === 0 ? min : this.max;
    for (const time of times) {
      if (time < min) min = time;
      if (time > max) max = time;
    }
    this.min = min;
    this.max = max;
    this.rows += rows;
    for (const id of ids) this.ids.add(id);
    for (const reference of references) this.references.add(reference);
  }

  // Columns of chunks: 750k rows a second; value by value it is a third of that.
  async #append(times: bigint[], cells: readonly Cell[][], seq: number): Promise<void> {
    const types = [
      DUCKDB_TYPES.BIGINT,
      DUCKDB_TYPES.BIGINT,
      ...this.#columns.map(({ type }) => DUCKDB_TYPES[type]),
    ];
    const appender = await this.#connection.createAppender(this.table);
    try {
      for (let from = 0; from < times.length; from += CHUNK) {
        const to = Math.min(from + CHUNK, times.length);
        const chunk = DuckDBDataChunk.create(types, to - from);
        const numbers = Array.from({ length: to - from }, (_, index) => BigInt(seq + from + index));
        chunk.setColumns([
          times.slice(from, to),
          numbers,
          ...cells.map((column) => column.slice(from, to)),
        ]);
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  overlaps(from: bigint, to: bigint): boolean {
    return this.rows > 0 && this.min < to && this.max >= from;
  }

  pin(): void {
    this.#readers++;
  }

  unpin(): Promise<void> {
    this.#readers--;
    return this.#dropIfUnused();
  }

  /** Its rows are in a segment that counts. */
  retire(): Promise<void> {
    this.#retired = true;
    return this.#dropIfUnused();
  }

  async #dropIfUnused(): Promise<void> {
    if (!this.#retired || this.#readers > 0) return;
    await this.#drop(this.table);
  }
}
