import type { State, Version } from '../core/contracts/state.ts';
import type { Case } from './case.ts';

const PREFIX = 'remediation/cases/';

/** The cases, in memory and in State; each is written by compare-and-swap, one write at a time. */
export class Cases {
  readonly #state: State;
  readonly #cases = new Map<string, Case>();
  readonly #versions = new Map<string, Version>();
  readonly #writes = new Map<string, Promise<void>>();
  /** By alert, remediation and instance. */
  readonly #kin = new Map<string, Set<Case>>();

  private constructor(state: State) {
    this.#state = state;
  }

  static async open(state: State): Promise<Cases> {
    const cases = new Cases(state);
    for (const { value, version } of await state.list<never>(PREFIX)) {
      const one = value as Case;
      cases.#versions.set(one.id, version);
      cases.add(one);
    }
    return cases;
  }

  get(id: string): Case | undefined {
    return this.#cases.get(id);
  }

  add(one: Case): void {
    this.#cases.set(one.id, one);
    const key = kinKey(one);
    const kin = this.#kin.get(key) ?? new Set();
    kin.add(one);
    this.#kin.set(key, kin);
  }

  all(): Iterable<Case> {
    return this.#cases.values();
  }

  /** Cases of one alert and remediation on one instance, of whatever start. */
  kin(of: Pick<Case, 'remediation' | 'alert' | 'subject'>): Iterable<Case> {
    return this.#kin.get(kinKey(of)) ?? [];
  }

  /**
   * Writes the case as it is when the write begins. Durable when it resolves.
   *
   * @throws conflict when somebody else wrote it: we are no longer the one who acts
   */
  save(one: Case): Promise<void> {
    const before = this.#writes.get(one.id) ?? Promise.resolve();
    const write = before
      .catch(() => undefined)
      .then(async () => {
        const key = PREFIX + one.id;
        const version = this.#versions.get(one.id);
        const value = structuredClone(one);
        this.#versions.set(
          one.id,
          version === undefined
            ? await this.#state.create(key, value)
            : await this.#state.replace(key, value, version),
        );
      });
    this.#writes.set(one.id, write);
    // Whoever needs it to be durable waits for it; nobody else may be told by a crash.
    write.catch(() => this.#writes.delete(one.id));
    return write;
  }

  /** Resolves when the newest write of a case is durable; @throws what it failed with */
  saved(one: Case): Promise<void> {
    return this.#writes.get(one.id) ?? this.save(one);
  }

  /** Forgets finished cases, and refused ones, that did not change since. */
  async prune(before: number): Promise<void> {
    for (const one of this.#cases.values()) {
      if (one.changedAt >= before || one.outbox.length > 0) continue;
      if (one.status !== 'finished' && one.status !== 'refused') continue;
      await this.#state.delete(PREFIX + one.id, this.#versions.get(one.id));
      this.#cases.delete(one.id);
      this.#versions.delete(one.id);
      this.#writes.delete(one.id);
      const key = kinKey(one);
      const kin = this.#kin.get(key);
      kin?.delete(one);
      if (kin?.size === 0) this.#kin.delete(key);
    }
  }
}

const kinKey = ({
  remediation,
  alert,
  subject,
}: Pick<Case, 'remediation' | 'alert' | 'subject'>): string =>
  [remediation, alert.fingerprint, subject.runtime, subject.id ?? subject.service].join('\u0000');
