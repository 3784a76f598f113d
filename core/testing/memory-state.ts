import type { Clock } from '../clock.ts';
import type { Change, Entry, Json, Lease, State, Version } from '../contracts/state.ts';
import { ReflexarcError } from '../errors.ts';

/** State in memory, for tests: what is in it survives its users, not the test. */
export class MemoryState implements State {
  readonly #entries = new Map<string, { json: string; version: Version }>();
  readonly #watchers = new Set<(change: Change<never>) => void>();
  readonly #leases = new Map<string, { lease: Lease; until: () => boolean; lose: () => void }>();
  readonly #fences = new Map<string, number>();
  readonly #clock: Clock;
  #version = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async get<T = Json>(key: string): Promise<Entry<T> | undefined> {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    return { key, value: JSON.parse(found.json) as T, version: found.version };
  }

  async list<T = Json>(prefix: string): Promise<Entry<T>[]> {
    return [...this.#entries]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { json, version }]) => ({ key, value: JSON.parse(json) as T, version }));
  }

  async *watch<T = Json>(prefix: string, signal: AbortSignal): AsyncIterable<Change<T>> {
    const queue: Change<T>[] = [];
    let wake = (): void => undefined;
    const push = (change: Change<never>): void => {
      const key = change.kind === 'put' ? change.entry.key : change.key;
      if (!key.startsWith(prefix)) return;
      queue.push(change);
      wake();
    };
    const onAbort = (): void => wake();
    signal.addEventListener('abort', onAbort);
    this.#watchers.add(push);
    try {
      for (const entry of await this.list<T>(prefix)) queue.push({ kind: 'put', entry });
      while (!signal.aborted) {
        const next = queue.shift();
        if (next !== undefined) yield next;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#watchers.delete(push);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async create(key: string, value: unknown): Promise<Version> {
    if (this.#entries.has(key)) throw new ReflexarcError('conflict', `${key} exists`);
    return this.#set(key, value);
  }

  async replace(key: string, value: unknown, version: Version): Promise<Version> {
    if (this.#entries.get(key)?.version !== version) {
      throw new ReflexarcError('conflict', `${key} has another version`);
    }
    return this.#set(key, value);
  }

  async put(entries: readonly { readonly key: string; readonly value: unknown }[]): Promise<void> {
    for (const { key, value } of entries) this.#set(key, value);
  }

  async delete(key: string, version?: Version): Promise<void> {
    const found = this.#entries.get(key);
    if (found === undefined) return;
    if (version !== undefined && found.version !== version) {
      throw new ReflexarcError('conflict', `${key} has another version`);
    }
    this.#entries.delete(key);
    for (const push of this.#watchers) push({ kind: 'delete', key });
  }

  #set(key: string, value: unknown): Version {
    const version = String(++this.#version);
    const json = JSON.stringify(value);
    this.#entries.set(key, { json, version });
    const entry = { key, value: JSON.parse(json) as never, version };
    for (const push of this.#watchers) push({ kind: 'put', entry });
    return version;
  }

  async acquire(name: string, holder: string, ttl: number): Promise<Lease | undefined> {
    const current = this.#leases.get(name);
    if (current?.until() === true && current.lease.holder !== holder) return undefined;
    current?.lose();
    const fence = (this.#fences.get(name) ?? 0) + 1;
    this.#fences.set(name, fence);
    const abort = new AbortController();
    let renewed = this.#clock.monotonic();
    const live = (): boolean => !abort.signal.aborted && this.#clock.monotonic() - renewed < ttl;
    const renew = (): void => {
      if (!live()) return;
      renewed = this.#clock.monotonic();
      timer = this.#clock.after(ttl / 3, renew);
    };
    let timer = this.#clock.after(ttl / 3, renew);
    const lose = (): void => {
      timer.cancel();
      abort.abort(new ReflexarcError('lease_lost', `lease ${name} is lost`));
      if (this.#leases.get(name)?.lease === lease) this.#leases.delete(name);
    };
    const lease: Lease = {
      name,
      holder,
      fence,
      signal: abort.signal,
      held: async () => live(),
      release: async () => lose(),
    };
    this.#leases.set(name, { lease, until: live, lose });
    return lease;
  }

  /** Takes a lease from whoever holds it, as a process that died or was cut off would lose it. */
  revoke(name: string): void {
    this.#leases.get(name)?.lose();
  }

  async close(): Promise<void> {
    for (const { lose } of this.#leases.values()) lose();
  }
}
