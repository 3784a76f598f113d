import type { Timer } from '../core/clock.ts';
import type { Bus, Delivery, Subscription } from '../core/contracts/bus.ts';
import type { Runtime } from '../core/contracts/runtime.ts';
import type { Lease, State } from '../core/contracts/state.ts';
import { isReflexarcError, ReflexarcError } from '../core/errors.ts';
import { decodeAlerts } from '../core/records/codec.ts';
import type { Telemetry } from '../core/service.ts';
import { Alerts } from './alerts.ts';
import { type Case, serviceKey } from './case.ts';
import { Cases } from './cases.ts';
import type { Context } from './context.ts';
import { takeUp } from './intake.ts';
import { climb } from './ladder.ts';
import { Ledger } from './ledger.ts';
import type { Metrics } from './metrics.ts';
import type { Remediation } from './playbooks/load.ts';
import { Reports } from './reports.ts';
import type { View } from './view.ts';

const DAY = 86_400_000;
/** How long finished cases and ended alerts are kept, to know repeats by. */
const KEEP = DAY;
/** How long the ledger is kept at least, and an alert that fires on without news. */
const KEEP_LEDGER = 7 * DAY;
const PRUNE_EVERY = 3_600_000;
/** Behind on the bus, older news than this waits until it is known what came after. */
const FRESH = 10_000;
const RETRY = 5000;
const STALE_RETRY = 2000;
/** What stop() waits for a runtime's call under way, and for the bus. */
const CALL_PATIENCE = 5000;
const BUS_PATIENCE = 2000;

export interface SessionDeps {
  readonly telemetry: Telemetry;
  readonly bus: Bus;
  readonly state: State;
  readonly lease: Lease;
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly view: View;
  readonly metrics: Metrics;
  /** As the file has them now. */
  readonly remediations: () => ReadonlyMap<string, Remediation>;
  readonly abdicate: (cause: unknown) => void;
}

