import type { Timer } from '../../core/clock.ts';
import { formatError } from '../../core/errors.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Change } from '../evaluation/alert-rule.ts';
import type { RuleSource } from '../rules/rule.ts';
import type { AlertKeeper, Restored } from './keeper.ts';
import type { Alert } from './machine.ts';

/** How long the marks of published transitions are collected, milliseconds. */
const MARK_AFTER = 500;

interface Latest {
  readonly rule: RuleSource;
  readonly alert: Alert;
  /** Its transition that is not on the bus yet, as far as we know. */
  readonly unpublished?: AlertRecord | undefined;
}

/**
 * The order in which a change becomes known: first State, with the record that tells of it, then
 * bus and receivers, and when the bus has it the record is taken out of State. A crash in between
 * leads to the same record once more, with the same id.
 */
export class Commits {
  readonly #keeper: AlertKeeper;
  readonly #telemetry: Telemetry;
  readonly #tell: (rule: RuleSource, alert: Alert, record: AlertRecord) => void;
  readonly #latest = new Map<string, Latest>();
  readonly #marks = new Set<string>();
  #timer: Timer | undefined;

  constructor(
    keeper: AlertKeeper,
    telemetry: Telemetry,
    tell: (rule: RuleSource, alert: Alert, record: AlertRecord) => void,
  ) {
    this.#keeper = keeper;
    this.#telemetry = telemetry;
    this.#tell = tell;
  }

  restore({ rules, unpublished }: Restored): void {
    const records = new Map(unpublished.map((record) => [record.id, record]));
    for (const { rule, alerts } of rules.values()) {
      for (const alert of alerts.values()) {
        const record = [...records.values()].find(
          (each) => each.fingerprint === alert.fingerprint && each.activeAt === alert.activeAt,
        );
        this.#latest.set(keyOf(rule, alert), { rule, alert, unpublished: record });
      }
    }
  }

  /** @throws what State throws: then nobody was told, and nothing has changed */
  async commit({ rule, transitions, kept }: Change): Promise<void> {
    const changes: Latest[] = [
      ...transitions.map(({ alert, record }) => ({ rule, alert, unpublished: record })),
      ...kept.map((alert) => ({
        rule,
        alert,
        unpublished: this.#latest.get(keyOf(rule, alert))?.unpublished,
      })),
    ];
    await this.#keeper.put(changes);
    for (const change of changes) this.#latest.set(keyOf(rule, change.alert), change);
    for (const { alert, record } of transitions) this.#tell(rule, alert, record);
  }

  async forget(rule: RuleSource, fingerprint: string): Promise<void> {
    await this.#keeper.forget(rule.id, [fingerprint]);
    this.#latest.delete(`${rule.id}/${fingerprint}`);
  }

  /** Whether its newest transition is on the bus. */
  isPublished(rule: RuleSource, fingerprint: string): boolean {
    return this.#latest.get(`${rule.id}/${fingerprint}`)?.unpublished === undefined;
  }

  /** They are on the bus. */
  published(records: readonly AlertRecord[]): void {
    const ids = new Set(records.map(({ id }) => id));
    for (const [key, latest] of this.#latest) {
      if (latest.unpublished === undefined || !ids.has(latest.unpublished.id)) continue;
      this.#latest.set(key, { rule: latest.rule, alert: latest.alert });
      this.#marks.add(key);
    }
    if (this.#marks.size === 0 || this.#timer !== undefined) return;
    this.#timer = this.#telemetry.clock.after(MARK_AFTER, () => void this.flush());
  }

  /** Never rejects: a mark that is not written costs a repeat after a restart. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const changes = [...this.#marks].flatMap((key) => this.#latest.get(key) ?? []);
    this.#marks.clear();
    try {
      await this.#keeper.put(changes);
    } catch (error) {
      this.#telemetry.log.warn({ err: error }, `alerts could not be marked: ${formatError(error)}`);
    }
  }
}

const keyOf = (rule: RuleSource, alert: Alert): string => `${rule.id}/${alert.fingerprint}`;
