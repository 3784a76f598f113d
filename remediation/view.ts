import type { Logger } from 'pino';
import { Counter, Gauge } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { Instance, Runtime, RuntimeNews } from '../core/contracts/runtime.ts';
import { formatError, messageOf, ReflexarcError } from '../core/errors.ts';
import type { Telemetry } from '../core/service.ts';
import { normalizeRfc3339 } from '../core/time.ts';

/** How long a runtime may take to answer a question before the view counts as stale. */
const READ_TIMEOUT = 5000;
/** The pause before a watch that ended is begun again. */
const RETRY = 1000;

/** Something about a runtime's instances may be different now; no id: about any of them. */
export type NewsListener = (news: { readonly runtime: string; readonly id?: string }) => void;

/**
 * What runs, kept from the runtimes' news so that a decision waits for no list. Never the last
 * word: before an act the instance itself is asked.
 */
export class View {
  readonly #runtimes: ReadonlyMap<string, Runtime>;
  readonly #instances = new Map<string, Map<string, Instance>>();
  readonly #listeners = new Set<NewsListener>();
  /** Runtimes out of sight, which was said. */
  readonly #lost = new Set<string>();
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #synced: Gauge<'runtime'>;
  readonly #problems: Counter<'runtime'>;
  #watching: { readonly abort: AbortController; readonly done: Promise<unknown> } | undefined;

  constructor(runtimes: readonly Runtime[], telemetry: Telemetry) {
    this.#runtimes = new Map(runtimes.map((runtime) => [runtime.name, runtime]));
    this.#clock = telemetry.clock;
    this.#log = telemetry.log;
    this.#synced = new Gauge({
      name: 'reflexarc_remediation_view_synced',
      help: '1 while the runtime is watched and its whole list is known',
      labelNames: ['runtime'],
      registers: [telemetry.metrics],
    });
    this.#problems = new Counter({
      name: 'reflexarc_remediation_view_problems_total',
      help: 'Times that a runtime could not be read',
      labelNames: ['runtime'],
      registers: [telemetry.metrics],
    });
  }

  /** Idempotent. */
  start(): void {
    if (this.#watching !== undefined) return;
    const abort = new AbortController();
    const watches = [...this.#runtimes.values()].map((runtime) =>
      this.#watch(runtime, abort.signal),
    );
    this.#watching = { abort, done: Promise.all(watches) };
  }

  async stop(): Promise<void> {
    const watching = this.#watching;
    this.#watching = undefined;
    watching?.abort.abort(new ReflexarcError('cancelled', 'remediation stops'));
    await watching?.done;
    this.#instances.clear();
  }

  /** Runtimes whose list is not known. */
  get unsynced(): readonly string[] {
    return [...this.#runtimes.keys()].filter((name) => !this.#instances.has(name));
  }

  onNews(listener: NewsListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Every instance of every runtime: from memory where it is watched, else asked for.
   *
   * @throws unavailable, permission, timeout: a part of the view is missing
   */
  async instances(): Promise<readonly Instance[]> {
    const all: Instance[] = [];
    for (const runtime of this.#runtimes.values()) {
      const known = this.#instances.get(runtime.name);
      if (known !== undefined) all.push(...known.values());
      else all.push(...(await this.#ask(runtime, (signal) => runtime.list(signal))).map(normalize));
    }
    return all;
  }

  /**
   * An instance as it is now, from its runtime and not from memory.
   *
   * @throws unavailable, permission, timeout
   */
  async inspect(runtimeName: string, id: string): Promise<Instance | undefined> {
    const runtime = this.#runtimes.get(runtimeName);
    if (runtime === undefined) return undefined;
    const instance = await this.#ask(runtime, (signal) => runtime.inspect(id, signal));
    return instance === undefined ? undefined : normalize(instance);
  }

  /** An id whose runtime is not known: the first that has it. */
  async find(id: string): Promise<Instance | undefined> {
    for (const [name, known] of this.#instances) {
      if (known.has(id)) return this.inspect(name, id);
    }
    for (const name of this.#runtimes.keys()) {
      const found = await this.inspect(name, id);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #ask<T>(runtime: Runtime, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await within(
        this.#clock,
        READ_TIMEOUT,
        `${runtime.name} did not answer within ${READ_TIMEOUT / 1000}s`,
        read,
      );
    } catch (error) {
      this.#problems.inc({ runtime: runtime.name });
      throw error;
    }
  }

  async #watch(runtime: Runtime, signal: AbortSignal): Promise<void> {
    const lost = (error: unknown): void => {
      this.#problems.inc({ runtime: runtime.name });
      this.#synced.set({ runtime: runtime.name }, 0);
      this.#instances.delete(runtime.name);
      // Once, and not at every try.
      if (this.#lost.has(runtime.name)) return;
      this.#lost.add(runtime.name);
      this.#log.warn(
        { err: error, runtime: runtime.name },
        `lost sight of a runtime; nothing is acted upon meanwhile: ${formatError(error)}`,
      );
    };
    this.#synced.set({ runtime: runtime.name }, 0);
    while (!signal.aborted) {
      try {
        for await (const news of runtime.watch({ onProblem: lost }, signal)) {
          if (signal.aborted) return;
          this.#take(runtime.name, news);
        }
        if (!signal.aborted) lost(new ReflexarcError('unavailable', 'the watch ended'));
      } catch (error) {
        if (!signal.aborted) lost(error);
      }
      await this.#clock.sleep(RETRY, signal).catch(() => undefined);
    }
  }

  #take(runtime: string, news: RuntimeNews): void {
    if (news.kind === 'list') {
      const list = new Map(news.instances.map((one) => [one.id, normalize(one)]));
      this.#instances.set(runtime, list);
      this.#synced.set({ runtime }, 1);
      if (this.#lost.delete(runtime)) this.#log.info({ runtime }, 'sees the runtime again');
      this.#tell({ runtime });
      return;
    }
    const { action, instance } = news.event;
    const known = this.#instances.get(runtime);
    if (action === 'destroy') known?.delete(instance.id);
    else known?.set(instance.id, normalize(instance));
    this.#tell({ runtime, id: instance.id });
  }

  #tell(news: Parameters<NewsListener>[0]): void {
    for (const listener of this.#listeners) {
      try {
        listener(news);
      } catch (error) {
        this.#log.error({ err: error }, `a listener failed: ${messageOf(error)}`);
      }
    }
  }
}

/** Starts are compared as texts: they have one form. */
function normalize(instance: Instance): Instance {
  const startedAt =
    instance.startedAt === undefined ? undefined : normalizeRfc3339(instance.startedAt);
  return startedAt === undefined || startedAt === instance.startedAt
    ? instance
    : { ...instance, startedAt };
}

/**
 * Waits for work no longer than `ms`, even where the work does not heed its signal.
 *
 * @throws timeout
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  message: string,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const abort = new AbortController();
  const { promise: given, reject } = Promise.withResolvers<never>();
  given.catch(() => undefined);
  const giveUp = (error: unknown): void => {
    abort.abort(error);
    reject(error);
  };
  const timer = clock.after(ms, () => giveUp(new ReflexarcError('timeout', message)));
  const onOuter = (): void => giveUp(outer?.reason);
  if (outer?.aborted === true) onOuter();
  else outer?.addEventListener('abort', onOuter, { once: true });
  try {
    return await Promise.race([work(abort.signal), given]);
  } finally {
    timer.cancel();
    outer?.removeEventListener('abort', onOuter);
  }
}
