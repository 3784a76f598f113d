import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { Counter, Gauge } from 'prom-client';
import type { Bus } from '../core/contracts/bus.ts';
import type { Runtime } from '../core/contracts/runtime.ts';
import type { Lease, State } from '../core/contracts/state.ts';
import { formatError, ReflexarcError } from '../core/errors.ts';
import type { Service, Telemetry } from '../core/service.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import { loadRemediations, type Remediation } from './playbooks/load.ts';
import { watchFolder } from './playbooks/watch.ts';
import { Session } from './session.ts';
import { View } from './view.ts';

/** One process at a time acts; another takes over when it has not renewed this for so long. */
const LEASE = 'remediation';
const LEASE_TTL = 6000;
const LEASE_RETRY = 1000;

export interface RemediationDeps {
  readonly telemetry: Telemetry;
  /** The folder of `remediations.yaml`. Without that file nothing is ever acted upon. */
  readonly dir: string;
  readonly bus: Bus;
  readonly state: State;
  readonly runtimes: readonly Runtime[];
}

/**
 * Starts remediation. Resolves once the file is read and the lease was asked for: whether it is
 * held, `ready()` says.
 */
export async function startRemediation(
  deps: RemediationDeps,
): Promise<Service & { reload(): Promise<void> }> {
  const remediation = new Remediations(deps);
  await remediation.start();
  return remediation;
}

class Remediations implements Service {
  readonly name = 'remediation';
  readonly #deps: RemediationDeps;
  readonly #view: View;
  readonly #metrics: Metrics;
  readonly #leader: Gauge;
  readonly #reloaded: Gauge;
  readonly #reloads: Counter<'result'>;
  readonly #stopping = new AbortController();
  readonly #holder = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  #remediations: ReadonlyMap<string, Remediation> = new Map();
  #text: string | undefined;
  #session: Session | undefined;
  #leading: Promise<void> | undefined;
  #watcher: { close(): void } | undefined;
  #stopped: Promise<void> | undefined;

  constructor(deps: RemediationDeps) {
    this.#deps = deps;
    this.#view = new View(deps.runtimes, deps.telemetry);
    const registers = [deps.telemetry.metrics];
    this.#metrics = makeMetrics(deps.telemetry.metrics);
    this.#leader = new Gauge({
      name: 'reflexarc_remediation_leader',
      help: '1 while this process is the one that acts',
      registers,
    });
    this.#reloaded = new Gauge({
      name: 'reflexarc_remediation_config_last_reload_successful',
      help: '1 while the newest remediations.yaml is the one in force',
      registers,
    });
    this.#reloads = new Counter({
      name: 'reflexarc_remediation_config_reloads_total',
      help: 'Times that remediations.yaml was read',
      labelNames: ['result'],
      registers,
    });
  }

  async start(): Promise<void> {
    const { telemetry, dir } = this.#deps;
    await this.reload();
    this.#watcher = watchFolder(
      dir,
      telemetry.clock,
      () => this.#load(false),
      (error) =>
        telemetry.log.warn({ err: error, dir }, 'the folder is not watched: reload by SIGHUP'),
    );
    const first = Promise.withResolvers<void>();
    this.#leading = this.#lead(first.resolve);
    await first.promise;
  }

  ready(): { readonly ok: boolean; readonly reason?: string } {
    if (this.#session === undefined) {
      return { ok: false, reason: 'waits for the lease: another process remediates' };
    }
    const unsynced = this.#remediations.size === 0 ? [] : this.#view.unsynced;
    if (unsynced.length > 0) {
      return { ok: false, reason: `waits for the list of what runs: ${unsynced.join(', ')}` };
    }
    return { ok: true };
  }

  async reload(): Promise<void> {
    this.#load(true);
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#watcher?.close();
      this.#stopping.abort(new ReflexarcError('cancelled', 'remediation stops'));
      await this.#leading;
      await this.#view.stop();
    })();
    return this.#stopped;
  }

  /** An invalid file leaves in force what was. */
  #load(evenUnchanged: boolean): void {
    const { log } = this.#deps.telemetry;
    if (this.#stopping.signal.aborted) return;
    const { remediations, found, text, problems } = loadRemediations(this.#deps.dir);
    const seen = found ? `${problems.length}:${text}` : 'absent';
    if (!evenUnchanged && seen === this.#text) return;
    this.#text = seen;
    if (problems.length > 0) {
      this.#reloaded.set(0);
      this.#reloads.inc({ result: 'invalid' });
      for (const problem of problems) log.error({ err: problem }, formatError(problem));
      log.error(
        { problems: problems.length, inForce: this.#remediations.size },
        'remediations.yaml is invalid: what was in force stays in force',
      );
      return;
    }
    this.#remediations = new Map(remediations.map((one) => [one.name, one]));
    this.#reloaded.set(1);
    this.#reloads.inc({ result: 'ok' });
    log.info(
      { remediations: remediations.length, found },
      found
        ? 'remediations are in force'
        : 'there is no remediations.yaml: nothing is ever acted upon',
    );
    if (remediations.length > 0) this.#view.start();
    this.#session?.reconsider();
  }

  /** Waits for the lease, acts while it is held, and waits again. */
  async #lead(asked: () => void): Promise<void> {
    const { telemetry, state } = this.#deps;
    const { signal } = this.#stopping;
    const { clock, log } = telemetry;
    while (!signal.aborted) {
      try {
        const lease = await state.acquire(LEASE, this.#holder, LEASE_TTL);
        if (lease !== undefined) await this.#act(lease, asked);
      } catch (error) {
        this.#metrics.errors.inc();
        log.error({ err: error }, 'remediation could not begin, and tries again');
      }
      asked();
      if (!signal.aborted) await clock.sleep(LEASE_RETRY, signal).catch(() => undefined);
    }
  }

  async #act(lease: Lease, asked: () => void): Promise<void> {
    const { telemetry, bus, state, runtimes } = this.#deps;
    const { log } = telemetry;
    const over = Promise.withResolvers<unknown>();
    const onLost = (): void => over.resolve(lease.signal.reason);
    const onStop = (): void => over.resolve(undefined);
    lease.signal.addEventListener('abort', onLost, { once: true });
    this.#stopping.signal.addEventListener('abort', onStop, { once: true });
    try {
      const session = await Session.open({
        telemetry,
        bus,
        state,
        lease,
        runtimes: new Map(runtimes.map((runtime) => [runtime.name, runtime])),
        view: this.#view,
        metrics: this.#metrics,
        remediations: () => this.#remediations,
        abdicate: over.resolve,
      });
      this.#session = session;
      this.#leader.set(1);
      log.info({ fence: lease.fence }, 'holds the lease: remediation acts');
      asked();
      if (lease.signal.aborted) onLost();
      if (this.#stopping.signal.aborted) onStop();
      const cause = await over.promise;
      if (!this.#stopping.signal.aborted) log.warn({ err: cause }, 'lost the lease');
      await session.stop();
    } finally {
      this.#session = undefined;
      this.#leader.set(0);
      lease.signal.removeEventListener('abort', onLost);
      this.#stopping.signal.removeEventListener('abort', onStop);
      await lease.release();
    }
  }
}
