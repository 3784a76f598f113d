import { Broadcast } from '../../core/broadcast.ts';
import type {
  Instance,
  InstanceStats,
  OutputLine,
  RuntimeEvent,
  RuntimeNews,
  RuntimeReader,
  WatchOptions,
} from '../../core/contracts/runtime.ts';
import type { ReflexarcError } from '../../core/errors.ts';
import type { Nanos } from '../../core/time.ts';
import { parseRfc3339 } from '../../core/time.ts';

/** For tests: a runtime that does what the test says. */
export class ScriptedRuntime implements RuntimeReader {
  readonly name: string;
  readonly instances = new Map<string, Instance>();
  readonly past: RuntimeEvent[] = [];
  readonly output = new Map<string, OutputLine[]>();
  stat: InstanceStats | undefined = { timestamp: Date.UTC(2026, 0, 1), cpuSeconds: 1.5 };
  /** Thrown by the next `follow`, once. */
  failure: ReflexarcError | undefined;
  readonly asked: (Nanos | undefined)[] = [];
  readonly #news = new Broadcast<RuntimeNews>();
  readonly #gone = new Set<string>();

  constructor(name = 'docker') {
    this.name = name;
  }

  put(instance: Instance): void {
    this.instances.set(instance.id, instance);
    this.#list();
  }

  remove(id: string): void {
    this.instances.delete(id);
    this.#gone.add(id);
    this.#list();
  }

  emit(event: RuntimeEvent): void {
    this.past.push(event);
    this.#news.publish({ kind: 'event', event });
  }

  #list(): void {
    this.#news.publish({ kind: 'list', instances: [...this.instances.values()] });
  }

  list(): Promise<readonly Instance[]> {
    return Promise.resolve([...this.instances.values()]);
  }

  inspect(id: string): Promise<Instance | undefined> {
    return Promise.resolve(this.instances.get(id));
  }

  async *watch({ since }: WatchOptions, signal: AbortSignal): AsyncGenerator<RuntimeNews> {
    const first: RuntimeNews[] = [{ kind: 'list', instances: [...this.instances.values()] }];
    if (since !== undefined) {
      for (const event of this.past) if (event.time >= since) first.push({ kind: 'event', event });
    }
    yield* this.#news.subscribe(signal, { limit: 1000, onDrop: () => undefined, first });
  }

  async *follow(
    id: string,
    since: Nanos | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<OutputLine> {
    this.asked.push(since);
    for (let at = 0; !signal.aborted; ) {
      const failure = this.failure;
      this.failure = undefined;
      if (failure !== undefined) throw failure;
      const line = this.output.get(id)?.[at];
      if (line === undefined) {
        if (this.#gone.has(id)) return;
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      at++;
      if (since === undefined || (parseRfc3339(line.timestamp) ?? 0n) >= since) yield line;
    }
  }

  stats(): Promise<InstanceStats | undefined> {
    return Promise.resolve(this.stat);
  }
}

/** A running container of the service `web`. */
export function instanceOf(changes: Partial<Instance> = {}): Instance {
  return {
    runtime: 'docker',
    id: 'c1',
    name: 'web-1',
    service: 'web',
    project: 'shop',
    image: 'nginx:1',
    imageDigest: 'sha256:1',
    labels: { team: 'a', 'com.example/tier': 'front' },
    orchestrator: { type: 'compose', service: 'web', namespace: 'shop' },
    state: 'running',
    health: 'none',
    startedAt: '2026-01-01T00:00:00.000000000Z',
    oomKilled: false,
    restarts: 0,
    restartPolicy: 'no',
    stoppedByHand: false,
    log: { format: 'none', driver: 'none' },
    ...changes,
  };
}
