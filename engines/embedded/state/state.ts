import { crc32 } from 'node:zlib';
import type { Change, Entry, Json, Lease, State, Version } from '../../../core/contracts/state.ts';
import { isReflexarcError, messageOf, ReflexarcError } from '../../../core/errors.ts';
import type { Telemetry } from '../../../core/service.ts';
import type { Environment, Table } from '../environment.ts';
import { Leases } from './leases.ts';
import { type StateMetrics, stateMetrics } from './metrics.ts';
import { Watcher } from './watcher.ts';

const ENTRY_TABLE = 'entries';
const COUNTER_TABLE = 'counters';
export const STATE_TABLES: readonly string[] = [ENTRY_TABLE, COUNTER_TABLE];

const VERSION_COUNTER = 'version';
const FENCE_PREFIX = 'fence/';

/** lmdb takes keys of up to 1978 bytes. */
const MAX_KEY_BYTES = 1024;
const MAX_VALUE_BYTES = 16 * 1024 * 1024;

// One entry in the file: u32 CRC-32 of all that follows, f64 version, JSON.
const HEADER = 12;

interface Stored {
  readonly version: number;
  /** JSON; parsed for every reader, who may then do with it what he likes. */
  readonly json: string;
}

/** What the tables will hold after the commit; undefined: nothing. */
type Draft = Map<string, Stored | undefined>;

interface Write {
  /** Puts into the draft, or throws a conflict; returns what the caller gets after the commit. */
  run(draft: Draft): unknown;
  resolve(result: unknown): void;
  reject(error: ReflexarcError): void;
}

/**
 * State on lmdb. One process owns the folder, so that everything is decided here: writes come one
 * after the other, those that wait share a commit, and readers see what is durable. Versions are one
 * counter for all keys, so that a key that was deleted and made again never has an old one.
 */
export class EmbeddedState implements State {
  readonly #environment: Environment;
  readonly #entries: Table;
  readonly #counters: Table;
  readonly #metrics: StateMetrics;
  readonly #leases: Leases;
  readonly #watchers = new Set<Watcher>();
  #queue: Write[] = [];
  #fences: { readonly name: string; readonly fence: number }[] = [];
  #running: Promise<void> | undefined;
  #version: number;
  #closed = false;

