import type { BusReader, BusWriter } from '../core/contracts/bus.ts';
import type { Lease, State } from '../core/contracts/state.ts';
import { formatError, ReflexarcError } from '../core/errors.ts';
import { encodeSamples } from '../core/records/codec.ts';
import type { Sample } from '../core/records/metric.ts';
import type { Telemetry } from '../core/service.ts';
import type { Change, RuleDeps } from './evaluation/alert-rule.ts';
import { type GroupDeps, GroupRunner } from './evaluation/group.ts';
import type { EvaluationMetrics } from './evaluation/metrics.ts';
import type { NotifyConfig } from './notify/load.ts';
import { Notifier, type NotifierDeps } from './notify/notifier.ts';
import type { RuleGroup, RuleSource } from './rules/rule.ts';
import { Commits } from './state/commit.ts';
import { AlertKeeper } from './state/keeper.ts';
import { type Alerts, resolveAll } from './state/machine.ts';
import { Outbox } from './state/outbox.ts';
import { recordOf } from './state/record.ts';
import type { News, Window } from './window/window.ts';

/** Samples of one message on the bus. */
const CHUNK = 1000;
/** How long messages under way may take at the end, milliseconds. */
const GRACE = 3000;

export interface LeaderDeps {
  readonly telemetry: Telemetry;
  readonly metrics: EvaluationMetrics;
  readonly notifierMetrics: NotifierDeps['metrics'];
  readonly bus: BusReader & BusWriter;
  readonly state: State;
  readonly externalUrl: string;
}

/** Alerting at work: between the taking of the lease and its end. */
export class Leader {
  readonly #deps: LeaderDeps;
  readonly #lease: Lease;
  readonly #abort = new AbortController();
  readonly #keeper: AlertKeeper;
  readonly #outbox: Outbox;
  readonly #notifier: Notifier;
  readonly #commits: Commits;
  readonly #publishing = new Set<string>();
  /** Forgotten by their rules, and still to be told to somebody. */
  readonly #lingering = new Map<string, { rule: RuleSource; fingerprint: string }>();
  #groups: readonly GroupRunner[] = [];
  #window: Window | undefined;

  constructor(deps: LeaderDeps, lease: Lease, notify: NotifyConfig | undefined) {
    this.#deps = deps;
    this.#lease = lease;
    const signal = AbortSignal.any([lease.signal, this.#abort.signal]);
    this.#keeper = new AlertKeeper(deps.state, deps.telemetry);
    this.#outbox = new Outbox(deps, signal, (records) => this.#commits.published(records));
    this.#notifier = new Notifier({ ...deps, metrics: deps.notifierMetrics }, notify);
    this.#commits = new Commits(this.#keeper, deps.telemetry, (rule, alert, record) => {
      // Receivers first: their way is the longer one.
      this.#notifier.put(rule, alert);
      this.#lingering.delete(`${rule.id}/${alert.fingerprint}`);
      this.#outbox.add([record]);
    });
  }

  /** Takes up the alerts where the last leader left them. */
  async start(groups: readonly RuleGroup[], window: Window): Promise<void> {
    const restored = await this.#keeper.restore();
    this.#commits.restore(restored);
    await this.#notifier.start();
    for (const { rule, alerts } of restored.rules.values()) {
      for (const alert of alerts.values()) this.#notifier.put(rule, alert);
    }
    this.#outbox.add(restored.unpublished);
    const known = new Set(groups.flatMap(({ rules }) => rules.map(({ id }) => id)));
    for (const [id, { rule, alerts }] of restored.rules) {
      if (!known.has(id)) await this.#end(rule, alerts);
    }
    this.#window = window;
    this.#startGroups(groups, window, (id) => restored.rules.get(id)?.alerts ?? new Map());
  }

