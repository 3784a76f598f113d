import { parentPort, workerData } from 'node:worker_threads';
import type { LabelSelect } from '../../../core/contracts/store.ts';
import { messageOf, ReflexarcError } from '../../../core/errors.ts';
import { StoreCore } from './core.ts';
import { countLogs } from './count-logs.ts';
import type { Lane } from './lane.ts';
import type {
  Calls,
  ErrorText,
  FromWorker,
  LogBatch,
  Method,
  ToWorker,
  WorkerOptions,
} from './protocol.ts';
import { selectHistory } from './select-history.ts';
import { selectLogs } from './select-logs.ts';
import { selectSamples } from './select-samples.ts';
import { selectSeries } from './select-series.ts';
import type { Decoded } from './table.ts';

/** The store's thread: decodes, writes, asks DuckDB. One message a call, one an answer. */

const options = workerData as WorkerOptions;
if (parentPort === null) throw new Error('store.worker.ts runs as a worker');
const port = parentPort;
const say = (message: FromWorker, transfer: readonly ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer);

type Handlers = {
  readonly [M in Method]: (
    ask: Calls[M]['ask'],
    signal: AbortSignal,
    call: number,
  ) => Promise<Calls[M]['answer']>;
};

const running = new Map<number, AbortController>();
const cursors = new Map<number, AsyncGenerator<LogBatch>>();
/** Calls that are finished whatever happens. */
const writes = new Set<number>();
/** All that is under way. A thread that ends before DuckDB's work does takes the process along. */
const unfinished = new Set<Promise<unknown>>();

function track(work: Promise<unknown>): void {
  const tracked = work.catch(() => undefined).finally(() => unfinished.delete(tracked));
  unfinished.add(tracked);
}

try {
  const core = await StoreCore.open(
    options,
    {
      log: (log, fields, text) => say({ log, fields, text }),
      count: (counter, by = 1) => say({ counter, by }),
    },
    (step) => {
      if (step === options.dieAt) process.kill(process.pid, 'SIGKILL');
    },
  );
  const handlers = handlersOf(core);
  port.on('message', (message: ToWorker) => {
    if ('cancel' in message) cancel(message.cancel);
    else if (message.method === 'close') void handle(handlers, message.call, 'close', undefined);
    else track(handle(handlers, message.call, message.method, message.ask));
  });
  say({ ready: true });
} catch (error) {
  say({ call: 0, error: textOf(error) });
}

async function handle(
  handlers: Handlers,
  call: number,
  method: Method,
  ask: unknown,
): Promise<void> {
  // What a query's further batches are asked with is the query's own.
  const query = method === 'next' ? (ask as number) : call;
  if (method === 'append' || method === 'retain') writes.add(call);
  const controller = running.get(query) ?? new AbortController();
  running.set(query, controller);
  try {
    const run = handlers[method] as (
      ask: unknown,
      signal: AbortSignal,
      call: number,
    ) => Promise<unknown>;
    const answer = await run(ask, controller.signal, query);
    if (!cursors.has(query)) running.delete(query);
    const spare = method === 'append' ? (ask as Calls['append']['ask']).bytes.buffer : undefined;
    if (spare === undefined) say({ call, answer });
    else say({ call, answer, spare }, [spare]);
    if (method === 'close') port.close();
  } catch (error) {
    running.delete(query);
    cursors.delete(query);
    say({ call, error: textOf(error) });
  } finally {
    writes.delete(call);
  }
}

function cancel(query: number): void {
  running.get(query)?.abort();
  running.delete(query);
  const cursor = cursors.get(query);
  cursors.delete(query);
  // Lets go of its view; a page under way has been interrupted and ends by itself.
  if (cursor !== undefined) track(cursor.return(undefined));
}

function handlersOf(core: StoreCore): Handlers {
  const { logs, metrics, alerts, actions } = core.lanes;
  const step = async (query: number): Promise<LogBatch | undefined> => {
    const cursor = cursors.get(query);
    if (cursor === undefined) return undefined;
    const { value, done } = await cursor.next();
    if (done === true) {
      cursors.delete(query);
      return undefined;
    }
    return value;
  };
  return {
    append: ({ topic, ...call }) => core.lanes[topic].append(call),
    selectLogs(query, signal, call) {
      cursors.set(call, selectLogs(logs, query, signal));
      return step(call);
    },
    next: (query) => step(query),
    countLogs: (query, signal) => countLogs(logs, query, signal),
    selectSamples: (query, signal) => selectSamples(metrics, query, signal),
    series: (query: LabelSelect, signal) =>
      query.of === 'logs'
        ? selectSeries(logs, 'stream', query, signal)
        : selectSeries(metrics, 'series', query, signal),
    history({ topic, query }, signal) {
      const lane: Lane<Decoded> = topic === 'alerts' ? alerts : actions;
      return selectHistory(lane, query, signal);
    },
    position: ([group, topic, partition]) =>
      Promise.resolve(core.position(group, topic, partition)),
    stats: () => Promise.resolve(core.stats()),
    retain: async (now) => ({ removedBytes: await core.retain(now) }),
    async close() {
      for (const query of running.keys()) if (!writes.has(query)) cancel(query);
      while (unfinished.size > 0) await Promise.all(unfinished);
      await core.close();
      return undefined;
    },
  };
}

function textOf(error: unknown): ErrorText {
  if (!(error instanceof ReflexarcError)) {
    const stack = error instanceof Error ? error.stack : undefined;
    return {
      code: 'internal',
      message: messageOf(error),
      hint: undefined,
      file: undefined,
      cause: stack,
    };
  }
  const { code, message, hint, where, cause } = error;
  return {
    code,
    message,
    hint,
    file: where?.file,
    cause: cause === undefined ? undefined : messageOf(cause),
  };
}
