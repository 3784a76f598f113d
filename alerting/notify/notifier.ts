import { Gauge } from 'prom-client';
import type { BusReader, Delivery, Subscription } from '../../core/contracts/bus.ts';
import type { State } from '../../core/contracts/state.ts';
import { formatError } from '../../core/errors.ts';
import { formatLabels } from '../../core/labels.ts';
import { decodeActions } from '../../core/records/codec.ts';
import type { Telemetry } from '../../core/service.ts';
import type { RuleSource } from '../rules/rule.ts';
import type { Alert } from '../state/machine.ts';
import { type DeliveryMetrics, Sender } from './deliver.ts';
import { AlertGroup, type GroupDeps } from './group.ts';
import { Heals } from './heals.ts';
import type { NotifyConfig } from './load.ts';
import { NotificationLog } from './log.ts';
import type { NotifyAlert } from './message.ts';
import { groupLabels, routesFor } from './route.ts';
import { StepMessages } from './steps.ts';

/** Kept for an alert that is in no group any more, milliseconds. */
const HEAL_RETENTION = 3_600_000;
/** Alertmanager's `--data.retention`. */
const LOG_RETENTION = 5 * 86_400_000;
const PRUNE_INTERVAL = 600_000;

export interface NotifierDeps {
  readonly telemetry: Telemetry;
  readonly metrics: DeliveryMetrics & ReturnType<typeof notifierMetrics>;
  readonly state: State;
  readonly bus: BusReader;
  readonly externalUrl: string;
}

export function notifierMetrics({ metrics }: Telemetry) {
  return {
    groups: new Gauge({
      name: 'reflexarc_alerting_notification_groups',
      help: 'Groups of alerts that are being notified',
      registers: [metrics],
    }),
  };
}

/** Tells people: routes alerts into groups, and groups to receivers. Runs where alerting leads. */
export class Notifier {
  readonly #deps: NotifierDeps;
  readonly #abort = new AbortController();
  readonly #log: NotificationLog;
  readonly #heals: Heals;
  readonly #steps: StepMessages;
  readonly #groups = new Map<string, AlertGroup>();
  /** Every alert that was put, firing or just resolved: to route anew when the routes change. */
  readonly #alerts = new Map<string, NotifyAlert>();
  #config: NotifyConfig | undefined;
  #senders: ReadonlyMap<string, readonly Sender[]> = new Map();
  #actions: Subscription | undefined;
  #pruned = 0;

