import { Worker } from 'node:worker_threads';
import { Gauge, Histogram, Counter as PromCounter } from 'prom-client';
import type { Topic } from '../../../core/contracts/bus.ts';
import type {
  CountSeries,
  LogCount,
  LogRow,
  LogSelect,
  MilliRange,
  SampleSeries,
} from '../../../core/contracts/queryable.ts';
import type {
  AppendResult,
  BusPosition,
  HistorySelect,
  LabelSelect,
  Store,
  StoredTopic,
  StoreStats,
} from '../../../core/contracts/store.ts';
import { ReflexarcError, throwIfAborted } from '../../../core/errors.ts';
import type { Labels, Matcher } from '../../../core/labels.ts';
import type { ActionRecord } from '../../../core/records/action.ts';
import type { AlertRecord } from '../../../core/records/alert.ts';
import { decodeActions, decodeAlerts } from '../../../core/records/codec.ts';
import type { Telemetry } from '../../../core/service.ts';
import { type FolderLock, lockFolder } from '../lock.ts';
import type { Tuning } from './lane.ts';
import type {
  Calls,
  ErrorText,
  FromWorker,
  LogBatch,
  Method,
  ToWorker,
  WorkerOptions,
} from './protocol.ts';
import { COUNTERS, type Counter, type Step } from './report.ts';

export interface EmbeddedStoreOptions {
  readonly folder: string;
  /** Bytes of all data files. */
  readonly maxSize: number;
  /** Milliseconds. */
  readonly maxAge: number;
  /** Bytes that DuckDB may use. */
  readonly memory: number;
  readonly telemetry: Telemetry;
}

/** For tests: small sizes, and where to die. */
export interface TestOptions {
  readonly tuning?: Partial<Tuning>;
  readonly dieAt?: Step;
}

/**
 * The Store on DuckDB, on a thread of its own: this side only hands over bytes and rows.
 *
 * @throws locked, permission, bad_config, disk_full, unavailable
 */
