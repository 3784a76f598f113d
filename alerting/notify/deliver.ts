import { Counter, Gauge, Histogram } from 'prom-client';
import { formatError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { post } from './http.ts';
import type { Integration } from './integration.ts';
import type { Message } from './message.ts';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 60_000;
/** At once for one receiver; what comes beyond waits. */
const CONCURRENT = 4;
const MAX_WAITING = 1000;

export function deliveryMetrics({ metrics }: Telemetry) {
  const labelNames = ['receiver', 'integration'] as const;
  const registers = [metrics];
  return {
    sent: new Counter({
      name: 'reflexarc_alerting_notifications_total',
      help: 'Messages that were to be sent; those that failed among them',
      labelNames,
      registers,
    }),
    failed: new Counter({
      name: 'reflexarc_alerting_notifications_failed_total',
      help: "Messages that were given up, until the group's next interval",
      labelNames: [...labelNames, 'reason'],
      registers,
    }),
    retries: new Counter({
      name: 'reflexarc_alerting_notification_retries_total',
      help: 'Attempts after the first',
      labelNames,
      registers,
    }),
    seconds: new Histogram({
      name: 'reflexarc_alerting_notification_seconds',
      help: 'Time taken for one attempt',
      labelNames,
      buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30],
      registers,
    }),
    waiting: new Gauge({
      name: 'reflexarc_alerting_notifications_waiting',
      help: 'Messages that wait for their receiver',
      labelNames,
      registers,
    }),
  };
}

export type DeliveryMetrics = ReturnType<typeof deliveryMetrics>;

/**
 * Sends to one integration of a receiver: a few messages at once, the others wait in a bounded
 * queue, so that one dead receiver holds up no other.
 */
export class Sender {
  readonly integration: Integration;
  readonly #telemetry: Telemetry;
  readonly #metrics: DeliveryMetrics;
  readonly #labels: { receiver: string; integration: string };
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(
    receiver: string,
    integration: Integration,
    telemetry: Telemetry,
    metrics: DeliveryMetrics,
  ) {
    this.integration = integration;
    this.#telemetry = telemetry;
    this.#metrics = metrics;
    this.#labels = { receiver, integration: integration.name };
  }

  /**
   * Tries until it is delivered, refused for good, or `deadline` milliseconds have passed. What is
   * sent is made anew for each attempt; `undefined`: there is nothing to say any more.
   *
   * @returns what was delivered
   */
  async send<T extends { readonly message: Message }>(
    make: () => T | undefined,
    deadline: number,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const { clock, log } = this.#telemetry;
    if (!(await this.#enter())) {
      this.#metrics.failed.inc({ ...this.#labels, reason: 'queue_full' });
      log.error(this.#labels, `${MAX_WAITING} messages wait already: this one is not sent now`);
      return undefined;
    }
    const until = clock.monotonic() + deadline;
    try {
      for (let attempt = 0; ; attempt++) {
        const content = make();
        if (content === undefined || signal.aborted) return undefined;
        if (attempt === 0) this.#metrics.sent.inc(this.#labels);
        else this.#metrics.retries.inc(this.#labels);
        const started = clock.monotonic();
        const body = JSON.stringify(this.integration.payload(content.message));
        const outcome = await post(this.integration.target, body, clock, signal);
        this.#metrics.seconds.observe(this.#labels, (clock.monotonic() - started) / 1000);
        if (outcome.ok) return content;
        if (signal.aborted) return undefined;
        const pause = Math.max(
          outcome.after ?? 0,
          Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempt),
        );
        const { reason } = outcome;
        const text = formatError(outcome.error);
        if (!outcome.retry || clock.monotonic() + pause > until) {
          this.#metrics.failed.inc({ ...this.#labels, reason });
          log.error({ ...this.#labels, attempts: attempt + 1, reason }, `not notified: ${text}`);
          return undefined;
        }
        log.warn({ ...this.#labels, reason, pause }, `trying again: ${text}`);
        await clock.sleep(pause, signal).catch(() => {});
      }
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<boolean> {
    if (this.#running < CONCURRENT) {
      this.#running++;
      return true;
    }
    if (this.#waiting.length >= MAX_WAITING) return false;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#metrics.waiting.set(this.#labels, this.#waiting.length);
    });
    return true;
  }

  /** Hands its place to the next. */
  #leave(): void {
    const next = this.#waiting.shift();
    this.#metrics.waiting.set(this.#labels, this.#waiting.length);
    if (next === undefined) this.#running--;
    else next();
  }
}
