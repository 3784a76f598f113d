import { Counter } from 'prom-client';
import { Broadcast } from '../../core/broadcast.ts';
import type { Timer } from '../../core/clock.ts';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';
import type {
  Instance,
  InstanceStats,
  OutputLine,
  Runtime,
  RuntimeEvent,
  RuntimeNews,
  WatchOptions,
} from '../../core/contracts/runtime.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { ProcessFiles, recordedNames } from './files.ts';
import { groupAlive, identityOf } from './proc.ts';
import { LocalProcess, sendTo } from './process.ts';

const NAME = 'local';
const WATCHER_LIMIT = 10_000;
const RECENT = 1024;
const LIST_EVERY = 60_000;

export interface LocalOptions {
  readonly processes: readonly ProcessConfig[];
  /** Where their output and what is known of them is kept; one Reflexarc at a time. */
  readonly folder: string;
  readonly telemetry: Telemetry;
}

/**
 * Processes of this machine, which this one starts. Those that outlived a killed Reflexarc are
 * taken up; `close` ends them all. One that cannot be started does not hinder the others.
 *
 * A `stop` here is a person's, as nobody else stops a process: it stays stopped, also over a kill
 * of Reflexarc, until it is started.
 *
 * @throws bad_config
 */
export async function openLocal(options: LocalOptions): Promise<Runtime> {
  const runtime = new LocalRuntime(options);
  await runtime.open();
  return runtime;
}

class LocalRuntime implements Runtime {
  readonly name = NAME;
  readonly #telemetry: Telemetry;
  readonly #folder: string;
  readonly #processes = new Map<string, LocalProcess>();
  readonly #news = new Broadcast<RuntimeNews>();
  readonly #recent: RuntimeEvent[] = [];
  readonly #events: Counter<'action'>;
  readonly #dropped: Counter;
  #timer: Timer | undefined;
  #closed: Promise<void> | undefined;

  constructor({ processes, folder, telemetry }: LocalOptions) {
    this.#telemetry = telemetry;
    this.#folder = folder;
    this.#events = new Counter({
      name: 'reflexarc_local_events_total',
      help: 'Events of local processes, by action.',
      labelNames: ['action'],
      registers: [telemetry.metrics],
    });
    this.#dropped = new Counter({
      name: 'reflexarc_local_events_dropped_total',
      help: 'Events that did not reach a watcher because it fell behind.',
      registers: [telemetry.metrics],
    });
    for (const config of processes) {
      const one = new LocalProcess(NAME, config, folder, telemetry, (event) => this.#tell(event));
      if (this.#processes.has(one.id)) {
        throw new ReflexarcError('bad_config', `two processes have the name ${config.name}`, {
          where: { field: 'sources.processes[].name' },
        });
      }
      this.#processes.set(one.id, one);
    }
  }

  async open(): Promise<void> {
    const { log } = this.#telemetry;
    if (this.#processes.size > 0 && identityOf(process.pid) === undefined) {
      log.warn(
        'this system does not tell when a process was started: processes that outlive a killed Reflexarc are not found again, and are started a second time',
      );
    }
    await Promise.all([
      this.#endForgotten(),
      ...[...this.#processes.values()].map((one) => one.open()),
    ]);
    this.#listLater();
  }

  list(): Promise<readonly Instance[]> {
    return Promise.resolve(this.#instances());
  }

  inspect(id: string): Promise<Instance | undefined> {
    return Promise.resolve(this.#processes.get(id)?.describe());
  }

  async *watch(options: WatchOptions, signal: AbortSignal): AsyncGenerator<RuntimeNews> {
    const { since, onProblem } = options;
    const first: RuntimeNews[] = [{ kind: 'list', instances: this.#instances() }];
    for (const event of this.#recent) {
      if (since !== undefined && event.time >= since) first.push({ kind: 'event', event });
    }
    const onDrop = (): void => {
      this.#dropped.inc();
      onProblem?.(
        new ReflexarcError('limit_exceeded', `a watcher left ${WATCHER_LIMIT} events unread`),
      );
    };
    yield* this.#news.subscribe(signal, { limit: WATCHER_LIMIT, onDrop, first });
  }

  follow(id: string): AsyncIterable<OutputLine> {
    throw new ReflexarcError('not_supported', `the output of ${id} is in files`, {
      hint: 'read the files that the instance names in `log`',
    });
  }

  stats(id: string): Promise<InstanceStats | undefined> {
    return Promise.resolve(this.#processes.get(id)?.stats());
  }

  async start(id: string, signal?: AbortSignal): Promise<void> {
    await this.#get(id).start(signal);
  }

  async restart(id: string, options: { grace?: number }, signal?: AbortSignal): Promise<void> {
    await this.#get(id).restart(options.grace, signal);
  }

  async stop(id: string, options: { grace?: number }, signal?: AbortSignal): Promise<void> {
    await this.#get(id).stop(options.grace, signal);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#timer?.cancel();
    // The clock's timers keep no process alive, and nothing else does that was taken up.
    const { port1: awake } = new MessageChannel();
    awake.ref();
    const ended = await Promise.allSettled([...this.#processes.values()].map((one) => one.close()));
    awake.close();
    this.#news.close();
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  }

  /** Processes of an older configuration that outlived it: nobody would end them any more. */
  async #endForgotten(): Promise<void> {
    const { clock, log } = this.#telemetry;
    for (const name of recordedNames(this.#folder)) {
      if (this.#processes.has(`${NAME}:${name}`)) continue;
      const files = new ProcessFiles(this.#folder, name);
      const record = files.readRecord();
      if (record?.identity !== undefined && identityOf(record.pid) === record.identity) {
        log.warn(
          { process: name, pid: record.pid },
          'ending a process that is not configured any more',
        );
        sendTo(record.pid, 'SIGTERM');
        const end = clock.monotonic() + 10_000;
        while (groupAlive(record.pid) && clock.monotonic() < end) await clock.sleep(50);
        if (groupAlive(record.pid)) sendTo(record.pid, 'SIGKILL');
      }
      files.removeRecord();
    }
  }

  #instances(): Instance[] {
    return [...this.#processes.values()].map((one) => one.describe());
  }

  #get(id: string): LocalProcess {
    const found = this.#processes.get(id);
    if (found !== undefined) return found;
    throw new ReflexarcError('not_found', `there is no local process ${id}`, {
      hint: 'they are named in sources.processes of reflexarc.yaml',
    });
  }

  #tell(event: RuntimeEvent): void {
    this.#events.inc({ action: event.action });
    this.#recent.push(event);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#news.publish({ kind: 'event', event });
  }

  #listLater(): void {
    this.#timer = this.#telemetry.clock.after(LIST_EVERY, () => {
      this.#news.publish({ kind: 'list', instances: this.#instances() });
      this.#listLater();
    });
  }
}
