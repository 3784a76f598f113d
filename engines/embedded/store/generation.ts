import {
  BIGINT,
  DOUBLE,
  type DuckDBConnection,
  DuckDBDataChunk,
  INTEGER,
  VARCHAR,
} from '@duckdb/node-api';
import ddb from '@duckdb/node-bindings';
import { CHUNK, type Rows, writeCounter } from './columns.ts';
import { Gate } from './gate.ts';
import type { Mark } from './logs.ts';
import type { SegmentEntry } from './manifest.ts';
import type { Column, Sifted } from './table.ts';
import type { Wal } from './wal.ts';

const TYPES = { BIGINT, INTEGER, DOUBLE, VARCHAR } as const;
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
  /**
   * A scan that meets an append of the same table answers wrong rows, so that none may: those of
   * other columns, or beyond the query's bounds. https://github.com/duckdb/duckdb/issues/19570
   */
  readonly #gate = new Gate();
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
    if (sifted.rows.count > 0) await this.#gate.write(() => this.#insert(sifted, seq));
  }

  /** Runs a query of its table. */
  read<T>(query: () => Promise<T>): Promise<T> {
    // Nothing is appended any more once it is frozen.
    return this.frozen === undefined ? this.#gate.read(query) : query();
  }

  async #insert({ rows, ids, references }: Sifted, seq: number): Promise<void> {
    const whole = rows.count <= FLUSH;
    if (!whole) await this.#connection.run('BEGIN');
    try {
      await this.#append(rows, seq);
      if (!whole) await this.#connection.run('COMMIT');
    } catch (error) {
      rows.clear();
      if (!whole) await this.#connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
    // From here on nothing else runs until all of it is said.
    const { min, max } = rows.times.range();
    if (this.rows === 0 || min < this.min) this.min = min;
    if (this.rows === 0 || max > this.max) this.max = max;
    this.rows += rows.count;
    rows.clear();
    for (const id of ids) this.ids.add(id);
    for (const reference of references) this.references.add(reference);
  }

  async #append(rows: Rows, seq: number): Promise<void> {
    const appender = await this.#connection.createAppender(this.table);
    try {
      for (const column of rows.columns) column.begin?.();
      const chunk = DuckDBDataChunk.create([
        BIGINT,
        BIGINT,
        ...this.#columns.map(({ type }) => TYPES[type]),
      ]);
      for (let from = 0; from < rows.count; from += CHUNK) {
        const to = Math.min(from + CHUNK, rows.count);
        chunk.reset();
        chunk.rowCount = to - from;
        const vector = (index: number) => ddb.data_chunk_get_vector(chunk.chunk, index);
        rows.times.write(vector(0), from, to);
        writeCounter(vector(1), seq + from, to - from);
        for (const [index, column] of rows.columns.entries()) {
          column.write(vector(index + 2), from, to);
        }
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } catch (error) {
      // Closing would append what it has so far.
      appender.clear();
      throw error;
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
