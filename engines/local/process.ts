import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Clock, Timer } from '../../core/clock.ts';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';
import type { Instance, InstanceStats, RuntimeEvent } from '../../core/contracts/runtime.ts';
import { messageOf, ReflexarcError, throwIfAborted } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { formatRfc3339 } from '../../core/time.ts';
import { withNothingInherited } from './descriptors.ts';
import { configHash, ProcessFiles, type RunRecord } from './files.ts';
import { HealthCheck, type Probe, probeOf } from './health.ts';
import { endOf, groupAlive, identityOf, orphansOf, readStats } from './proc.ts';

/** As Docker waits before its restarts: doubled each time, begun anew after a run of 10 s. */
const BACKOFF = { first: 100, most: 60_000, forgottenAfter: 10_000 };
/** How often a process is looked at that is not our child. */
const ADOPTED_POLL = 250;
const GROUP_POLL = 25;
/** How long a killed process may take to be gone, in milliseconds. */
const KILL_TIMEOUT = 10_000;
/** Of `stop_grace` so much is left when Reflexarc itself has ten seconds to end. */
const CLOSE_GRACE = 3000;
const CLOSE_GROUP_GRACE = 1000;

/** Who wants it: a person through this engine, Reflexarc's own healing, or its end. */
type Reason = 'hand' | 'own' | 'close';

interface Run {
  readonly pid: number;
  readonly identity: string | undefined;
  readonly startedAt: string;
  /** `monotonic()` of its start. */
  readonly began: number;
  readonly exited: Promise<void>;
  readonly resolveExited: () => void;
  /** Who asked for its end. */
  endedBy: Reason | undefined;
}

/** One configured process: started, watched, restarted, ended. Its operations never overlap. */
export class LocalProcess {
  readonly id: string;
  readonly #runtime: string;
  readonly #config: ProcessConfig;
  readonly #files: ProcessFiles;
  readonly #telemetry: Telemetry;
  readonly #publish: (event: RuntimeEvent) => void;
  readonly #env: NodeJS.ProcessEnv;
  readonly #probe: Probe | undefined;
  #run: Run | undefined;
  #state: 'created' | 'running' | 'restarting' | 'exited' = 'created';
  #health: HealthCheck | undefined;
  #startedAt: string | undefined;
  #finishedAt: string | undefined;
  #exitCode: number | undefined;
  #restarts = 0;
  #byHand = false;
  #backoff = BACKOFF.first;
  #timer: Timer | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** What is left of a group whose leader has ended. */
  #cleanup: Promise<void> = Promise.resolve();
  #closed = false;