  /** The rules were taken out of the files while nobody was at work. */
  async #end(rule: RuleSource, alerts: Alerts): Promise<void> {
    const now = this.#deps.telemetry.clock.now();
    const { transitions } = resolveAll(alerts, now);
    const nothing = { evidence: [], newest: 0n, more: false };
    await this.#commit({
      rule,
      transitions: transitions.map((alert) => ({
        alert,
        record: recordOf(rule, alert, 'transition', nothing, now),
      })),
      kept: [],
      forgotten: [],
    });
    // No rule will forget them: they go when everybody knows.
    for (const fingerprint of alerts.keys()) this.#linger(rule, fingerprint);
  }

  /** New rules, or a new window: what did not change goes on, what is gone ends. */
  async apply(groups: readonly RuleGroup[], window: Window): Promise<void> {
    const old = this.#groups;
    await Promise.all(old.map((group) => group.stop()));
    const alerts = new Map<string, Alerts>();
    const next = new Set(groups.flatMap(({ rules }) => rules.map(({ id }) => id)));
    for (const group of old) {
      await group
        .end((rule) => !next.has(rule.id))
        .catch((error: unknown) => {
          // They are still in State as firing, and end at the next start.
          this.#deps.telemetry.log.error(
            { err: error },
            `alerts of removed rules could not be ended: ${formatError(error)}`,
          );
        });
      for (const runner of group.alerts) {
        if (next.has(runner.rule.id)) alerts.set(runner.rule.id, runner.alerts);
        else {
          for (const fingerprint of runner.alerts.keys()) this.#linger(runner.rule, fingerprint);
        }
      }
      this.#deps.metrics.rules.remove({ rule_group: `${group.group.file};${group.group.name}` });
    }
    this.#window = window;
    this.#startGroups(groups, window, (id) => alerts.get(id) ?? new Map());
  }

  notify(config: NotifyConfig | undefined): void {
    this.#notifier.reload(config);
  }

  onNews(news: News, from: Window): void {
    // While rules change, a window may already be full of what nobody asks yet.
    if (from !== this.#window) return;
    for (const group of this.#groups) group.onNews(news);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#groups.map((group) => group.stop()));
    const { clock } = this.#deps.telemetry;
    const timer = clock.after(GRACE, () => this.#abort.abort());
    await Promise.all([this.#outbox.settled(), this.#notifier.stop(GRACE)]);
    timer.cancel();
    if (!this.#lease.signal.aborted) await this.#commits.flush();
    this.#abort.abort();
  }

  #startGroups(
    groups: readonly RuleGroup[],
    window: Window,
    alertsOf: (rule: string) => Alerts,
  ): void {
    const deps = this.#groupDeps(window);
    this.#groups = groups.map((group) => new GroupRunner(group, deps, alertsOf));
    for (const group of this.#groups) group.start();
  }

  #groupDeps(window: Window): GroupDeps {
    const { telemetry, metrics, externalUrl } = this.#deps;
    const rules: RuleDeps = {
      telemetry,
      metrics,
      window,
      externalUrl,
      commit: (change) => this.#commit(change),
      publish: (record) => this.#outbox.add([record]),
      observe: (rule, alerts) => {
        for (const alert of alerts) this.#notifier.put(rule, alert);
      },
    };
    return {
      ...rules,
      publishSamples: (key, samples) => this.#publishSamples(key, samples),
      onTick: () => this.#onTick(),
    };
  }

  async #commit(change: Change): Promise<void> {
    if (this.#lease.signal.aborted) {
      throw new ReflexarcError('lease_lost', 'another process leads alerting now', {
        cause: this.#lease.signal.reason,
      });
    }
    await this.#commits.commit(change);
    for (const fingerprint of change.forgotten) this.#linger(change.rule, fingerprint);
    if (change.forgotten.length > 0) await this.#forget();
  }

  #linger(rule: RuleSource, fingerprint: string): void {
    this.#lingering.set(`${rule.id}/${fingerprint}`, { rule, fingerprint });
  }

  async #forget(): Promise<void> {
    for (const [key, { rule, fingerprint }] of this.#lingering) {
      if (!this.#commits.isPublished(rule, fingerprint)) continue;
      if (!this.#notifier.release(fingerprint)) continue;
      this.#lingering.delete(key);
      await this.#commits.forget(rule, fingerprint);
    }
  }

  #onTick(): void {
    const counts = { pending: 0, firing: 0, resolved: 0 };
    for (const group of this.#groups) {
      for (const { alerts } of group.alerts)
        for (const { state } of alerts.values()) counts[state]++;
    }
    for (const [state, count] of Object.entries(counts))
      this.#deps.metrics.alerts.set({ state }, count);
    Promise.all([this.#keeper.seen(), this.#forget(), this.#notifier.prune()]).catch(
      (error: unknown) => {
        this.#deps.telemetry.log.warn(
          { err: error },
          `alerting's state could not be kept: ${formatError(error)}`,
        );
      },
    );
  }

  /** A full bus must not hold up evaluation: samples of the next tick wait for no older ones. */
  #publishSamples(key: string, samples: readonly Sample[]): void {
    const { bus, metrics, telemetry } = this.#deps;
    if (this.#publishing.has(key)) {
      metrics.dropped.inc({ what: 'samples' }, samples.length);
      telemetry.log.warn({ group: key }, 'the bus is slow: the samples of a tick are dropped');
      return;
    }
    this.#publishing.add(key);
    const messages = [];
    for (let from = 0; from < samples.length; from += CHUNK) {
      const chunk = samples.slice(from, from + CHUNK);
      messages.push({ key: `rules/${key}`, value: encodeSamples(chunk), records: chunk.length });
    }
    bus
      .publish('metrics', messages, this.#abort.signal)
      .catch((error: unknown) => {
        if (this.#abort.signal.aborted) return;
        metrics.unpublished.inc({ topic: 'metrics' });
        telemetry.log.error(
          { err: error, group: key },
          `a tick's samples could not be published: ${formatError(error)}`,
        );
      })
      .finally(() => this.#publishing.delete(key));
  }
}
