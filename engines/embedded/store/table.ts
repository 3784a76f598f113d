import type { StoredTopic } from '../../../core/contracts/store.ts';
import type { Rows } from './columns.ts';
import type { Lane } from './lane.ts';

/** What differs from topic to topic: how a row is read, told from a repeat, and laid out. */
export interface Table<Batch extends Decoded = Decoded> {
  readonly topic: StoredTopic;
  /** Every table begins with `ts` (nanoseconds) and `seq` (arrival); these follow. */
  readonly columns: readonly Column[];
  /** The order of a segment's rows. */
  readonly order: string;
  /** The column that refers to the dictionary. */
  readonly reference: 'stream' | 'series' | undefined;
  decode(values: readonly Uint8Array[]): Batch;
  /** Which rows are new. Calls never overlap. */
  sift(batches: readonly Batch[], now: number, lane: Lane<Batch>): Promise<Sifted>;
  /** The dictionary keeps only these. */
  forget?(used: ReadonlySet<number>): void;
}

export interface Column {
  readonly name: string;
  readonly type: 'BIGINT' | 'INTEGER' | 'DOUBLE' | 'VARCHAR';
}

export interface Decoded {
  readonly rows: number;
  readonly bad: readonly BadRow[];
}

export interface BadRow {
  readonly value: number;
  readonly line: number;
  readonly original: Uint8Array;
  readonly reason: string;
}

export interface Sifted {
  /** As `Table.columns`. Whoever inserts them leaves them empty. */
  readonly rows: Rows;
  /** Per batch. */
  readonly counts: readonly { readonly stored: number; readonly repeated: number }[];
  /** Ids of rows that are told apart by id. */
  readonly ids: readonly string[];
  /** Dictionary numbers. */
  readonly references: ReadonlySet<number>;
  /** The rows could not be stored: forget that they were seen. */
  undo(): void;
}

/** What nanoseconds in 64 bits can hold: the years 1678 to 2261. */
const LIMIT = 9_200_000_000_000_000_000n;
export const NO_TIME = 'its time is outside of the years 1678 to 2261';
export const fits = (nanos: bigint): boolean => nanos > -LIMIT && nanos < LIMIT;

/** A query's bound, cut to what a row can have. */
export const clampNanos = (nanos: bigint): bigint =>
  nanos > LIMIT ? LIMIT : nanos < -LIMIT ? -LIMIT : nanos;
