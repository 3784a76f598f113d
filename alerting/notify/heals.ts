import type { State } from '../../core/contracts/state.ts';
import type { ActionPhase, ActionReason, ActionRecord } from '../../core/records/action.ts';

const PREFIX = 'alerting/heals/';
/** After these the people who know about the alert are told at once. */
const ENDS: ReadonlySet<ActionPhase> = new Set(['verified', 'exhausted', 'failed']);

export interface Heal {
  /** The newest sentence about it. */
  readonly text: string;
  readonly phase: ActionPhase;
  /** Milliseconds. */
  readonly at: number;
  /** Why nothing was done, as far as people were told, since something was done the last time. */
  readonly told: readonly ActionReason[];
}

/** News about a heal. */
export interface HealNews extends Heal {
  /** Whether people are to be told at once. */
  readonly tell: boolean;
  /** Whether that is how it ended, which they are told though the alert has ended before. */
  readonly ended: boolean;
}

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

  /**
   * Ends are told; why nothing is done is told once for each reason, or a service that crashes all
   * night, and that somebody else restarts, would tell it each time.
   *
   * @param since when the alert began to fire, milliseconds; what was told before is forgotten
   * @returns undefined where it is older than what is known, or the same again
   */
  async take(action: ActionRecord, since: number): Promise<HealNews | undefined> {
    // What a notify step says is no state of the heal.
    if (action.phase === 'notified') return undefined;
    const { fingerprint } = action.alert;
    const old = this.#heals.get(fingerprint);
    const { phase, timestamp: at } = action;
    const text = sentence(action);
    if (old !== undefined && (old.at > at || (old.at === at && old.text === text))) {
      return undefined;
    }
    const before = old === undefined || old.at < since || phase === 'started' ? [] : old.told;
    const obstacle = obstacleOf(action);
    const isNew = obstacle !== undefined && !before.includes(obstacle);
    const heal: Heal = { text, phase, at, told: isNew ? [...before, obstacle] : before };
    this.#heals.set(fingerprint, heal);
    await this.#state.put([{ key: PREFIX + fingerprint, value: heal }]);
    const ended = ENDS.has(phase);
    return { ...heal, tell: ended || isNew, ended };
  }

  async prune(isOld: (fingerprint: string, heal: Heal) => boolean): Promise<void> {
    for (const [fingerprint, heal] of this.#heals) {
      if (!isOld(fingerprint, heal)) continue;
      this.#heals.delete(fingerprint);
      await this.#state.delete(PREFIX + fingerprint);
    }
  }
}

/** Why nothing will be done for now: a refusal, and a limit that is reached; no wait for a turn. */
const obstacleOf = ({ phase, reason }: ActionRecord): ActionReason | undefined =>
  phase === 'refused' || (phase === 'waiting' && reason === 'attempts') ? reason : undefined;

/** `restart-crashed: restarted web, verified after 3.2s`. */
export function sentence({ remediation, message }: ActionRecord): string {
  return message.startsWith(`${remediation}:`) ? message : `${remediation}: ${message}`;
}
