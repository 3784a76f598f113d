import pino from 'pino';
import { Registry } from 'prom-client';
import type { Clock } from '../../core/clock.ts';
import { systemClock } from '../../core/clock.ts';
import type { BusWriter, Outgoing, Topic } from '../../core/contracts/bus.ts';
import type { Change, Entry, Lease, State } from '../../core/contracts/state.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { decodeLogs, decodeSamples, StreamCache } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { Telemetry } from '../../core/service.ts';

/** For tests of the collectors: a bus that keeps everything in order, and can be told to refuse. */
export class MemoryBus implements BusWriter {
  readonly messages: { topic: Topic; message: Outgoing }[] = [];
  /** Called before each publish; what it throws is the answer. */
  before: (topic: Topic, messages: readonly Outgoing[]) => Promise<void> | void = () => undefined;
  readonly #cache = new StreamCache();

  async publish(topic: Topic, messages: readonly Outgoing[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.before(topic, messages);
    for (const message of messages) this.messages.push({ topic, message });
  }

  logs(topic: Topic = 'logs'): LogRecord[] {
    return this.messages.flatMap((entry) =>
      entry.topic === topic ? decodeLogs(entry.message.value, this.#cache).records : [],
    );
  }

  samples(): Sample[] {
    return this.messages.flatMap((entry) =>
      entry.topic === 'metrics' ? decodeSamples(entry.message.value).records : [],
    );
  }
}

/** Values survive the collectors that wrote them, as they do on disk. */
export class MemoryState implements State {
  readonly values = new Map<string, unknown>();
  failing: ReflexarcError | undefined;

  get<T>(key: string): Promise<Entry<T> | undefined> {
    const value = this.values.get(key);
    return Promise.resolve(
      value === undefined ? undefined : { key, value: value as T, version: '1' },
    );
  }

  list<T>(prefix: string): Promise<Entry<T>[]> {
    return Promise.resolve(
      [...this.values]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]) => ({ key, value: value as T, version: '1' })),
    );
  }

  put(entries: readonly { readonly key: string; readonly value: unknown }[]): Promise<void> {
    if (this.failing !== undefined) return Promise.reject(this.failing);
    for (const { key, value } of entries) {
      this.values.set(key, JSON.parse(JSON.stringify(value)));
    }
    return Promise.resolve();
  }

  delete(key: string): Promise<void> {
    this.values.delete(key);
    return Promise.resolve();
  }

  watch<T>(): AsyncIterable<Change<T>> {
    throw new ReflexarcError('not_supported', 'watch');
  }

  create(): Promise<string> {
    throw new ReflexarcError('not_supported', 'create');
  }

  replace(): Promise<string> {
    throw new ReflexarcError('not_supported', 'replace');
  }

  acquire(): Promise<Lease | undefined> {
    throw new ReflexarcError('not_supported', 'acquire');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Telemetry whose log is kept. */
export function testTelemetry(clock: Clock = systemClock): Telemetry & { readonly said: string[] } {
  const said: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void said.push(line) });
  return { log, metrics: new Registry(), clock, said };
}

/** Resolves when the condition holds; looked at every few milliseconds, for 5 s at most. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const deadline = systemClock.monotonic() + 5000;
  while (!condition()) {
    if (systemClock.monotonic() > deadline) throw new Error(`waited too long for ${what}`);
    await systemClock.sleep(2);
  }
}