  constructor(environment: Environment, telemetry: Telemetry) {
    this.#environment = environment;
    this.#entries = environment.table(ENTRY_TABLE);
    this.#counters = environment.table(COUNTER_TABLE);
    this.#metrics = stateMetrics(telemetry.metrics);
    this.#version = readCounter(this.#counters, VERSION_COUNTER);
    this.#leases = new Leases({
      telemetry,
      metrics: this.#metrics,
      nextFence: (name) => this.#nextFence(name),
    });
  }

  async get<T = Json>(key: string): Promise<Entry<T> | undefined> {
    this.#check(key);
    const stored = this.#read(key);
    return stored === undefined ? undefined : toEntry<T>(key, stored);
  }

  async list<T = Json>(prefix: string): Promise<Entry<T>[]> {
    this.#checkOpen();
    return [...this.#scan(prefix)].map(([key, stored]) => toEntry<T>(key, stored));
  }

  *#scan(prefix: string): Iterable<[string, Stored]> {
    for (const { key, value } of this.#entries.entries(prefix === '' ? undefined : prefix)) {
      if (typeof key !== 'string' || !key.startsWith(prefix)) return;
      yield [key, decode(key, value)];
    }
  }

  #read(key: string): Stored | undefined {
    const bytes = this.#entries.get(key);
    return bytes === undefined ? undefined : decode(key, bytes);
  }

  async *watch<T = Json>(prefix: string, signal: AbortSignal): AsyncIterable<Change<T>> {
    this.#checkOpen();
    const watcher = new Watcher(prefix, signal);
    this.#watchers.add(watcher);
    try {
      for (const [key, { json, version }] of this.#scan(prefix)) {
        watcher.push({ key, stored: { json, version } });
      }
      for await (const { key, stored } of watcher) {
        yield stored === undefined
          ? { kind: 'delete', key }
          : { kind: 'put', entry: toEntry<T>(key, stored) };
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  async create(key: string, value: unknown): Promise<Version> {
    this.#check(key);
    const json = toJson(key, value);
    return this.#write((draft) => {
      if (this.#current(draft, key) !== undefined) throw this.#conflict(key, 'it exists already');
      return this.#set(draft, key, json);
    });
  }

  async replace(key: string, value: unknown, version: Version): Promise<Version> {
    this.#check(key);
    const json = toJson(key, value);
    return this.#write((draft) => {
      this.#expect(draft, key, version);
      return this.#set(draft, key, json);
    });
  }

  async put(entries: readonly { readonly key: string; readonly value: unknown }[]): Promise<void> {
    const texts = entries.map(({ key, value }) => {
      this.#check(key);
      return { key, json: toJson(key, value) };
    });
    await this.#write((draft) => {
      for (const { key, json } of texts) this.#set(draft, key, json);
    });
  }

  async delete(key: string, version?: Version): Promise<void> {
    this.#check(key);
    await this.#write((draft) => {
      if (version !== undefined) this.#expect(draft, key, version);
      if (this.#current(draft, key) !== undefined) draft.set(key, undefined);
    });
  }

  #expect(draft: Draft, key: string, version: Version): void {
    const current = this.#current(draft, key);
    if (current === undefined) throw this.#conflict(key, 'it is gone');
    if (String(current.version) !== version) {
      throw this.#conflict(key, `it has version ${current.version}, not ${version}`);
    }
  }

  #conflict(key: string, reason: string): ReflexarcError {
    this.#metrics.conflicts.inc();
    return new ReflexarcError('conflict', `${key}: ${reason}`, {
      hint: 'read it again and decide anew',
    });
  }

  #current(draft: Draft, key: string): Stored | undefined {
    return draft.has(key) ? draft.get(key) : this.#read(key);
  }

  #set(draft: Draft, key: string, json: string): Version {
    const version = ++this.#version;
    draft.set(key, { version, json });
    return String(version);
  }

  acquire(name: string, holder: string, ttl: number): Promise<Lease | undefined> {
    this.#check(name);
    return this.#leases.acquire(name, holder, ttl);
  }

  /** Durable before anyone learns of it, so that no later one is as low. */
  async #nextFence(name: string): Promise<number> {
    return this.#write(() => {
      const pending = this.#fences.findLast((one) => one.name === name)?.fence;
      const fence = (pending ?? readCounter(this.#counters, FENCE_PREFIX + name)) + 1;
      this.#fences.push({ name, fence });
      return fence;
    });
  }

  #write<T>(run: (draft: Draft) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#checkOpen();
      this.#queue.push({ run, resolve, reject });
      this.#running ??= Promise.resolve().then(() => this.#writeAll());
    });
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#writeTogether(this.#queue.splice(0));
    } finally {
      this.#running = undefined;
    }
  }

  async #writeTogether(writes: readonly Write[]): Promise<void> {
    const draft: Draft = new Map();
    this.#fences = [];
    const settle: (() => void)[] = [];
    try {
      for (const write of writes) {
        try {
          const result = write.run(draft);
          settle.push(() => write.resolve(result));
        } catch (error) {
          // Told after the commit only: a conflict may be with a write that then fails itself.
          settle.push(() => write.reject(toError(error)));
        }
      }
      const fences = this.#fences;
      if (draft.size + fences.length > 0) await this.#commit(draft, fences);
    } catch (error) {
      for (const write of writes) write.reject(toError(error));
      return;
    }
    for (const run of settle) run();
    for (const [key, stored] of draft) {
      for (const watcher of this.#watchers) {
        if (key.startsWith(watcher.prefix)) watcher.push({ key, stored });
      }
    }
  }

  async #commit(
    draft: Draft,
    fences: readonly { readonly name: string; readonly fence: number }[],
  ): Promise<void> {
    const puts = [...draft].map(([key, stored]) => ({
      key,
      bytes: stored === undefined ? undefined : encode(stored),
    }));
    const version = this.#version;
    await this.#environment.commit(() => {
      for (const { key, bytes } of puts) {
        if (bytes === undefined) this.#entries.remove(key);
        else this.#entries.put(key, bytes);
      }
      for (const { name, fence } of fences) {
        this.#counters.put(FENCE_PREFIX + name, Buffer.from(String(fence)));
      }
      this.#counters.put(VERSION_COUNTER, Buffer.from(String(version)));
    });
    this.#metrics.writes.inc(puts.length);
  }

  #check(key: string): void {
    this.#checkOpen();
    const bytes = Buffer.byteLength(key);
    if (bytes > 0 && bytes <= MAX_KEY_BYTES) return;
    throw new ReflexarcError('bad_request', `a key has 1 to ${MAX_KEY_BYTES} bytes, not ${bytes}`);
  }

  #checkOpen(): void {
    if (this.#closed) throw new ReflexarcError('unavailable', 'the state is closed');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leases.close();
    await this.#running;
    for (const watcher of this.#watchers) watcher.end();
  }
}

function toEntry<T>(key: string, { version, json }: Stored): Entry<T> {
  return { key, value: JSON.parse(json) as T, version: String(version) };
}

function toJson(key: string, value: unknown): string {
  const json: string | undefined = JSON.stringify(value);
  if (json === undefined) throw new ReflexarcError('bad_request', `${key}: the value is no JSON`);
  if (json.length <= MAX_VALUE_BYTES) return json;
  throw new ReflexarcError(
    'limit_exceeded',
    `${key}: the value has ${json.length} bytes, the state takes ${MAX_VALUE_BYTES}`,
  );
}

function encode({ version, json }: Stored): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + Buffer.byteLength(json));
  bytes.writeDoubleLE(version, 4);
  bytes.write(json, HEADER);
  bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

function decode(key: string, bytes: Buffer): Stored {
  if (bytes.length < HEADER || crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0)) {
    throw new ReflexarcError('corrupt', `state ${key} does not match its checksum`, {
      hint: 'write it anew, or restore state.mdb from a backup',
    });
  }
  return { version: bytes.readDoubleLE(4), json: bytes.toString('utf8', HEADER) };
}

function readCounter(table: Table, name: string): number {
  const bytes = table.get(name);
  return bytes === undefined ? 0 : Number(bytes.toString());
}

function toError(error: unknown): ReflexarcError {
  if (isReflexarcError(error)) return error;
  return new ReflexarcError('internal', messageOf(error), { cause: error });
}
