import type { Timer } from '../../core/clock.ts';
import { formatError } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Sender } from './deliver.ts';
import type { NotificationLog, Notified } from './log.ts';
import { type Message, messageOf, type NotifyAlert, sortAlerts } from './message.ts';
import type { Route } from './route.ts';

/** How long a message is tried at least, milliseconds. */
const MIN_DEADLINE = 10_000;
/** A resolved alert whose message cannot be delivered is given up after this, milliseconds. */
const MAX_UNDELIVERED = 86_400_000;

export interface GroupDeps {
  readonly telemetry: Telemetry;
  readonly log: NotificationLog;
  readonly externalUrl: string;
  readonly signal: AbortSignal;
  /** An alert with what is known about its heal. */
  readonly decorate: (alert: NotifyAlert) => NotifyAlert;
  readonly onEmpty: (group: AlertGroup) => void;
}

/** One integration's part in a group. */
interface Way {
  readonly sender: Sender;
  running: Promise<void> | undefined;
  /** It was due while one was under way. */
  again: boolean;
  /** Alerts about whose heal there is news. */
  readonly updates: Set<string>;
}

/** Alerts that one message tells together, as Alertmanager's dispatcher groups them. */
export class AlertGroup {
  readonly key: string;
  readonly route: Route;
  readonly labels: Labels;
  readonly #deps: GroupDeps;
  readonly #alerts = new Map<string, NotifyAlert>();
  readonly #ways: readonly Way[];
  #timer: Timer | undefined;
  #flushed = false;
  #stopped = false;

