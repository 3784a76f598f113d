import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { Gauge } from 'prom-client';
import type { Bus } from '../core/contracts/bus.ts';
import type { LogQueryable, SampleQueryable } from '../core/contracts/queryable.ts';
import type { State } from '../core/contracts/state.ts';
import { formatError, type ReflexarcError } from '../core/errors.ts';
import type { Service, Telemetry } from '../core/service.ts';
import { evaluationMetrics } from './evaluation/metrics.ts';
import { Leader } from './leader.ts';
import { deliveryMetrics } from './notify/deliver.ts';
import { loadNotify, type NotifyConfig } from './notify/load.ts';
import { notifierMetrics } from './notify/notifier.ts';
import { loadRules } from './rules/load.ts';
import type { RuleGroup } from './rules/rule.ts';
import { watchFiles } from './rules/watch.ts';
import { type Needs, Window, type WindowMetrics, windowMetrics } from './window/window.ts';

/** A standby takes over so soon after the leader is gone; milliseconds. */
const LEASE_TTL = 5000;
const LEASE_RETRY = 1000;
const RETRY = 2000;
const WINDOW = { maxBytes: 128 * 1024 ** 2, maxReplay: 3_600_000 };

export interface AlertingDeps {
  readonly telemetry: Telemetry;
  /** The folder with `rules/` and `notify.yaml`. */
  readonly dir: string;
  /** For `${VAR}` in `notify.yaml`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly bus: Bus;
  readonly state: State;
  /** For what is older than the window's memory. */
  readonly store: LogQueryable & SampleQueryable;
  /** Where people reach this installation; for links in messages. */
  readonly externalUrl: string;
}

export interface Alerting extends Service {
  /** Reads the files again. A problem in any of them keeps everything that was running. */
  reload(): Promise<void>;
}

/**
 * Evaluates the rules over what passes on the bus, publishes alerts, and tells receivers. Only the
 * holder of the lease `alerting` does; another process keeps its window warm and waits.
 *
 * Resolves at once: `ready()` says when the bus has been replayed. Files with problems do not keep
 * it from starting; they are logged, and left out until they are right.
 */
export async function startAlerting(deps: AlertingDeps): Promise<Alerting> {
  const alerting = new AlertingService(deps);
  await alerting.start();
  return alerting;
}

class AlertingService implements Alerting {
  readonly name = 'alerting';
  readonly #deps: AlertingDeps;
  readonly #abort = new AbortController();
  readonly #windowMetrics: WindowMetrics;
  readonly #leaderMetrics;
  readonly #reloadOk: Gauge;
  readonly #reloadTime: Gauge;
  readonly #leading: Gauge;
  #groups: readonly RuleGroup[] = [];
  #notify: NotifyConfig | undefined;
  #window: Window | undefined;
  #needs = '';
  #leader: Leader | undefined;
  #watcher: { close(): void } | undefined;
  #running: Promise<void> = Promise.resolve();
  /** Reloads and changes of the leader, one at a time. */
  #turn: Promise<void> = Promise.resolve();
  #waitsFor: string | undefined = 'the bus is being replayed';