/** What runs while this process holds the lease: alerts come in, cases go their way. */
export class Session {
  readonly #deps: SessionDeps;
  readonly #context: Context;
  readonly #stopping = new AbortController();
  readonly #ending = new AbortController();
  readonly #running = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();
  readonly #waking = new Map<string, () => void>();
  readonly #timers = new Map<string, Timer>();
  readonly #considering = new Map<string, Promise<void>>();
  readonly #deferred = new Set<string>();
  readonly #unsaved = new Set<string>();
  readonly #unlisten: () => void;
  #subscription: Subscription | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(deps: SessionDeps, alerts: Alerts, cases: Cases, ledger: Ledger) {
    this.#deps = deps;
    this.#context = {
      clock: deps.telemetry.clock,
      log: deps.telemetry.log,
      lease: deps.lease,
      since: deps.telemetry.clock.now(),
      runtimes: deps.runtimes,
      view: deps.view,
      alerts,
      cases,
      ledger,
      reports: new Reports(deps.bus, deps.telemetry, deps.metrics, (one) => this.#onSent(one)),
      metrics: deps.metrics,
      remediation: (name) => deps.remediations().get(name),
      stopping: this.#stopping.signal,
      ending: this.#ending.signal,
      busy: new Map(),
      pause: (one, ms) => this.#pause(one, ms),
      abdicate: (cause) => this.#abdicate(cause),
    };
    this.#unlisten = deps.view.onNews(({ runtime, id }) => this.#onNews(runtime, id));
  }

  /** Takes up what an earlier process left, then listens. */
  static async open(deps: SessionDeps): Promise<Session> {
    const { state } = deps;
    const [alerts, cases, ledger] = await Promise.all([
      Alerts.open(state),
      Cases.open(state),
      Ledger.open(state),
    ]);
    const session = new Session(deps, alerts, cases, ledger);
    session.#resume();
    session.#subscription = await deps.bus.subscribe('alerts', 'remediation', (delivery) =>
      session.#take(delivery),
    );
    session.#prune();
    return session;
  }

  /** The file has changed: what fires is looked at anew. */
  reconsider(): void {
    for (const one of this.#context.cases.all()) {
      if (one.status !== 'finished' && one.status !== 'refused') this.#kick(one);
    }
    for (const fingerprint of this.#context.alerts.firing()) this.#consider(fingerprint);
  }

  /** No new step; a call under way is waited for, within bounds. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  #resume(): void {
    const { cases, busy, reports, alerts } = this.#context;
    for (const one of cases.all()) {
      if (one.outbox.length > 0) reports.resend(one);
      // Before anything else is decided, the services of cases under way are taken.
      if (one.status === 'acting' || one.status === 'verifying') {
        busy.set(serviceKey(one.subject), one);
      }
    }
    for (const one of cases.all()) {
      if (one.status !== 'refused' || one.until !== undefined) this.#kick(one);
    }
    for (const fingerprint of alerts.firing()) this.#consider(fingerprint);
  }

  /** Durable before it resolves; decided without holding up the partition. */
  async #take({ partition, messages, end }: Delivery): Promise<undefined> {
    const { alerts, metrics, clock, log } = this.#context;
    if (this.#stopping.signal.aborted) throw new ReflexarcError('cancelled', 'remediation stops');
    const touched = new Set<string>();
    for (const message of messages) {
      const { records, bad } = decodeAlerts(message.value);
      for (const { error } of bad) {
        metrics.bad.inc();
        log.error({ err: error, partition, offset: message.offset }, 'an alert cannot be read');
      }
      for (const record of records) {
        const isNew = alerts.take(record, partition, message.offset);
        metrics.alerts.inc({ outcome: isNew ? 'taken' : 'repeated' });
        if (isNew) touched.add(record.fingerprint);
      }
    }
    for (const fingerprint of touched) this.#unsaved.add(fingerprint);
    const saving = [...this.#unsaved];
    const saved = alerts.save(saving);
    // While there is more on the bus, an old alert may have ended already.
    const last = messages.at(-1);
    const behind = last !== undefined && last.offset + 1 < end;
    for (const fingerprint of touched) {
      const at = alerts.get(fingerprint)?.record.timestamp ?? 0;
      if (behind && clock.now() - at > FRESH) this.#deferred.add(fingerprint);
      else this.#consider(fingerprint);
    }
    if (!behind) {
      for (const fingerprint of this.#deferred) this.#consider(fingerprint);
      this.#deferred.clear();
    }
    // Where this fails, the same messages come again, and are repeats by then.
    await saved;
    for (const fingerprint of saving) this.#unsaved.delete(fingerprint);
    return undefined;
  }

  /** Brings an alert's news to its cases; one at a time per alert, the newest last. */
  #consider(fingerprint: string): void {
    const before = this.#considering.get(fingerprint);
    const run = (before ?? Promise.resolve()).then(() => this.#considerNow(fingerprint));
    this.#considering.set(fingerprint, run);
    void run.finally(() => {
      if (this.#considering.get(fingerprint) === run) this.#considering.delete(fingerprint);
    });
  }

  async #considerNow(fingerprint: string): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const { alerts, cases } = this.#context;
    const tracked = alerts.get(fingerprint);
    if (tracked === undefined) return;
    try {
      if (tracked.record.state !== 'firing') {
        for (const one of cases.all()) {
          if (one.alert.fingerprint !== fingerprint) continue;
          if (one.status === 'waiting' || one.status === 'refused') this.#kick(one);
        }
        return;
      }
      const grounds = alerts.grounds(fingerprint);
      const taken = await takeUp(
        this.#context,
        this.#deps.remediations().values(),
        tracked.record,
        grounds,
      );
      for (const one of taken.cases) this.#kick(one);
      if (taken.stale)
        this.#later(`alert ${fingerprint}`, STALE_RETRY, () => this.#consider(fingerprint));
      else alerts.settle(fingerprint, tracked);
    } catch (error) {
      this.#onError(error, `alert ${fingerprint}`, () => this.#consider(fingerprint));
    }
  }

  /** Has the case go on, or wakes it where it pauses. */
  #kick(one: Case): void {
    this.#waking.get(one.id)?.();
    if (this.#running.has(one.id)) {
      this.#again.add(one.id);
      return;
    }
    if (this.#stopping.signal.aborted || one.status === 'finished') return;
    // A refusal that concerns no instance has nothing to go on with.
    if (one.subject.id === undefined) return;
    this.#timers.get(one.id)?.cancel();
    this.#timers.delete(one.id);
    const run = this.#run(one).finally(() => {
      this.#running.delete(one.id);
      if (this.#again.delete(one.id)) this.#kick(one);
    });
    this.#running.set(one.id, run);
  }

  async #run(one: Case): Promise<void> {
    try {
      await climb(this.#context, one);
    } catch (error) {
      this.#onError(error, one.id, () => this.#kick(one));
      return;
    }
    const { until } = one;
    if ((one.status === 'waiting' || one.status === 'refused') && until !== undefined) {
      this.#later(one.id, Math.min(until - this.#context.clock.now(), DAY), () => this.#kick(one));
    }
    if (one.status === 'finished') this.#onFinished(one);
    const service = serviceKey(one.subject);
    if (!this.#context.busy.has(service)) this.#wakeWaiting(service);
  }

  #onFinished(one: Case): void {
    // Evidence against its own new run is the ground of another case.
    if (one.outcome !== 'verified' && one.against !== undefined) {
      this.#consider(one.alert.fingerprint);
    }
  }

  #wakeWaiting(service: string): void {
    const waiting = [...this.#context.cases.all()].filter(
      (one) =>
        one.status === 'waiting' && one.reason === 'busy' && serviceKey(one.subject) === service,
    );
    for (const one of waiting.sort((a, b) => a.openedAt - b.openedAt)) this.#kick(one);
  }

  #onNews(runtime: string, id: string | undefined): void {
    for (const one of this.#context.cases.all()) {
      if (one.subject.runtime !== runtime || one.status === 'finished') continue;
      const isMine = id === undefined || id === one.subject.id;
      const wakes =
        one.status === 'refused'
          ? one.reason === 'keep_up' || (one.reason === 'engine_acts' && isMine)
          : one.status === 'waiting'
            ? one.reason === 'stale_view' && isMine
            : isMine;
      if (wakes) this.#kick(one);
    }
  }

  #pause(one: Case, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // News that came while it was looking has it look again.
    if (this.#again.delete(one.id)) return Promise.resolve();
    const timer = this.#context.clock.after(Math.max(0, Math.min(ms, DAY)), resolve);
    this.#waking.set(one.id, resolve);
    return promise.finally(() => {
      timer.cancel();
      if (this.#waking.get(one.id) === resolve) this.#waking.delete(one.id);
      this.#again.delete(one.id);
    });
  }

  #later(key: string, ms: number, run: () => void): void {
    this.#timers.get(key)?.cancel();
    if (this.#stopping.signal.aborted) return;
    const timer = this.#context.clock.after(Math.max(0, ms), () => {
      if (this.#timers.get(key) === timer) this.#timers.delete(key);
      if (!this.#stopping.signal.aborted) run();
    });
    this.#timers.set(key, timer);
  }

  #onError(error: unknown, key: string, again: () => void): void {
    // Whoever else wrote what is ours acts in our place.
    if (isReflexarcError(error, 'conflict') || isReflexarcError(error, 'lease_lost')) {
      this.#abdicate(error);
      return;
    }
    if (this.#stopping.signal.aborted) return;
    this.#context.metrics.errors.inc();
    this.#context.log.error({ err: error }, 'remediation failed at a step, and tries again');
    this.#later(key, RETRY, again);
  }

  #onSent(one: Case): void {
    if (one.status !== 'finished' && one.status !== 'refused') return;
    this.#context.cases.save(one).catch((error: unknown) => {
      if (isReflexarcError(error, 'conflict')) this.#abdicate(error);
      else this.#context.log.warn({ err: error }, 'a case could not be tidied up');
    });
  }

  #prune(): void {
    this.#later('prune', PRUNE_EVERY, () => {
      const { clock, alerts, cases, ledger, log } = this.#context;
      const now = clock.now();
      let longest = KEEP_LEDGER;
      for (const { limits } of this.#deps.remediations().values()) {
        longest = Math.max(longest, limits.window, limits.cooldown);
      }
      Promise.all([
        cases.prune(now - KEEP),
        alerts.prune(now - KEEP, now - KEEP_LEDGER),
        ledger.prune(now - longest),
      ]).catch((error: unknown) => log.warn({ err: error }, 'old cases could not be removed'));
      this.#prune();
    });
  }

  #abdicate(cause: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort(cause);
    this.#ending.abort(cause);
    this.#deps.abdicate(cause);
  }

  async #stop(): Promise<void> {
    const { clock, reports } = this.#context;
    const cause = new ReflexarcError('cancelled', 'remediation stops');
    this.#stopping.abort(cause);
    this.#unlisten();
    for (const timer of this.#timers.values()) timer.cancel();
    for (const wake of this.#waking.values()) wake();
    const timer = clock.after(CALL_PATIENCE, () => this.#ending.abort(cause));
    await this.#subscription?.close();
    await Promise.all(this.#considering.values());
    await Promise.all(this.#running.values());
    timer.cancel();
    await reports.close(BUS_PATIENCE);
  }
}