  /** @throws bad_config */
  constructor(
    runtime: string,
    config: ProcessConfig,
    folder: string,
    telemetry: Telemetry,
    publish: (event: RuntimeEvent) => void,
  ) {
    this.id = `${runtime}:${config.name}`;
    this.#runtime = runtime;
    this.#config = config;
    this.#files = new ProcessFiles(folder, config.name);
    this.#telemetry = telemetry;
    this.#publish = publish;
    this.#env = { ...process.env, ...config.env };
    const { health, cwd } = config;
    this.#probe =
      health === undefined ? undefined : probeOf(config.name, health, { cwd, env: this.#env });
  }

  get #clock(): Clock {
    return this.#telemetry.clock;
  }

  describe(): Instance {
    const { name, labels, restart, health, service } = this.#config;
    const { stdout, stderr } = this.#files;
    return {
      runtime: this.#runtime,
      id: this.id,
      name,
      service: service ?? labels['reflexarc.service'] ?? name,
      labels,
      state: this.#state,
      health: health === undefined ? 'none' : (this.#health?.status ?? 'starting'),
      ...(this.#startedAt !== undefined && { startedAt: this.#startedAt }),
      ...(this.#finishedAt !== undefined && { finishedAt: this.#finishedAt }),
      ...(this.#exitCode !== undefined && { exitCode: this.#exitCode }),
      // The kernel does not tell a parent why its child was killed.
      oomKilled: false,
      restarts: this.#restarts,
      restartPolicy: restart,
      ...(restart === 'on-failure' && { restartLimit: 0 }),
      stoppedByHand: this.#byHand,
      log: { format: 'plain', stdout, stderr },
    };
  }

  /** Takes up what outlived the last Reflexarc, or starts it. Never throws: its state tells. */
  open(): Promise<void> {
    return this.#alone(async () => {
      const record = this.#files.readRecord();
      if (record !== undefined && !record.ended) {
        if (record.identity !== undefined && identityOf(record.pid) === record.identity) {
          if (record.config === configHash(this.#config)) {
            this.#adopt(record);
            return;
          }
          this.#telemetry.log.info(this.#about(), 'its configuration changed: it is started anew');
          this.#adopt(record);
          await this.#end(this.#config.stop_grace, 'own');
        } else {
          await this.#lost(record);
        }
      }
      if (record?.byHand === true) {
        // Someone stopped it, and Reflexarc was killed since: it stays stopped.
        this.#state = 'exited';
        this.#byHand = true;
        this.#startedAt = record.startedAt;
        return;
      }
      await this.#start(undefined).catch((error: unknown) => {
        this.#telemetry.log.error({ ...this.#about(), err: error }, messageOf(error));
      });
    });
  }

  start(signal?: AbortSignal): Promise<void> {
    return this.#asked(signal, async () => {
      if (this.#run !== undefined) return;
      await this.#start('own');
    });
  }

  stop(grace: number | undefined, signal?: AbortSignal): Promise<void> {
    return this.#asked(signal, async () => {
      this.#timer?.cancel();
      if (this.#state === 'restarting') this.#state = 'exited';
      this.#byHand = true;
      if (this.#run !== undefined) {
        await this.#end(grace ?? this.#config.stop_grace, 'hand');
        this.#tell('stop', { by_hand: 'true' });
      }
      this.#writeEnd();
    });
  }

