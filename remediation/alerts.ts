import type { State } from '../core/contracts/state.ts';
import type { AlertRecord } from '../core/records/alert.ts';
import { decodeAlerts, encodeRecords } from '../core/records/codec.ts';
import { type Ground, groundsOf } from './target.ts';

/** What is known of one alert: its newest record, and what it named that no case has taken up yet. */
export interface TrackedAlert {
  readonly record: AlertRecord;
  /** Evidence that older records named and the newest may not. */
  readonly pending: readonly Ground[];
  /** Whether cases have taken up what the newest record names. */
  readonly settled: boolean;
  /** Ids of the last records, to know repeats by. */
  readonly recent: readonly string[];
  readonly partition: number;
  readonly offset: number;
}

/** As it is kept: the record as its wire text, since JSON has no NaN. */
interface Kept extends Omit<TrackedAlert, 'record'> {
  readonly text: string;
}

const PREFIX = 'remediation/alerts/';
const RECENT = 16;
const PENDING = 64;

/**
 * The alerts that were heard of, durable before the bus's offset is committed, so that what was
 * heard is decided even if we die in between.
 */
export class Alerts {
  readonly #state: State;
  readonly #alerts = new Map<string, TrackedAlert>();

  private constructor(state: State) {
    this.#state = state;
  }

  static async open(state: State): Promise<Alerts> {
    const alerts = new Alerts(state);
    for (const { key, value } of await state.list<never>(PREFIX)) {
      const { text, ...kept } = value as Kept;
      const record = decodeAlerts(Buffer.from(text)).records[0];
      if (record !== undefined) alerts.#alerts.set(key.slice(PREFIX.length), { ...kept, record });
    }
    return alerts;
  }

  get(fingerprint: string): TrackedAlert | undefined {
    return this.#alerts.get(fingerprint);
  }

  isFiring(fingerprint: string): boolean {
    return this.#alerts.get(fingerprint)?.record.state === 'firing';
  }

  firing(): string[] {
    return [...this.#alerts.keys()].filter((fingerprint) => this.isFiring(fingerprint));
  }

  /** @returns false for a record that was taken before */
  take(record: AlertRecord, partition: number, offset: number): boolean {
    const known = this.#alerts.get(record.fingerprint);
    if (known !== undefined) {
      const redelivered = known.partition === partition && offset <= known.offset;
      if (known.recent.includes(record.id)) return false;
      // Both, since a topic that was made anew counts from 0, and a clock may be set back.
      if (redelivered && record.timestamp <= known.record.timestamp) return false;
    }
    const goesOn = record.state === 'firing' && known?.record.state === 'firing';
    this.#alerts.set(record.fingerprint, {
      record,
      pending: goesOn && !known.settled ? this.grounds(record.fingerprint) : [],
      settled: false,
      recent: [record.id, ...(known?.recent ?? [])].slice(0, RECENT),
      partition,
      offset,
    });
    return true;
  }

  /** All evidence that no case has taken up yet, and the newest. */
  grounds(fingerprint: string): readonly Ground[] {
    const known = this.#alerts.get(fingerprint);
    if (known === undefined) return [];
    return mergeGrounds(known.pending, groundsOf(known.record.evidence));
  }

  /** Evidence that is still to be taken up, whatever the newest record names. */
  remind(fingerprint: string, ground: Ground): void {
    const known = this.#alerts.get(fingerprint);
    if (known === undefined) return;
    const pending = mergeGrounds(known.pending, [ground]);
    this.#alerts.set(fingerprint, { ...known, pending, settled: false });
  }

  /** Cases have taken up what `of` named; what came meanwhile is still to be taken up. */
  settle(fingerprint: string, of: TrackedAlert): void {
    if (this.#alerts.get(fingerprint) !== of) return;
    this.#alerts.set(fingerprint, { ...of, pending: [], settled: true });
  }

  /** Durable when it resolves. */
  async save(fingerprints: Iterable<string>): Promise<void> {
    const entries: { key: string; value: Kept }[] = [];
    for (const fingerprint of new Set(fingerprints)) {
      const known = this.#alerts.get(fingerprint);
      if (known === undefined) continue;
      const { record, ...kept } = known;
      const text = Buffer.from(encodeRecords([record])).toString();
      entries.push({ key: PREFIX + fingerprint, value: { ...kept, text } });
    }
    if (entries.length > 0) await this.#state.put(entries);
  }

  /** Forgets alerts that ended, or were last heard of, before a time. */
  async prune(endedBefore: number, heardBefore: number): Promise<void> {
    for (const [fingerprint, { record }] of this.#alerts) {
      const limit = record.state === 'firing' ? heardBefore : endedBefore;
      if (record.timestamp >= limit) continue;
      this.#alerts.delete(fingerprint);
      await this.#state.delete(PREFIX + fingerprint);
    }
  }
}

/** The newest of each run; the newest few. */
function mergeGrounds(a: readonly Ground[], b: readonly Ground[]): readonly Ground[] {
  const byRun = new Map<string, Ground>();
  for (const ground of [...a, ...b]) {
    const key = [ground.id ?? '', ground.start ?? '', ground.own ? 'own' : ''].join('\u0000');
    const known = byRun.get(key);
    if (known === undefined || ground.at > known.at) byRun.set(key, ground);
  }
  return [...byRun.values()].sort((x, y) => y.at - x.at).slice(0, PENDING);
}