export async function openEmbeddedStore(
  options: EmbeddedStoreOptions,
  test: TestOptions = {},
): Promise<Store> {
  const lock = lockFolder(options.folder, options.telemetry.clock.now());
  try {
    const hour = 3_600_000;
    const data: WorkerOptions = {
      folder: options.folder,
      memory: options.memory,
      maxSize: options.maxSize,
      maxAge: options.maxAge,
      tuning: {
        sealRows: 150_000,
        sealBytes: Math.min(96 * 1024 ** 2, options.memory / 4),
        sealAge: Math.min(6 * hour, options.maxAge / 4),
        groupBytes: 4 * 1024 ** 2,
        ...test.tuning,
      },
      dieAt: test.dieAt,
    };
    const store = new EmbeddedStore(data, options.telemetry, lock);
    await store.opened;
    return store;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Memory for appends under way: a delivery of each topic, and what ingest puts together. */
const SPARES = 4;
const SPARE_BYTES = 1024 ** 2;

interface Pending {
  resolve(answer: unknown): void;
  reject(error: ReflexarcError): void;
}

class EmbeddedStore implements Store {
  readonly opened: Promise<void>;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #telemetry: Telemetry;
  readonly #lock: FolderLock;
  readonly #counters: Readonly<Record<Counter, PromCounter>>;
  readonly #seconds: Histogram<'operation'>;
  readonly #pending = new Map<number, Pending>();
  readonly #spare: ArrayBuffer[] = [];
  #calls = 0;
  #ended: ReflexarcError | undefined;
  #closing: Promise<void> | undefined;

  constructor(data: WorkerOptions, telemetry: Telemetry, lock: FolderLock) {
    this.#telemetry = telemetry;
    this.#lock = lock;
    const registers = [telemetry.metrics];
    this.#counters = Object.fromEntries(
      Object.entries(COUNTERS).map(([name, help]) => [
        name,
        new PromCounter({ name: `reflexarc_store_${name}`, help, registers }),
      ]),
    ) as Record<Counter, PromCounter>;
    this.#seconds = new Histogram({
      name: 'reflexarc_store_operation_seconds',
      help: 'How long the store took, by operation',
      labelNames: ['operation'],
      buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#gauges(registers);
    this.#worker = new Worker(new URL('./store.worker.ts', import.meta.url), {
      workerData: data,
      // Records live as long as their group: with room for it they are never copied.
      resourceLimits: { maxYoungGenerationSizeMb: 12, maxOldGenerationSizeMb: 512 },
    });
    this.opened = new Promise((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject });
    });
    this.#worker.on('message', (message: FromWorker) => this.#hear(message));
    this.#worker.on('error', (error) => this.#end(error));
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    this.#worker.on('exit', () => this.#end(undefined));
  }

  #gauges(registers: Telemetry['metrics'][]): void {
    const stats = (): Promise<StoreStats | undefined> => this.stats().catch(() => undefined);
    const gauge = (name: string, help: string, read: (stats: StoreStats) => number): Gauge =>
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          const now = await stats();
          if (now !== undefined) this.set(read(now));
        },
      });
    gauge('reflexarc_store_size_bytes', 'Size of all data files', ({ bytes }) => bytes);
    gauge('reflexarc_store_logs', 'Log lines that are stored', ({ logs }) => logs);
    gauge('reflexarc_store_samples', 'Samples that are stored', ({ samples }) => samples);
  }

  #hear(message: FromWorker): void {
    if ('ready' in message) {
      this.#settle(0)?.resolve(undefined);
    } else if ('log' in message) {
      this.#telemetry.log[message.log](message.fields, message.text);
    } else if ('counter' in message) {
      this.#counters[message.counter].inc(message.by);
    } else if ('error' in message) {
      this.#settle(message.call)?.reject(errorOf(message.error));
    } else {
      const { spare } = message;
      if (spare !== undefined && this.#spare.length < SPARES) this.#spare.push(spare);
      this.#settle(message.call)?.resolve(message.answer);
    }
  }

  #settle(call: number): Pending | undefined {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    return pending;
  }

  #end(cause: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = new ReflexarcError('unavailable', 'the store is closed', { cause });
    if (cause !== undefined) {
      this.#telemetry.log.error(
        { err: cause },
        "the store's thread failed; start the program again",
      );
    }
    for (const pending of this.#pending.values()) pending.reject(this.#ended);
    this.#pending.clear();
  }

  async #call<M extends Method>(
    method: M,
    ask: Calls[M]['ask'],
    signal?: AbortSignal,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<Calls[M]['answer']> {
    throwIfAborted(signal);
    if (this.#ended !== undefined) throw this.#ended;
    const call = ++this.#calls;
    const query = method === 'next' ? (ask as number) : call;
    const cancel = (): void => this.#cancel(query);
    const stop = this.#seconds.startTimer({ operation: method });
    signal?.addEventListener('abort', cancel);
    try {
      return await new Promise<Calls[M]['answer']>((resolve, reject) => {
        this.#pending.set(call, { resolve, reject });
        this.#tell({ call, method, ask }, transfer);
      });
    } finally {
      signal?.removeEventListener('abort', cancel);
      stop();
    }
  }

  #tell(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #cancel(query: number): void {
    if (this.#ended === undefined) this.#tell({ cancel: query });
  }

  async append(
    topic: StoredTopic,
    values: readonly Uint8Array[],
    commit?: BusPosition,
  ): Promise<AppendResult> {
    // The bus shares its bytes with other subscribers: they are copied once and handed over.
    const lengths = values.map(({ length }) => length);
    const bytes = this.#room(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    for (const value of values) {
      bytes.set(value, at);
      at += value.length;
    }
    const now = this.#telemetry.clock.now();
    return await this.#call('append', { topic, bytes, lengths, commit, now }, undefined, [
      bytes.buffer,
    ]);
  }

  /**
   * Memory for one call. It goes to the store's thread and comes back: new memory for each call
   * would have to be cleared each time, and makes the collector of garbage run for nothing.
   */
  #room(size: number): Uint8Array<ArrayBuffer> {
    const index = this.#spare.findIndex(({ byteLength }) => byteLength >= size);
    const [spare] = index === -1 ? [] : this.#spare.splice(index, 1);
    return new Uint8Array(spare ?? new ArrayBuffer(Math.max(size, SPARE_BYTES)), 0, size);
  }

  async *selectLogs(query: LogSelect, signal: AbortSignal): AsyncGenerator<readonly LogRow[]> {
    let id = 0;
    let over = false;
    try {
      const first = this.#call('selectLogs', query, signal);
      id = this.#calls;
      for (let batch = await first; batch !== undefined; ) {
        over = batch.last;
        // The next one is under way while this one is looked at; no further.
        const next = over ? undefined : this.#call('next', id, signal);
        next?.catch(() => undefined);
        yield toRows(batch);
        throwIfAborted(signal);
        batch = await next;
      }
      over = true;
    } finally {
      if (!over) this.#cancel(id);
    }
  }

  async countLogs(query: LogCount, signal: AbortSignal): Promise<readonly CountSeries[]> {
    return await this.#call('countLogs', query, signal);
  }

  async selectSamples(
    query: MilliRange & { readonly matchers: readonly Matcher[] },
    signal: AbortSignal,
  ): Promise<readonly SampleSeries[]> {
    return await this.#call('selectSamples', query, signal);
  }

  async series(query: LabelSelect, signal: AbortSignal): Promise<readonly Labels[]> {
    return await this.#call('series', query, signal);
  }

  async labelNames(query: LabelSelect, signal: AbortSignal): Promise<readonly string[]> {
    const names = new Set<string>();
    for (const labels of await this.series(query, signal)) {
      for (const name of Object.keys(labels)) names.add(name);
    }
    return [...names].sort();
  }

  async labelValues(
    name: string,
    query: LabelSelect,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const values = new Set<string>();
    for (const labels of await this.series(query, signal)) {
      const value = labels[name];
      if (value !== undefined) values.add(value);
    }
    return [...values].sort();
  }

  async alerts(query: HistorySelect, signal: AbortSignal): Promise<readonly AlertRecord[]> {
    return decodeAlerts(
      Buffer.from(await this.#call('history', { topic: 'alerts', query }, signal)),
    ).records;
  }

  async actions(query: HistorySelect, signal: AbortSignal): Promise<readonly ActionRecord[]> {
    return decodeActions(
      Buffer.from(await this.#call('history', { topic: 'actions', query }, signal)),
    ).records;
  }

  async position(group: string, topic: Topic, partition: number): Promise<number | undefined> {
    return await this.#call('position', [group, topic, partition]);
  }

  async stats(): Promise<StoreStats> {
    return await this.#call('stats', undefined);
  }

  async retain(): Promise<{ readonly removedBytes: number }> {
    return await this.#call('retain', this.#telemetry.clock.now());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      if (this.#ended === undefined) await this.#call('close', undefined);
    } finally {
      this.#ended ??= new ReflexarcError('unavailable', 'the store is closed');
      // Never terminated: DuckDB's work, cut off in the middle, aborts the whole process.
      await this.#exited;
      this.#lock.release();
    }
  }
}

function toRows(batch: LogBatch): LogRow[] {
  return batch.times.map((timestamp, index) => {
    const stream = batch.dictionary[batch.streams[index] ?? 0];
    const metadata = batch.metadata[index];
    return {
      timestamp,
      line: batch.lines[index] ?? '',
      labels: stream?.labels ?? {},
      id: batch.ids[index] ?? '',
      ...(typeof metadata === 'string' ? { metadata: JSON.parse(metadata) as Labels } : {}),
      ...(stream?.origin === undefined ? {} : { origin: stream.origin }),
    };
  });
}

function errorOf({ code, message, hint, file, cause }: ErrorText): ReflexarcError {
  return new ReflexarcError(code, message, {
    cause,
    ...(hint === undefined ? {} : { hint }),
    ...(file === undefined ? {} : { where: { file } }),
  });
}