  constructor(
    key: string,
    route: Route,
    labels: Labels,
    senders: readonly Sender[],
    deps: GroupDeps,
  ) {
    this.key = key;
    this.route = route;
    this.labels = labels;
    this.#deps = deps;
    this.#ways = senders.map((sender) => ({
      sender,
      running: undefined,
      again: false,
      updates: new Set(),
    }));
  }

  has(fingerprint: string): boolean {
    return this.#alerts.has(fingerprint);
  }

  put(alert: NotifyAlert): void {
    this.#alerts.set(alert.fingerprint, alert);
    if (this.#flushed) return;
    const { clock } = this.#deps.telemetry;
    const waited = clock.now() - alert.startsAt;
    if (waited >= this.route.groupWait) this.#flush();
    else if (this.#timer === undefined) this.#arm(this.route.groupWait);
  }

  /** Tells those who know of it, or are just being told, at once. */
  update(fingerprint: string): void {
    for (const way of this.#ways) {
      const known = this.#told(way).has(fingerprint);
      // What is on its way may have been written before this news came.
      const onItsWay = way.running !== undefined && this.#alerts.has(fingerprint);
      if (!known && !onItsWay) continue;
      way.updates.add(fingerprint);
      this.#run(way);
    }
  }

  #arm(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#deps.telemetry.clock.after(ms, () => this.#flush());
  }

  #flush(): void {
    if (this.#stopped) return;
    this.#flushed = true;
    this.#arm(this.route.groupInterval);
    for (const way of this.#ways) this.#run(way);
    if (this.#ways.length === 0) this.#forgetResolved();
  }

  #run(way: Way): void {
    if (this.#stopped) return;
    if (way.running !== undefined) {
      way.again = true;
      return;
    }
    way.again = false;
    way.running = this.#notify(way)
      .catch((error: unknown) => {
        // Not delivery, which reports for itself: the log in State.
        this.#deps.telemetry.log.error(
          { err: error, receiver: this.route.receiver },
          `what was notified could not be kept, and may be sent again after a restart: ${formatError(error)}`,
        );
      })
      .then(() => {
        way.running = undefined;
        if (way.again) this.#run(way);
        else this.#forgetResolved();
      });
  }

  async #notify(way: Way): Promise<void> {
    const { telemetry, log, signal } = this.#deps;
    const { integration } = way.sender;
    const delivered = await way.sender.send(
      () => this.#content(way),
      Math.max(this.route.groupInterval, MIN_DEADLINE),
      signal,
    );
    if (delivered !== undefined) {
      for (const fingerprint of delivered.updates) way.updates.delete(fingerprint);
    }
    const told = delivered ?? this.#quietly(way);
    if (told === undefined) return;
    await log.put({
      group: this.key,
      receiver: this.route.receiver,
      integration: integration.name,
      firing: told.firing,
      resolved: told.resolved,
      at: telemetry.clock.now(),
    });
  }

  /** What there is to say now; undefined: nothing. */
  #content(
    way: Way,
  ):
    | { message: Message; firing: string[]; resolved: string[]; updates: readonly string[] }
    | undefined {
    const { sendResolved } = way.sender.integration;
    const { firing, resolved } = this.#split();
    if (!this.#isDue(way, firing, resolved)) return undefined;
    const told = sendResolved
      ? [...this.#alerts.values()]
      : [...this.#alerts.values()].filter(({ endsAt }) => endsAt === undefined);
    if (told.length === 0) return undefined;
    const message = messageOf(
      {
        receiver: this.route.receiver,
        key: this.key,
        labels: this.labels,
        externalUrl: this.#deps.externalUrl,
      },
      sortAlerts(told.map(this.#deps.decorate)),
    );
    return { message, firing, resolved, updates: [...way.updates] };
  }

  /** Everything ended, and this way does not want to hear of it: known all the same. */
  #quietly(way: Way): { firing: string[]; resolved: string[] } | undefined {
    const { firing, resolved } = this.#split();
    if (way.sender.integration.sendResolved || firing.length > 0) return undefined;
    return (this.#notified(way)?.firing.length ?? 0) > 0 ? { firing, resolved } : undefined;
  }

  #split(): { firing: string[]; resolved: string[] } {
    const firing: string[] = [];
    const resolved: string[] = [];
    for (const { fingerprint, endsAt } of this.#alerts.values()) {
      (endsAt === undefined ? firing : resolved).push(fingerprint);
    }
    return { firing, resolved };
  }

  /** Alertmanager's `needsUpdate`, and news about a heal. */
  #isDue(way: Way, firing: readonly string[], resolved: readonly string[]): boolean {
    const last = this.#notified(way);
    if (last === undefined) return firing.length > 0;
    const known = new Set(last.firing);
    if (firing.some((each) => !known.has(each))) return true;
    const told = this.#told(way);
    if ([...way.updates].some((each) => told.has(each))) return true;
    if (firing.length === 0) return last.firing.length > 0;
    if (way.sender.integration.sendResolved) {
      const ended = new Set(last.resolved);
      if (resolved.some((each) => known.has(each) || !ended.has(each))) return true;
    }
    return this.#deps.telemetry.clock.now() - last.at >= this.route.repeatInterval;
  }

  /** Alerts that its receiver was told of: that they fire, and, if it hears that, that they ended. */
  #told(way: Way): ReadonlySet<string> {
    const last = this.#notified(way);
    const { sendResolved } = way.sender.integration;
    return new Set([...(last?.firing ?? []), ...(sendResolved ? (last?.resolved ?? []) : [])]);
  }

  #notified(way: Way): Notified | undefined {
    return this.#deps.log.get(this.key, this.route.receiver, way.sender.integration.name);
  }

  /** Resolved alerts that nobody believes to be firing. */
  #forgetResolved(): void {
    const now = this.#deps.telemetry.clock.now();
    for (const [fingerprint, { endsAt }] of this.#alerts) {
      if (endsAt === undefined) continue;
      const believed = this.#ways.some((way) => this.#notified(way)?.firing.includes(fingerprint));
      if (!believed || now - endsAt > MAX_UNDELIVERED) this.#alerts.delete(fingerprint);
    }
    if (this.#alerts.size > 0 || this.#ways.some(({ running }) => running !== undefined)) return;
    this.stop();
    this.#deps.onEmpty(this);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async settled(): Promise<void> {
    for (const way of this.#ways) while (way.running !== undefined) await way.running;
  }

  /** Its integrations' names, to clear the log by. */
  get integrations(): readonly string[] {
    return this.#ways.map(({ sender }) => sender.integration.name);
  }
}