  constructor(deps: AlertingDeps) {
    this.#deps = deps;
    const { telemetry } = deps;
    const registers = [telemetry.metrics];
    this.#windowMetrics = windowMetrics(telemetry);
    this.#leaderMetrics = {
      metrics: evaluationMetrics(telemetry),
      notifierMetrics: { ...deliveryMetrics(telemetry), ...notifierMetrics(telemetry) },
    };
    this.#reloadOk = new Gauge({
      name: 'reflexarc_alerting_config_last_reload_successful',
      help: 'Whether the files were good when they were last read; 0: older ones are in use',
      registers,
    });
    this.#reloadTime = new Gauge({
      name: 'reflexarc_alerting_config_last_reload_success_timestamp_seconds',
      help: 'When good files were last read',
      registers,
    });
    this.#leading = new Gauge({
      name: 'reflexarc_alerting_leading',
      help: 'Whether this process evaluates and publishes; 0: it is a standby',
      registers,
    });
  }

  start(): Promise<void> {
    const { dir, env, telemetry } = this.#deps;
    const { rules, problems } = loadRules(dir);
    const notify = loadNotify(dir, env);
    this.#report([...problems, ...notify.problems], 'the files with problems are left out');
    this.#groups = rules;
    this.#notify = notify.config;
    this.#watcher = watchFiles(dir, telemetry.clock, () => void this.reload());
    this.#running = this.#run();
    return Promise.resolve();
  }

  ready(): { ok: boolean; reason?: string } {
    return this.#waitsFor === undefined ? { ok: true } : { ok: false, reason: this.#waitsFor };
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const { dir, env, telemetry } = this.#deps;
      const { rules, problems } = loadRules(dir);
      const notify = loadNotify(dir, env);
      if (!this.#report([...problems, ...notify.problems], 'what was running goes on')) return;
      this.#notify = notify.config;
      this.#leader?.notify(notify.config);
      if (signature(rules) !== signature(this.#groups)) {
        // Before the first window it is enough to know them.
        if (this.#window === undefined) this.#groups = rules;
        else await this.#change(rules, this.#window);
      }
      telemetry.log.info({ groups: rules.length }, 'rules and notify.yaml were read');
    }).catch((error: unknown) => {
      this.#reloadOk.set(0);
      this.#deps.telemetry.log.error(
        { err: error },
        `the files could not be taken over, what was running goes on: ${formatError(error)}`,
      );
    });
  }

  /** The new rules take over when a window that holds all they look at is full. */
  async #change(groups: readonly RuleGroup[], old: Window): Promise<void> {
    const needs = needsOf(groups);
    if (JSON.stringify(needs) === this.#needs) {
      this.#groups = groups;
      await this.#leader?.apply(groups, old);
      return;
    }
    const window = await this.#openWindow(needs);
    this.#groups = groups;
    this.#window = window;
    await this.#leader?.apply(groups, window);
    await old.close();
  }

  async #openWindow(needs: Needs): Promise<Window> {
    const { telemetry, store, bus } = this.#deps;
    const window = new Window(
      { telemetry, store, metrics: this.#windowMetrics, options: WINDOW },
      needs,
    );
    try {
      await window.start(bus, (news) => this.#leader?.onNews(news, window), this.#abort.signal);
    } catch (error) {
      await window.close();
      throw error;
    }
    this.#needs = JSON.stringify(needs);
    return window;
  }

  /** @returns whether there was no problem */
  #report(problems: readonly ReflexarcError[], meanwhile: string): boolean {
    const { log, clock } = this.#deps.telemetry;
    this.#reloadOk.set(problems.length === 0 ? 1 : 0);
    if (problems.length === 0) {
      this.#reloadTime.set(clock.now() / 1000);
      return true;
    }
    const texts = problems.map(formatError);
    log.error(
      { problems: texts },
      `the configuration has problems, ${meanwhile}: ${texts.join('; ')}`,
    );
    return false;
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(run);
    this.#turn = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { telemetry } = this.#deps;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      try {
        await this.#inTurn(async () => {
          this.#window ??= await this.#openWindow(needsOf(this.#groups));
        });
        this.#waitsFor = undefined;
        await this.#lead();
      } catch (error) {
        if (signal.aborted) return;
        this.#waitsFor = formatError(error);
        telemetry.log.error(
          { err: error },
          `alerting cannot work, trying again in ${RETRY} ms: ${formatError(error)}`,
        );
        await telemetry.clock.sleep(RETRY, signal).catch(() => {});
      }
    }
  }

  /** Waits for the lease, and works until it is lost. */
  async #lead(): Promise<void> {
    const { telemetry, state } = this.#deps;
    const { signal } = this.#abort;
    const lease = await state.acquire('alerting', `${hostname()}/${randomUUID()}`, LEASE_TTL);
    if (lease === undefined) {
      await telemetry.clock.sleep(LEASE_RETRY, signal).catch(() => {});
      return;
    }
    const leader = new Leader({ ...this.#deps, ...this.#leaderMetrics }, lease, this.#notify);
    try {
      if (signal.aborted) return;
      await this.#inTurn(async () => {
        if (this.#window === undefined) return;
        leader.notify(this.#notify);
        await leader.start(this.#groups, this.#window);
        this.#leader = leader;
      });
      this.#leading.set(1);
      telemetry.log.info({ fence: lease.fence, groups: this.#groups.length }, 'alerting leads');
      await fired(AbortSignal.any([signal, lease.signal]));
      if (lease.signal.aborted && !signal.aborted) {
        telemetry.log.warn('the lease is lost: another process leads alerting, or State is slow');
      }
    } finally {
      this.#leading.set(0);
      await this.#inTurn(async () => {
        this.#leader = undefined;
        await leader.stop();
      });
      await lease.release();
    }
  }

  async stop(): Promise<void> {
    this.#watcher?.close();
    this.#abort.abort();
    await this.#running;
    await this.#inTurn(async () => {
      await this.#window?.close();
      this.#window = undefined;
    });
  }
}

const fired = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Changes with everything that rules do. */
const signature = (groups: readonly RuleGroup[]): string =>
  JSON.stringify(
    groups.map(({ file, name, interval, limit, rules }) => [
      file,
      name,
      interval,
      limit,
      rules.map(({ id, version }) => [id, version]),
    ]),
  );

function needsOf(groups: readonly RuleGroup[]): Needs {
  const queries = groups.flatMap(({ rules }) => rules.map(({ query }) => query));
  return {
    logs: queries.flatMap(({ logs }) =>
      logs.map(({ pipeline, lookback }) => ({
        matchers: pipeline.matchers,
        filters: pipeline.filters,
        rows: !pipeline.pushable,
        lookback,
      })),
    ),
    samples: queries.flatMap(({ samples }) => samples),
  };
}
