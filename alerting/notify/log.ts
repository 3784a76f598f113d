import { createHash } from 'node:crypto';
import type { State } from '../../core/contracts/state.ts';

/** What an integration was last told about a group: Alertmanager's notification log. */
export interface Notified {
  readonly group: string;
  readonly receiver: string;
  readonly integration: string;
  /** Fingerprints. */
  readonly firing: readonly string[];
  readonly resolved: readonly string[];
  /** Milliseconds. */
  readonly at: number;
}

const PREFIX = 'alerting/notified/';

/**
 * Kept in State, written after each delivery: a crash between a delivery and this write is the one
 * moment in which a message is sent twice.
 */
export class NotificationLog {
  readonly #state: State;
  readonly #entries = new Map<string, Notified>();

  constructor(state: State) {
    this.#state = state;
  }

  async restore(): Promise<void> {
    for (const { key, value } of await this.#state.list(PREFIX)) {
      this.#entries.set(key, value as unknown as Notified);
    }
  }

  get(group: string, receiver: string, integration: string): Notified | undefined {
    return this.#entries.get(keyOf(group, receiver, integration));
  }

  async put(entry: Notified): Promise<void> {
    const key = keyOf(entry.group, entry.receiver, entry.integration);
    // Remembered first: if State cannot take it, this process still does not send it twice.
    this.#entries.set(key, entry);
    await this.#state.put([{ key, value: entry }]);
  }

  async delete(group: string, receiver: string, integration: string): Promise<void> {
    const key = keyOf(group, receiver, integration);
    if (!this.#entries.delete(key)) return;
    await this.#state.delete(key);
  }

  /** Groups that exist no more, as after a change of the routes. */
  async prune(isOld: (entry: Notified) => boolean): Promise<void> {
    for (const [key, entry] of this.#entries) {
      if (!isOld(entry)) continue;
      this.#entries.delete(key);
      await this.#state.delete(key);
    }
  }
}

const keyOf = (group: string, receiver: string, integration: string): string =>
  PREFIX +
  createHash('sha256')
    .update(`${group}\u0000${receiver}\u0000${integration}`)
    .digest('hex')
    .slice(0, 24);