  constructor(deps: NotifierDeps, config: NotifyConfig | undefined) {
    this.#deps = deps;
    this.#log = new NotificationLog(deps.state);
    this.#heals = new Heals(deps.state);
    this.#steps = new StepMessages({
      telemetry: deps.telemetry,
      state: deps.state,
      externalUrl: deps.externalUrl,
      signal: this.#abort.signal,
      sendersOf: (receiver) => this.#senders.get(receiver),
      alertOf: (fingerprint) => this.#alerts.get(fingerprint),
    });
    this.#configure(config);
  }

  /** Reads what was notified, and begins to listen to remediation. Before the first `put`. */
  async start(): Promise<void> {
    await Promise.all([this.#log.restore(), this.#heals.restore()]);
    await this.#steps.restore();
    this.#actions = await this.#deps.bus.subscribe('actions', 'alerting-actions', (delivery) =>
      this.#onActions(delivery),
    );
  }

  /** An alert that fires or has ended; others concern nobody. */
  put(rule: RuleSource, alert: Alert): void {
    if (alert.startsAt === undefined) return;
    const known: NotifyAlert = {
      fingerprint: alert.fingerprint,
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: alert.startsAt,
      ...(alert.endsAt === undefined ? {} : { endsAt: alert.endsAt }),
      generatorUrl: generatorUrl(rule, this.#deps.externalUrl),
    };
    this.#alerts.set(alert.fingerprint, known);
    this.#route(known);
  }

  /** It has been resolved long ago: forget it. @returns false while somebody must still be told */
  release(fingerprint: string): boolean {
    for (const group of this.#groups.values()) if (group.has(fingerprint)) return false;
    this.#alerts.delete(fingerprint);
    return true;
  }

  /** What was notified stays known; groups are made anew by the new routes. */
  reload(config: NotifyConfig | undefined): void {
    for (const group of this.#groups.values()) group.stop();
    this.#groups.clear();
    this.#configure(config);
    for (const alert of this.#alerts.values()) this.#route(alert);
  }

  /** What is on its way to a receiver may arrive; after `grace` milliseconds it is given up. */
  async stop(grace: number): Promise<void> {
    this.#config = undefined;
    for (const group of this.#groups.values()) group.stop();
    await this.#actions?.close();
    const settled = Promise.all([
      ...[...this.#groups.values()].map((group) => group.settled()),
      this.#steps.settled(),
    ]);
    const timer = this.#deps.telemetry.clock.after(grace, () => this.#abort.abort());
    await settled;
    timer.cancel();
    this.#abort.abort();
  }

  /** From time to time: what nobody needs any more goes. */
  async prune(): Promise<void> {
    const now = this.#deps.telemetry.clock.now();
    if (Math.abs(now - this.#pruned) < PRUNE_INTERVAL) return;
    this.#pruned = now;
    await this.#heals.prune(
      (fingerprint, heal) => !this.#alerts.has(fingerprint) && now - heal.at > HEAL_RETENTION,
    );
    await this.#log.prune((entry) => now - entry.at > LOG_RETENTION && !this.#isLive(entry.group));
  }

  #isLive(groupKey: string): boolean {
    for (const { key } of this.#groups.values()) if (key === groupKey) return true;
    return false;
  }

  #configure(config: NotifyConfig | undefined): void {
    this.#config = config;
    const { telemetry, metrics } = this.#deps;
    this.#senders = new Map(
      [...(config?.receivers ?? [])].map(([name, { integrations }]) => [
        name,
        integrations.map((each) => new Sender(name, each, telemetry, metrics)),
      ]),
    );
  }

  #route(alert: NotifyAlert): void {
    if (this.#config === undefined || this.#abort.signal.aborted) return;
    for (const route of routesFor(this.#config.route, alert.labels)) {
      const labels = groupLabels(route, alert.labels);
      const key = `${route.key}:${formatLabels(labels)}`;
      // Two routes may have the same matchers, and so the same key.
      const id = `${key}\u0000${route.receiver}`;
      let group = this.#groups.get(id);
      if (group === undefined) {
        const made = new AlertGroup(
          key,
          route,
          labels,
          this.#senders.get(route.receiver) ?? [],
          this.#groupDeps(id),
        );
        this.#groups.set(id, made);
        this.#deps.metrics.groups.set(this.#groups.size);
        group = made;
      }
      group.put(alert);
    }
  }

  #groupDeps(id: string): GroupDeps {
    const { telemetry, externalUrl } = this.#deps;
    return {
      telemetry,
      log: this.#log,
      externalUrl,
      signal: this.#abort.signal,
      decorate: (alert) => {
        const heal = this.#heals.get(alert.fingerprint);
        // The heal of an earlier firing is not this one's.
        if (heal === undefined || heal.at < alert.startsAt) return alert;
        return { ...alert, annotations: { ...alert.annotations, remediation: heal.text } };
      },
      onEmpty: (group) => {
        if (this.#groups.get(id) === group) this.#groups.delete(id);
        this.#deps.metrics.groups.set(this.#groups.size);
      },
    };
  }

  async #onActions({ messages }: Delivery): Promise<undefined> {
    const { log } = this.#deps.telemetry;
    for (const { value } of messages) {
      const { records, bad } = decodeActions(value);
      for (const { error } of bad) log.warn({ err: error }, 'an action could not be read');
      for (const action of records) {
        if (action.phase === 'notified' && action.receiver !== undefined && !action.dryRun) {
          await this.#steps.take(action);
          continue;
        }
        const { fingerprint } = action.alert;
        const alert = this.#alerts.get(fingerprint);
        const heal = await this.#heals.take(action, alert?.startsAt ?? Number.NEGATIVE_INFINITY);
        if (heal?.tell !== true) continue;
        // Everybody was told that it ended, and forgot it.
        if (heal.ended && alert?.endsAt !== undefined) this.#route(alert);
        for (const group of this.#groups.values()) group.update(fingerprint);
      }
    }
    this.prune().catch((error: unknown) => {
      log.warn({ err: error }, `old notifications could not be removed: ${formatError(error)}`);
    });
    return undefined;
  }
}

/** Where the expression can be looked at. */
function generatorUrl(rule: RuleSource, externalUrl: string): string {
  const path = rule.ref.kind === 'logql' ? '/loki/api/v1/query' : '/api/v1/query';
  return `${externalUrl.replace(/\/$/, '')}${path}?query=${encodeURIComponent(rule.ref.expr)}`;
}
