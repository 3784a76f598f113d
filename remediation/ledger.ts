import type { Entry, State } from '../core/contracts/state.ts';
import { isReflexarcError } from '../core/errors.ts';
import { digest, type Subject, serviceKey, targetKey } from './case.ts';

/**
 * What was done, written before it is done: `remediation/ledger/<key>`. The key is the alert's
 * identity, the step, and the very thing acted upon (an instance and its start), so that a second
 * crash is a second entry and the same crash is never two. The limits are read from it too.
 */
export interface LedgerEntry {
  readonly case: string;
  readonly remediation: string;
  readonly fingerprint: string;
  readonly step: number;
  readonly kind: string;
  /** What the runtime was asked for last; only a start does no harm when it comes late. */
  readonly call: 'start' | 'restart';
  readonly subject: Subject;
  /** RFC 3339: the start acted upon; '' when it had none. */
  readonly start: string;
  /** `void`: given up before the runtime was called; it counts for nothing. */
  readonly phase: 'started' | 'done' | 'failed' | 'void';
  /** When each call was begun: more than one only where an interrupted one was repeated. */
  readonly tries: readonly number[];
  readonly endedAt?: number;
  /** The lease's fence of whoever wrote it last. */
  readonly fence: number;
}

const PREFIX = 'remediation/ledger/';

export const ledgerKey = (
  entry: Pick<LedgerEntry, 'remediation' | 'fingerprint' | 'step' | 'subject' | 'start'>,
): string =>
  PREFIX +
  digest(
    entry.fingerprint,
    entry.remediation,
    String(entry.step),
    entry.subject.runtime,
    entry.subject.id ?? '',
    entry.start,
  );

/** The newest moment at which an entry's action was under way. */
export const lastMoment = (entry: LedgerEntry): number =>
  Math.max(entry.endedAt ?? 0, ...entry.tries);

export class Ledger {
  readonly #state: State;
  readonly #entries = new Map<string, Entry<LedgerEntry>>();

  private constructor(state: State) {
    this.#state = state;
  }

  static async open(state: State): Promise<Ledger> {
    const ledger = new Ledger(state);
    for (const entry of await state.list<LedgerEntry>(PREFIX)) {
      ledger.#entries.set(entry.key, entry);
    }
    return ledger;
  }

  get(key: string): LedgerEntry | undefined {
    return this.#entries.get(key)?.value;
  }

  /** A case's own step that was begun and has no end yet. */
  begun(caseId: string, step: number): { key: string; entry: LedgerEntry } | undefined {
    for (const [key, { value }] of this.#entries) {
      if (value.case === caseId && value.step === step && value.phase === 'started') {
        return { key, entry: value };
      }
    }
    return undefined;
  }

  /**
   * Create-only; an entry that was given up before the call may be begun again.
   *
   * @returns false when the very step was begun before
   */
  async begin(key: string, value: LedgerEntry): Promise<boolean> {
    const known = this.#entries.get(key);
    if (known !== undefined && known.value.phase !== 'void') return false;
    try {
      const version =
        known === undefined
          ? await this.#state.create(key, value)
          : await this.#state.replace(key, value, known.version);
      this.#entries.set(key, { key, value, version });
      return true;
    } catch (error) {
      if (!isReflexarcError(error, 'conflict')) throw error;
      const found = await this.#state.get<LedgerEntry>(key);
      if (found !== undefined) this.#entries.set(key, found);
      return false;
    }
  }

  /** @throws conflict when somebody else changed it: we are no longer the one who acts */
  async update(
    key: string,
    change: Partial<Pick<LedgerEntry, 'phase' | 'tries' | 'call' | 'endedAt' | 'fence'>>,
  ): Promise<void> {
    const known = this.#entries.get(key);
    if (known === undefined) return;
    const value = { ...known.value, ...change };
    const version = await this.#state.replace(key, value, known.version);
    this.#entries.set(key, { key, value, version });
  }

  /** When actions of a remediation on a service were begun, after `since`, oldest first. */
  attempts(remediation: string, subject: Subject, since: number): number[] {
    const service = serviceKey(subject);
    const found: number[] = [];
    for (const { value } of this.#entries.values()) {
      if (value.phase === 'void' || value.remediation !== remediation) continue;
      if (serviceKey(value.subject) !== service) continue;
      found.push(...value.tries.filter((at) => at > since));
    }
    return found.sort((a, b) => a - b);
  }

  /** The newest moment of any remediation's action on a target, those of one case left out. */
  lastAction(subject: Subject, exceptCase: string): number | undefined {
    const target = targetKey(subject);
    let last: number | undefined;
    for (const { value } of this.#entries.values()) {
      if (value.phase === 'void' || value.case === exceptCase) continue;
      if (targetKey(value.subject) !== target) continue;
      const moment = lastMoment(value);
      if (last === undefined || moment > last) last = moment;
    }
    return last;
  }

  /**
   * Whether something that happened to an instance's run at a time is our own doing: it fell into
   * one of our calls on that very run. What happens to the run that a call began is not.
   */
  caused(runtime: string, id: string, start: string | undefined, at: number): boolean {
    for (const { value } of this.#entries.values()) {
      if (value.subject.id !== id || value.subject.runtime !== runtime) continue;
      if (value.phase === 'void' || (start !== undefined && start !== value.start)) continue;
      if (at > Math.min(...value.tries) && at <= (value.endedAt ?? Infinity)) return true;
    }
    return false;
  }

  /** Forgets what is older than `before` and not under way. */
  async prune(before: number): Promise<void> {
    for (const [key, { value, version }] of this.#entries) {
      if (value.phase === 'started' || lastMoment(value) >= before) continue;
      await this.#state.delete(key, version);
      this.#entries.delete(key);
    }
  }
}
