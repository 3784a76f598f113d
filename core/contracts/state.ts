/**
 * State: small values that several processes share and that survive: silences, holds, checkpoints,
 * alert state, the ledger, leases. Keys are paths with `/`; values are JSON.
 */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Opaque; changes with every write of the key. */
export type Version = string;

export interface Entry<T = Json> {
  readonly key: string;
  readonly value: T;
  readonly version: Version;
}

export interface StateReader {
  get<T = Json>(key: string): Promise<Entry<T> | undefined>;
  /** Entries whose key begins with the prefix, by key. */
  list<T = Json>(prefix: string): Promise<Entry<T>[]>;
  /**
   * First the entries that are there, then every change, in order per key; a value that is
   * overwritten quickly may be skipped, the last one never. Ends when the signal fires.
   */
  watch<T = Json>(prefix: string, signal: AbortSignal): AsyncIterable<Change<T>>;
}

export type Change<T = Json> =
  | { readonly kind: 'put'; readonly entry: Entry<T> }
  | { readonly kind: 'delete'; readonly key: string };

export interface StateWriter {
  /** Create-only. @throws conflict when the key exists. */
  create(key: string, value: unknown): Promise<Version>;
  /** Compare-and-swap. @throws conflict when the key's version is another, or the key is gone. */
  replace(key: string, value: unknown, version: Version): Promise<Version>;
  /** Last writer wins; for values with a single owner. All of it or nothing. Durable. */
  put(entries: readonly { readonly key: string; readonly value: unknown }[]): Promise<void>;
  /** Without a version: whatever it is. Absent is fine. @throws conflict on another version. */
  delete(key: string, version?: Version): Promise<void>;
}

/**
 * Leadership. A lease is held until it is released, or not renewed for its time to live. Each new
 * holder gets a higher fence than every one before.
 */
export interface Lease {
  readonly name: string;
  readonly holder: string;
  /** Rises with each holder; written beside whatever the holder changes. */
  readonly fence: number;
  /** Fires when the lease is lost or its time ran out unrenewed, by the holder's own clock. */
  readonly signal: AbortSignal;
  /** The last look before an act: asks the engine, not the memory. */
  held(): Promise<boolean>;
  /** Gives it up at once; idempotent. */
  release(): Promise<void>;
}

export interface Leases {
  /** Renews itself while held. Resolves to undefined when somebody else holds it. */
  acquire(name: string, holder: string, ttl: number): Promise<Lease | undefined>;
}

export interface State extends StateReader, StateWriter, Leases {
  close(): Promise<void>;
}
