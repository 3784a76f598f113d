import type { State } from '../../core/contracts/state.ts';
import type { ActionPhase, ActionRecord } from '../../core/records/action.ts';

const PREFIX = 'alerting/heals/';
/** After these the people who know about the alert are told at once. */
const ENDS: ReadonlySet<ActionPhase> = new Set(['verified', 'exhausted', 'refused', 'failed']);

export interface Heal {
  /** The newest sentence about it. */
  readonly text: string;
  readonly phase: ActionPhase;
  /** Milliseconds. */
  readonly at: number;
}

export const isEnd = ({ phase }: Heal): boolean => ENDS.has(phase);

/** How the heal of each alert goes on, by fingerprint: the newest word of remediation. */
export class Heals {
  readonly #state: State;
  readonly #heals = new Map<string, Heal>();

  constructor(state: State) {
    this.#state = state;
  }

  async restore(): Promise<void> {
    for (const { key, value } of await this.#state.list(PREFIX)) {
      this.#heals.set(key.slice(PREFIX.length), value as unknown as Heal);
    }
  }

  get(fingerprint: string): Heal | undefined {
    return this.#heals.get(fingerprint);
  }

  /** Undefined: it is older than what is known, or the same again. */
  async take(action: ActionRecord): Promise<Heal | undefined> {
    // What a notify step says is no state of the heal.
    if (action.phase === 'notified') return undefined;
    const { fingerprint } = action.alert;
    const old = this.#heals.get(fingerprint);
    const heal: Heal = { text: sentence(action), phase: action.phase, at: action.timestamp };
    if (old !== undefined && (old.at > heal.at || (old.at === heal.at && old.text === heal.text))) {
      return undefined;
    }
    this.#heals.set(fingerprint, heal);
    await this.#state.put([{ key: PREFIX + fingerprint, value: heal }]);
    return heal;
  }

  async prune(isOld: (fingerprint: string, heal: Heal) => boolean): Promise<void> {
    for (const [fingerprint, heal] of this.#heals) {
      if (!isOld(fingerprint, heal)) continue;
      this.#heals.delete(fingerprint);
      await this.#state.delete(PREFIX + fingerprint);
    }
  }
}

/** `restart-crashed: restarted web, verified after 3.2s`. */
export function sentence({ remediation, message }: ActionRecord): string {
  return message.startsWith(`${remediation}:`) ? message : `${remediation}: ${message}`;
}