  restart(grace: number | undefined, signal?: AbortSignal): Promise<void> {
    return this.#asked(signal, async () => {
      this.#timer?.cancel();
      if (this.#run !== undefined) {
        await this.#end(grace ?? this.#config.stop_grace, 'own');
        this.#tell('stop', { by: 'reflexarc', by_hand: 'false' });
      }
      await this.#start('own');
      this.#tell('restart', { by: 'reflexarc' });
    });
  }

  /** Ends it; a clean end, after which the next Reflexarc starts it again. */
  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    return this.#alone(async () => {
      if (this.#run !== undefined) await this.#end(this.#grace(CLOSE_GRACE), 'close');
      await this.#cleanup;
      this.#files.removeRecord();
    });
  }

  stats(): InstanceStats | undefined {
    return this.#run === undefined ? undefined : readStats(this.#run.pid, this.#clock.now());
  }

  /** One that cannot be started is tried again as its policy says: a disk or a mount may be late. */
  async #start(by: 'own' | undefined): Promise<void> {
    try {
      await this.#startOnce(by);
    } catch (error) {
      if (this.#config.restart !== 'no' && !this.#closed) {
        this.#state = 'restarting';
        this.#retryAfterBackoff();
      }
      throw error;
    }
  }

  async #startOnce(by: 'own' | undefined): Promise<void> {
    if (this.#closed) throw new ReflexarcError('cancelled', 'Reflexarc is ending');
    this.#timer?.cancel();
    await this.#cleanup;
    const { command, cwd, name } = this.#config;
    const [file = '', ...args] = command;
    const output = this.#files.open();
    let child: ChildProcess;
    try {
      child = withNothingInherited((rest) =>
        spawn(file, args, {
          cwd,
          env: this.#env,
          // The leader of a session and group of its own, so that all it starts can be ended with it.
          detached: true,
          stdio: ['ignore', output.stdout, output.stderr, ...rest],
        }),
      );
    } finally {
      output.close();
    }
    const { pid } = child;
    if (pid === undefined) {
      const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException];
      throw this.#cannotStart(error, name, file);
    }
    child.on('error', (error) => {
      this.#telemetry.log.warn({ ...this.#about(), err: error }, 'a process cannot be signalled');
    });
    const startedAt = formatRfc3339(this.#clock.nowNanos());
    const run = this.#begin(pid, identityOf(pid), startedAt);
    this.#files.writeRecord({
      pid,
      identity: run.identity,
      startedAt,
      restarts: this.#restarts,
      config: configHash(this.#config),
      ended: false,
      byHand: false,
    });
    child.once('exit', (code, signal) => this.#exited(run, code, signal));
    this.#byHand = false;
    this.#tell('start', by === 'own' ? { by: 'reflexarc' } : {});
  }

  #cannotStart(error: NodeJS.ErrnoException, name: string, file: string): ReflexarcError {
    const { cwd } = this.#config;
    // As shells number it, and Docker after them.
    this.#exitCode = error.code === 'EACCES' ? 126 : 127;
    this.#state = 'exited';
    this.#finishedAt = formatRfc3339(this.#clock.nowNanos());
    return new ReflexarcError(
      error.code === 'EACCES' ? 'permission' : 'bad_config',
      `cannot start process ${name}: ${error.message}`,
      {
        cause: error,
        where: { field: 'sources.processes[].command' },
        hint: `check that ${file} is there and may be run${cwd === undefined ? '' : `, and that the folder ${cwd} exists`}`,
      },
    );
  }

  #begin(pid: number, identity: string | undefined, startedAt: string): Run {
    const { promise, resolve } = Promise.withResolvers<void>();
    const run: Run = {
      pid,
      identity,
      startedAt,
      began: this.#clock.monotonic(),
      exited: promise,
      resolveExited: resolve,
      endedBy: undefined,
    };
    this.#run = run;
    this.#state = 'running';
    this.#startedAt = startedAt;
    this.#finishedAt = undefined;
    this.#exitCode = undefined;
    const { health } = this.#config;
    if (health !== undefined && this.#probe !== undefined) {
      this.#health = new HealthCheck(health, this.#probe, this.#clock, (status, reason) =>
        this.#tell('health_status', {
          health_status: status,
          ...(reason !== '' && { reason }),
        }),
      );
      this.#health.start();
    }
    return run;
  }

  #adopt(record: RunRecord): void {
    this.#restarts = record.restarts;
    const run = this.#begin(record.pid, record.identity, record.startedAt);
    this.#telemetry.log.info({ ...this.#about(), pid: run.pid }, 'took up a running process');
    const look = (): void => {
      if (this.#run !== run) return;
      const end = endOf(run.pid);
      if (end === undefined && identityOf(run.pid) === run.identity) {
        this.#clock.after(ADOPTED_POLL, look);
      } else if (end === undefined) this.#exited(run, null, null);
      else if ('code' in end) this.#exited(run, end.code, null);
      else this.#exited(run, null, signalOf(end.signal));
    };
    look();
  }

  /** Its end was not seen by anybody. */
  async #lost(record: RunRecord): Promise<void> {
    this.#startedAt = record.startedAt;
    this.#restarts = record.restarts;
    this.#state = 'exited';
    this.#finishedAt = formatRfc3339(this.#clock.nowNanos());
    // Its number cannot have been given away while others of its session live.
    if (record.identity !== undefined && orphansOf(record.pid)) {
      await this.#endGroup(record.pid, this.#config.stop_grace);
    }
    this.#tell('die', { by_hand: String(record.byHand), unseen: 'true' });
  }

  /** Ends the run and everything in its group. */
  async #end(grace: number, reason: Reason): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    run.endedBy = reason;
    this.#kill(run, 'SIGTERM');
    if (!(await this.#exitsWithin(run, grace))) {
      this.#kill(run, 'SIGKILL');
      if (!(await this.#exitsWithin(run, KILL_TIMEOUT))) {
        throw new ReflexarcError('timeout', `process ${this.#config.name} does not end`, {
          hint: `the kernel holds pid ${run.pid}: see its state in /proc/${run.pid}/status`,
        });
      }
    }
    await this.#cleanup;
  }

  async #exitsWithin(run: Run, ms: number): Promise<boolean> {
    const late = Promise.withResolvers<boolean>();
    const timer = this.#clock.after(ms, () => late.resolve(false));
    try {
      return await Promise.race([late.promise, run.exited.then(() => true)]);
    } finally {
      timer.cancel();
    }
  }

  /** The configured time, or less when Reflexarc itself has to end. */
  #grace(closing: number): number {
    const { stop_grace: configured } = this.#config;
    return this.#closed ? Math.min(configured, closing) : configured;
  }

  #kill(run: Run, signal: 'SIGTERM' | 'SIGKILL'): void {
    // Not another process that has its number by now.
    if (run.identity !== undefined && identityOf(run.pid) !== run.identity) return;
    sendTo(run.pid, signal);
    const byHand = run.endedBy === 'hand';
    this.#tell('kill', {
      signal,
      by_hand: String(byHand),
      ...(!byHand && { by: 'reflexarc' }),
    });
  }

  #exited(run: Run, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#health?.stop();
    this.#health = undefined;
    this.#state = 'exited';
    this.#finishedAt = formatRfc3339(this.#clock.nowNanos());
    this.#exitCode = code ?? (signal === null ? undefined : 128 + (constants.signals[signal] ?? 0));
    this.#writeEnd(run);
    const byHand = run.endedBy === 'hand';
    this.#tell('die', {
      ...(this.#exitCode !== undefined && { exit_code: String(this.#exitCode) }),
      ...(signal !== null && { signal }),
      by_hand: String(byHand),
      ...(run.endedBy !== undefined && !byHand && { by: 'reflexarc' }),
    });
    // What it started may hold its port, or its files.
    this.#cleanup = this.#endGroup(run.pid, this.#grace(CLOSE_GROUP_GRACE));
    run.resolveExited();
    if (run.endedBy === undefined) this.#restartByPolicy(run);
  }

  #restartByPolicy(run: Run): void {
    const { restart } = this.#config;
    const wanted = restart === 'always' || (restart === 'on-failure' && this.#exitCode !== 0);
    if (!wanted || this.#closed) return;
    if (this.#clock.monotonic() - run.began >= BACKOFF.forgottenAfter) {
      this.#backoff = BACKOFF.first;
    }
    this.#state = 'restarting';
    this.#retryAfterBackoff();
  }

  #retryAfterBackoff(): void {
    const wait = this.#backoff;
    this.#backoff = Math.min(wait * 2, BACKOFF.most);
    this.#timer = this.#clock.after(wait, () => {
      void this.#alone(async () => {
        if (this.#state !== 'restarting' || this.#closed) return;
        this.#restarts++;
        try {
          await this.#start(undefined);
        } catch (error) {
          this.#telemetry.log.error({ ...this.#about(), err: error }, messageOf(error));
        }
      });
    });
  }

  async #endGroup(group: number, grace: number): Promise<void> {
    if (process.platform === 'win32' || !groupAlive(group)) return;
    sendTo(group, 'SIGTERM');
    const end = this.#clock.monotonic() + grace;
    while (this.#clock.monotonic() < end) {
      if (!groupAlive(group)) return;
      await this.#clock.sleep(GROUP_POLL);
    }
    if (groupAlive(group)) sendTo(group, 'SIGKILL');
  }

  #writeEnd(run?: Run): void {
    if (this.#startedAt === undefined) return;
    this.#files.writeRecord({
      pid: run?.pid ?? 0,
      identity: undefined,
      startedAt: this.#startedAt,
      restarts: this.#restarts,
      config: configHash(this.#config),
      ended: true,
      byHand: this.#byHand || run?.endedBy === 'hand',
    });
  }

  #tell(action: string, attributes: Record<string, string>): void {
    this.#publish({
      time: this.#clock.nowNanos(),
      action,
      instance: this.describe(),
      ...(this.#startedAt !== undefined && { startedAt: this.#startedAt }),
      attributes,
    });
  }

  /** For a caller who may give up waiting; what has begun goes on. */
  async #asked(signal: AbortSignal | undefined, run: () => Promise<void>): Promise<void> {
    throwIfAborted(signal);
    const done = this.#alone(async () => {
      throwIfAborted(signal);
      this.#backoff = BACKOFF.first;
      await run();
    });
    if (signal === undefined) return await done;
    const { promise: given, reject } = Promise.withResolvers<never>();
    const onAbort = (): void =>
      reject(new ReflexarcError('cancelled', 'cancelled', { cause: signal.reason }));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([done, given]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #about(): { process: string } {
    return { process: this.#config.name };
  }

  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** To the whole group, where there are groups. One that is gone needs no signal. */
export function sendTo(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? group : -group, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function signalOf(number: number): NodeJS.Signals | null {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return (found?.[0] as NodeJS.Signals | undefined) ?? null;
}
