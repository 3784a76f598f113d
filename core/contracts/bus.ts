import type { Nanos } from '../time.ts';

/**
 * Bus: durable, ordered per key, replayable. A message's value is NDJSON of one or more records
 * (see core/records/codec.ts), so that one record alone, as other shippers write it, is a valid
 * message, and a batch costs one.
 */
export const TOPICS = ['logs', 'metrics', 'alerts', 'actions', 'dead-letters'] as const;
export type Topic = (typeof TOPICS)[number];

/**
 * Handed over: from the call on the bus shares the value with its subscribers, so that it must never
 * be changed again.
 */
export interface Outgoing {
  /** Records of one key keep their order: a container's, a series', an alert's. */
  readonly key: string;
  readonly value: Uint8Array;
  /** How many records the value holds; for metrics and limits. */
  readonly records: number;
}

export interface BusWriter {
  /**
   * Resolves when every message is durable, in the order given. Waits while the bus is full: this
   * is the back-pressure that reaches the sources. Calls may overlap; calls for the same key are
   * ordered by the order of the calls. A rejected call may have published some messages.
   *
   * @throws disk_full, unavailable (worth a retry), cancelled, limit_exceeded (a message is larger
   * than the bus takes; never retried)
   */
  publish(topic: Topic, messages: readonly Outgoing[], signal?: AbortSignal): Promise<void>;
}

/** Owned by the bus, shared between subscribers: read only. */
export interface Message {
  readonly key: string;
  readonly value: Uint8Array;
  readonly offset: number;
  /** When the bus took it, milliseconds since the epoch. */
  readonly timestamp: number;
}

/** Consecutive messages of one partition, never empty. */
export interface Delivery {
  readonly topic: Topic;
  readonly partition: number;
  readonly messages: readonly Message[];
  /** Offset after the newest message that the bus holds in this partition: the lag's other end. */
  readonly end: number;
  /** Fires when the partition is revoked or the subscription closes: give up, commit nothing. */
  readonly signal: AbortSignal;
  /** Call it between pieces of work that take seconds; keeps the group's session. */
  heartbeat(): Promise<void>;
}

/**
 * What a handler resolves to. Nothing: all of it is done and may be committed. `Resume`: what lies
 * before `from` is done; pause this partition, without holding a thread, and deliver again from
 * `from` when `when` settles.
 *
 * A handler that rejects is called again with the same messages after a growing pause; the other
 * partitions go on.
 */
export type Outcome = undefined | Resume;

export interface Resume {
  readonly from: number;
  readonly when: Promise<unknown>;
}

export type Handler = (delivery: Delivery) => Promise<Outcome>;

/** Where a group begins in a partition. */
export type Start =
  | 'committed' // the group's own commit; the earliest message if it has none
  | 'latest'
  | { readonly time: Nanos } // the first message that the bus took at or after then
  | { readonly offsets: (partition: number) => number | undefined }; // kept by the consumer; undefined: as 'committed'

export interface SubscribeOptions {
  readonly start?: Start;
  /** Nothing is committed and nothing remembered: for a live tail. `group` only names it. */
  readonly ephemeral?: boolean;
  /** Upper bounds of one delivery. */
  readonly maxMessages?: number;
  readonly maxBytes?: number;
}

export interface Subscription {
  /** Messages that the bus holds and the group has not finished, over the partitions held. */
  lag(): Promise<number>;
  /** Resolves when every message that was on the bus at the call's time has been handled. */
  caughtUp(signal?: AbortSignal): Promise<void>;
  /** Stops deliveries, waits for the handler under way, commits what is done. Idempotent. */
  close(): Promise<void>;
}

export interface BusReader {
  /**
   * One handler call at a time per partition, in order; different partitions may overlap. Offsets
   * are committed after the handler resolves, so that a crash delivers again what was under way:
   * consumers remove repeats. Members of one group share the partitions.
   */
  subscribe(
    topic: Topic,
    group: string,
    handler: Handler,
    options?: SubscribeOptions,
  ): Promise<Subscription>;
}

export interface Bus extends BusWriter, BusReader {
  /** Publishes in progress settle, subscriptions close. Idempotent. */
  close(): Promise<void>;
}
