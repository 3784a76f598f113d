import type {
  Instance,
  RuntimeEvent,
  RuntimeNews,
  RuntimeReader,
} from '../core/contracts/runtime.ts';
import { messageOf } from '../core/errors.ts';
import type { Telemetry } from '../core/service.ts';
import type { Nanos } from '../core/time.ts';
import type { Measures } from './measures.ts';

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 10_000;

export interface WatchedHandlers {
  /** From when on events are wanted at the first connection. */
  readonly since: () => Promise<Nanos | undefined>;
  readonly list: (instances: readonly Instance[]) => void;
  /** The next news waits for it. */
  readonly event: (event: RuntimeEvent) => Promise<void>;
}

/** What is known of one runtime's instances, from its news. */
export class Watched {
  readonly runtime: RuntimeReader;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #abort = new AbortController();
  readonly #instances = new Map<string, Instance>();
  #listed = false;
  #problem: string | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(runtime: RuntimeReader, telemetry: Telemetry, measures: Measures) {
    this.runtime = runtime;
    this.#telemetry = telemetry;
    this.#measures = measures;
  }

  get instances(): Iterable<Instance> {
    return this.#instances.values();
  }

  /** Whether the runtime is being watched and answers. */
  get up(): boolean {
    return this.#listed && this.#problem === undefined;
  }

  /** Why not, in words. */
  problem(): string | undefined {
    if (this.#problem !== undefined) return `${this.runtime.name}: ${this.#problem}`;
    return this.#listed ? undefined : `${this.runtime.name}: its instances are not known yet`;
  }

  start(handlers: WatchedHandlers): void {
    this.#running = this.#run(handlers);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(handlers: WatchedHandlers): Promise<void> {
    const { signal } = this.#abort;
    const { clock, log } = this.#telemetry;
    let since = await handlers.since();
    const onProblem = (error: unknown): void => this.#trouble(error);
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const options = { onProblem, ...(since === undefined ? {} : { since }) };
        for await (const news of this.runtime.watch(options, signal)) {
          if (signal.aborted) return;
          this.#problem = undefined;
          pause = FIRST_PAUSE;
          if (news.kind === 'event') since = news.event.time;
          await this.#take(news, handlers);
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble(error);
        log.error({ err: error, runtime: this.runtime.name }, 'watching ended; trying again');
      }
      await clock.sleep(pause, signal).catch(() => undefined);
    }
  }

  async #take(news: RuntimeNews, handlers: WatchedHandlers): Promise<void> {
    if (news.kind === 'list') {
      this.#instances.clear();
      for (const instance of news.instances) this.#instances.set(instance.id, instance);
      this.#listed = true;
      handlers.list(news.instances);
      return;
    }
    const { event } = news;
    const { id } = event.instance;
    if (event.action === 'destroy') this.#instances.delete(id);
    // Old news that come after the list know less than the list.
    else if (this.#instances.has(id) || event.instance.state !== 'dead') {
      this.#instances.set(id, event.instance);
    }
    await handlers.event(event);
  }

  #trouble(error: unknown): void {
    this.#measures.watchProblems.inc({ runtime: this.runtime.name });
    this.#problem = messageOf(error);
  }
}
