import type { Labels, Matcher } from '../labels.ts';
import type { ActionRecord } from '../records/action.ts';
import type { AlertRecord } from '../records/alert.ts';
import type { Topic } from './bus.ts';
import type { MilliRange, NanoRange, Queryable } from './queryable.ts';

/** Store: what is remembered. Both engines answer every query alike. */

export type StoredTopic = Exclude<Topic, 'dead-letters'>;

/** How far a consumer of the bus has come; committed together with the rows it led to. */
export interface BusPosition {
  readonly group: string;
  readonly topic: Topic;
  readonly partition: number;
  /** The next offset to read. */
  readonly next: number;
}

export interface AppendResult {
  readonly stored: number;
  /** Repeats that were dropped: the same `event.id`, or a position already passed. */
  readonly repeated: number;
  /** Records that can never be stored, with their original bytes: dead letters. */
  readonly rejected: readonly Rejected[];
}

export interface Rejected {
  /** Index into `values`, and line within it. */
  readonly value: number;
  readonly line: number;
  readonly original: Uint8Array;
  readonly reason: string;
}

export interface StoreWriter {
  /**
   * Appends messages of one topic as they came from the bus (NDJSON). Idempotent by `event.id`
   * (logs, alerts, actions) or by series and time (samples). When it resolves, everything is
   * durable and every query sees it. A record that cannot be stored is in `rejected` and hinders no
   * other. Calls may overlap; calls that hold records of one source come in order.
   *
   * `commit` is written in the same step as the rows by engines that can (embedded); others keep
   * nothing of it, and the bus's own commit afterwards is enough, since repeats are dropped.
   *
   * @throws disk_full, unavailable: nothing of the call counts as stored; repeat it whole
   */
  append(
    topic: StoredTopic,
    values: readonly Uint8Array[],
    commit?: BusPosition,
  ): Promise<AppendResult>;
}

/** Which alerts or actions; all given must hold. Newest first. */
export interface HistorySelect extends MilliRange {
  readonly fingerprint?: string;
  readonly service?: string;
  /** Actions only. */
  readonly case?: string;
  readonly limit: number;
}

export interface StoreReader extends Queryable {
  /** Sorted. `matchers` are alternatives (Loki's and Prometheus' `match[]`), none: all. */
  labelNames(query: LabelSelect, signal: AbortSignal): Promise<readonly string[]>;
  labelValues(name: string, query: LabelSelect, signal: AbortSignal): Promise<readonly string[]>;
  /** Label sets that have a line or sample in the range. */
  series(query: LabelSelect, signal: AbortSignal): Promise<readonly Labels[]>;
  alerts(query: HistorySelect, signal: AbortSignal): Promise<readonly AlertRecord[]>;
  actions(query: HistorySelect, signal: AbortSignal): Promise<readonly ActionRecord[]>;
  /** What `commit` kept; undefined where the engine or the group has nothing. */
  position(group: string, topic: Topic, partition: number): Promise<number | undefined>;
  stats(): Promise<StoreStats>;
}

export interface LabelSelect {
  readonly of: 'logs' | 'metrics';
  /** For metrics rounded to milliseconds. */
  readonly range: NanoRange;
  readonly matchers: readonly (readonly Matcher[])[];
}

export interface StoreStats {
  readonly bytes: number;
  readonly logs: number;
  readonly samples: number;
}

export interface StoreKeeper {
  /** Removes what is older than the configured age, then the oldest above the size. */
  retain(): Promise<{ readonly removedBytes: number }>;
}

export interface Store extends StoreWriter, StoreReader, StoreKeeper {
  close(): Promise<void>;
}
