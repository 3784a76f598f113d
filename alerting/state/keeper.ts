import type { State } from '../../core/contracts/state.ts';
import type { AlertRecord, RuleRef } from '../../core/records/alert.ts';
import type { Telemetry } from '../../core/service.ts';
import type { RuleSource } from '../rules/rule.ts';
import type { Alert } from './machine.ts';

const ALERTS = 'alerting/alerts/';
/** When alerting was last seen at work: how long it was away matters to what was pending. */
const SEEN = 'alerting/seen';
/** Prometheus' `--rules.alert.for-outage-tolerance`. */
const OUTAGE_TOLERANCE = 3_600_000;
const SEEN_INTERVAL = 60_000;

/** What is kept of one alert. A NaN or an infinity as text: JSON has none. */
interface Kept {
  readonly rule: RuleRef;
  readonly alert: Omit<Alert, 'value'> & { readonly value: number | string };
  /** Its transition that may not be on the bus yet. */
  readonly unpublished?: Omit<AlertRecord, 'value'> & { readonly value: number | string };
}

export interface Restored {
  /** By the rule's id, then by fingerprint. */
  readonly rules: ReadonlyMap<
    string,
    { readonly rule: RuleSource; readonly alerts: ReadonlyMap<string, Alert> }
  >;
  /** Oldest first: to be published again; consumers know them by their ids. */
  readonly unpublished: readonly AlertRecord[];
}

/** The alerts in State: written before anybody hears of a change, and read at the start. */
export class AlertKeeper {
  readonly #state: State;
  readonly #telemetry: Telemetry;
  #seen = Number.NEGATIVE_INFINITY;

  constructor(state: State, telemetry: Telemetry) {
    this.#state = state;
    this.#telemetry = telemetry;
  }

  /** Durable when it resolves; all or nothing. */
  async put(
    changes: readonly {
      readonly rule: RuleSource;
      readonly alert: Alert;
      readonly unpublished?: AlertRecord | undefined;
    }[],
  ): Promise<void> {
    if (changes.length === 0) return;
    await this.#state.put(
      changes.map(({ rule, alert, unpublished }) => {
        const value: Kept = {
          rule: rule.ref,
          alert: { ...alert, value: encode(alert.value) },
          ...(unpublished === undefined
            ? {}
            : { unpublished: { ...unpublished, value: encode(unpublished.value) } }),
        };
        return { key: keyOf(rule.id, alert.fingerprint), value };
      }),
    );
  }

  async forget(rule: string, fingerprints: readonly string[]): Promise<void> {
    for (const fingerprint of fingerprints) await this.#state.delete(keyOf(rule, fingerprint));
  }

  /** Call it at every tick; writes once a minute. */
  async seen(): Promise<void> {
    const now = this.#telemetry.clock.now();
    if (Math.abs(now - this.#seen) < SEEN_INTERVAL) return;
    this.#seen = now;
    await this.#state.put([{ key: SEEN, value: now }]);
  }

  /**
   * What was pending before a long outage is not restored: nobody knows whether it was true all
   * along, and it would fire at once.
   */
  async restore(): Promise<Restored> {
    const seen = (await this.#state.get<number>(SEEN))?.value;
    const away = seen === undefined ? 0 : this.#telemetry.clock.now() - seen;
    const rules = new Map<string, { rule: RuleSource; alerts: Map<string, Alert> }>();
    const unpublished: AlertRecord[] = [];
    for (const { key, value } of await this.#state.list(ALERTS)) {
      const [id = '', fingerprint = ''] = key.slice(ALERTS.length).split('/');
      const kept = value as unknown as Kept;
      const alert: Alert = { ...kept.alert, value: Number(kept.alert.value) };
      if (alert.state === 'pending' && away > OUTAGE_TOLERANCE) {
        await this.forget(id, [fingerprint]);
        continue;
      }
      const entry = rules.get(id) ?? { rule: { id, ref: kept.rule }, alerts: new Map() };
      rules.set(id, entry);
      entry.alerts.set(fingerprint, alert);
      const record = kept.unpublished;
      if (record !== undefined) unpublished.push({ ...record, value: Number(record.value) });
    }
    unpublished.sort((a, b) => a.timestamp - b.timestamp);
    return { rules, unpublished };
  }
}

const keyOf = (rule: string, fingerprint: string): string => `${ALERTS}${rule}/${fingerprint}`;

/** Texts that `Number()` reads back. */
const encode = (value: number): number | string => (Number.isFinite(value) ? value : String(value));
