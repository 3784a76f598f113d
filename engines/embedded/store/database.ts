import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBResult,
  type DuckDBValue,
} from '@duckdb/node-api';
import { messageOf, ReflexarcError } from '../../../core/errors.ts';

/** DuckDB, in memory: the newest rows, and the engine that reads segments. */

export interface DatabaseOptions {
  /** Bytes; beyond them it uses `temporary`. */
  readonly memory: number;
  readonly threads: number;
  /** Queries at a time; the others wait. Each holds one of the process's few I/O threads. */
  readonly concurrency: number;
  readonly temporary: string;
}

/** A value of a query's text that is not ours: bound, never written into the text. */
export type Parameter = DuckDBValue;

export class Database {
  readonly #instance: DuckDBInstance;
  readonly #idle: DuckDBConnection[];
  readonly #waiting: ((connection: DuckDBConnection) => void)[] = [];

  private constructor(instance: DuckDBInstance, idle: DuckDBConnection[]) {
    this.#instance = instance;
    this.#idle = idle;
  }

  static async open(options: DatabaseOptions): Promise<Database> {
    const instance = await DuckDBInstance.create(':memory:', {
      memory_limit: `${Math.max(64, Math.floor(options.memory / 1024 ** 2))}MiB`,
      threads: String(options.threads),
      temp_directory: options.temporary,
      // Nothing is loaded from the network, whatever a query would need.
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    const idle: DuckDBConnection[] = [];
    for (let i = 0; i < options.concurrency; i++) idle.push(await instance.connect());
    // Of an extension that only a connection has loaded.
    await idle[0]?.run('SET GLOBAL parquet_metadata_cache = true');
    return new Database(instance, idle);
  }

  /** A connection for a writer of its own. */
  connect(): Promise<DuckDBConnection> {
    return this.#instance.connect();
  }

  /**
   * Chunks of about two thousand rows, as columns.
   *
   * @throws cancelled as soon as the signal fires; the work is interrupted
   */
  async each(
    sql: string,
    values: readonly Parameter[],
    signal: AbortSignal,
    onChunk: (columns: unknown[][]) => void,
  ): Promise<void> {
    const connection = await this.#take(signal);
    const interrupt = (): void => connection.interrupt();
    signal.addEventListener('abort', interrupt);
    try {
      const result: DuckDBResult = await connection.stream(sql, [...values]);
      for (;;) {
        if (signal.aborted) throw cancelled(signal);
        const chunk = await result.fetchChunk();
        if (chunk === null || chunk.rowCount === 0) break;
        onChunk(chunk.getColumns());
      }
    } catch (error) {
      throw signal.aborted ? cancelled(signal, error) : error;
    } finally {
      signal.removeEventListener('abort', interrupt);
      this.#give(connection);
    }
  }

  #take(signal: AbortSignal): Promise<DuckDBConnection> {
    if (signal.aborted) return Promise.reject(cancelled(signal));
    const idle = this.#idle.pop();
    if (idle !== undefined) return Promise.resolve(idle);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(cancelled(signal));
      };
      const take = (connection: DuckDBConnection): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(connection);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(take);
    });
  }

  #give(connection: DuckDBConnection): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(connection);
    else next(connection);
  }

  close(): void {
    for (const connection of this.#idle) connection.closeSync();
    this.#instance.closeSync();
  }
}

/** A result by columns; each accessor states what the query made of the column. */
export class Columns {
  readonly #columns: unknown[][];

  constructor(columns: unknown[][]) {
    this.#columns = columns;
  }

  append(other: Columns): void {
    for (const [index, values] of other.#columns.entries()) {
      const column = this.#columns[index];
      if (column === undefined) this.#columns[index] = values;
      else for (const value of values) column.push(value);
    }
  }

  get rows(): number {
    return this.#columns[0]?.length ?? 0;
  }

  bigints(index: number): readonly bigint[] {
    return (this.#columns[index] ?? []) as bigint[];
  }

  numbers(index: number): readonly number[] {
    return (this.#columns[index] ?? []) as number[];
  }

  texts(index: number): readonly string[] {
    return (this.#columns[index] ?? []) as string[];
  }

  nullableTexts(index: number): readonly (string | null)[] {
    return (this.#columns[index] ?? []) as (string | null)[];
  }

  nullableBigints(index: number): readonly (bigint | null)[] {
    return (this.#columns[index] ?? []) as (bigint | null)[];
  }
}

const cancelled = (signal: AbortSignal, cause?: unknown): ReflexarcError =>
  new ReflexarcError('cancelled', 'the query was cancelled', { cause: cause ?? signal.reason });

/** What DuckDB's text means to whoever asked. */
export function queryError(error: unknown): ReflexarcError {
  if (error instanceof ReflexarcError) return error;
  const text = messageOf(error);
  if (/out of memory|memory limit|failed to allocate/i.test(text)) {
    return new ReflexarcError('limit_exceeded', 'the query needs more memory than the store has', {
      cause: error,
      hint: 'ask for a shorter range or fewer streams, or raise `store.memory`',
    });
  }
  if (/no space left|disk full/i.test(text)) {
    return new ReflexarcError('disk_full', 'no space left for what the query keeps on disk', {
      cause: error,
      hint: 'free space on the disk of the data folder',
    });
  }
  if (/regex|invalid perl operator|missing \)/i.test(text)) {
    return new ReflexarcError('bad_query', `invalid regular expression: ${text}`, {
      cause: error,
      hint: 'RE2 syntax is expected: https://github.com/google/re2/wiki/Syntax',
    });
  }
  return new ReflexarcError('internal', `a query failed: ${text}`, { cause: error });
}

/** Text as a part of a query. Paths only: what a user wrote is bound. */
export const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A path that DuckDB takes for itself and not for a pattern. */
export const escapeGlob = (path: string): string => path.replace(/[[*?]/g, '[$&]');
