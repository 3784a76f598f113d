import type { Clock } from '../../core/clock.ts';
import type {
  Instance,
  OutputLine,
  Runtime,
  RuntimeNews,
  WatchOptions,
} from '../../core/contracts/runtime.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { formatRfc3339 } from '../../core/time.ts';

/** A call that the engine was asked for, and what came of it. */
export interface Call {
  readonly kind: 'start' | 'restart';
  readonly id: string;
  /** The start that there was when the engine was asked. */
  readonly on: string;
  /** The start that there was when the engine carried it out. */
  readonly hit: string;
  /** When the engine carried it out. */
  readonly at: number;
  /** As it was when the engine was asked. */
  readonly stoppedByHand: Instance['stoppedByHand'];
  /** The start that it led to; absent: it had no effect. */
  led?: string;
}

/** A scripted engine: things happen to its instances when the test says so. */
export class FakeRuntime implements Runtime {
  readonly name: string;
  readonly calls: Call[] = [];
  /** Set: every read fails with it. */
  unreadable: Error | undefined;
  /** Set: the next call fails with it, before anything happens. */
  failNext: Error | undefined;
  /** Milliseconds that a call takes before it takes effect. */
  takes = 0;
  /** Happens before a question about an instance is answered. */
  onInspect: ((id: string) => void) | undefined;
  /** What a run that a call began does at once. */
  onStart: ((id: string) => void) | undefined;
  readonly #clock: Clock;
  readonly #instances = new Map<string, Instance>();
  readonly #watchers = new Set<(news: RuntimeNews) => void>();

  constructor(clock: Clock, name = 'fake') {
    this.#clock = clock;
    this.name = name;
  }

  add(id: string, more: Partial<Instance> = {}): Instance {
    const instance: Instance = {
      runtime: this.name,
      id,
      name: id,
      service: id,
      labels: {},
      state: 'running',
      health: 'none',
      startedAt: this.#stamp(),
      oomKilled: false,
      restarts: 0,
      restartPolicy: 'no',
      stoppedByHand: false,
      log: { format: 'none', driver: 'none' },
      ...more,
    };
    this.#instances.set(id, instance);
    this.#tell(instance, 'create');
    return instance;
  }

  get(id: string): Instance {
    const found = this.#instances.get(id);
    if (found === undefined) throw new Error(`no instance ${id}`);
    return found;
  }

  change(id: string, more: Partial<Instance>, action = 'update'): void {
    const instance = { ...this.get(id), ...more };
    this.#instances.set(id, instance);
    this.#tell(instance, action);
  }

  crash(id: string, exitCode = 1): void {
    this.change(id, { state: 'exited', exitCode, finishedAt: this.#stamp() }, 'die');
  }

  stopByHand(id: string): void {
    this.change(
      id,
      { state: 'exited', exitCode: 0, finishedAt: this.#stamp(), stoppedByHand: true },
      'stop',
    );
  }

  /** As somebody else would. */
  startByHand(id: string): void {
    this.#begin(id);
  }

  health(id: string, health: Instance['health']): void {
    this.change(id, { health }, 'health_status');
  }

  remove(id: string): void {
    const instance = this.get(id);
    this.#instances.delete(id);
    this.#tell(instance, 'destroy');
  }

  async list(): Promise<readonly Instance[]> {
    if (this.unreadable !== undefined) throw this.unreadable;
    return [...this.#instances.values()];
  }

  async inspect(id: string): Promise<Instance | undefined> {
    this.onInspect?.(id);
    if (this.unreadable !== undefined) throw this.unreadable;
    return this.#instances.get(id);
  }

  async *watch({ onProblem }: WatchOptions, signal: AbortSignal): AsyncIterable<RuntimeNews> {
    if (this.unreadable !== undefined) {
      onProblem?.(this.unreadable);
      throw this.unreadable;
    }
    const queue: RuntimeNews[] = [{ kind: 'list', instances: [...this.#instances.values()] }];
    let wake = (): void => undefined;
    const push = (news: RuntimeNews): void => {
      queue.push(news);
      wake();
    };
    this.#watchers.add(push);
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
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
    }
  }

  async *follow(): AsyncIterable<OutputLine> {}

  async stats(): Promise<undefined> {}

  async start(id: string): Promise<void> {
    await this.#act('start', id);
  }

  async restart(id: string): Promise<void> {
    await this.#act('restart', id);
  }

  async stop(): Promise<void> {
    throw new Error('nobody asked for this');
  }

  async close(): Promise<void> {}

  async #act(kind: Call['kind'], id: string): Promise<void> {
    const { failNext } = this;
    this.failNext = undefined;
    if (failNext !== undefined) throw failNext;
    const asked = this.get(id);
    // The engine carries on whether or not its caller still lives.
    if (this.takes > 0) await this.#clock.sleep(this.takes);
    const before = this.#instances.get(id);
    if (before === undefined) throw new ReflexarcError('not_found', `no instance ${id}`);
    const call: Call = {
      kind,
      id,
      on: asked.startedAt ?? '',
      hit: before.startedAt ?? '',
      at: this.#clock.now(),
      stoppedByHand: asked.stoppedByHand,
    };
    this.calls.push(call);
    if (kind === 'start' && before.state === 'running') return;
    this.#begin(id);
    call.led = this.get(id).startedAt ?? '';
    this.onStart?.(id);
  }

  #begin(id: string): void {
    const { exitCode: _exit, finishedAt: _end, ...rest } = this.get(id);
    const health = rest.health === 'none' ? 'none' : 'healthy';
    this.#instances.set(id, {
      ...rest,
      state: 'running',
      health,
      stoppedByHand: false,
      startedAt: this.#stamp(),
    });
    this.#tell(this.get(id), 'start');
  }

  #stamp(): string {
    return formatRfc3339(this.#clock.nowNanos());
  }

  #tell(instance: Instance, action: string): void {
    const time = this.#clock.nowNanos();
    for (const push of this.#watchers) {
      push({ kind: 'event', event: { time, action, instance, attributes: {} } });
    }
  }
}
