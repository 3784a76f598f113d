import type { Topic } from '../../../core/contracts/bus.ts';
import type { Offsets } from './offsets.ts';
import type { TopicLog } from './topic-log.ts';

/**
 * Every topic may always use this part of the bus, so that a flood of lines that nobody reads does
 * not keep an alert from passing. What nobody else has reserved or uses, any topic may use.
 */
const RESERVED = 1 / 16;

export interface Removal {
  readonly log: TopicLog;
  /** How many of its oldest chunks, and messages in them. */
  readonly chunks: number;
  readonly messages: number;
}

/** What must go, and for what there is room. Looks only; the writer removes. */
export class Retention {
  readonly #logs: ReadonlyMap<Topic, TopicLog>;
  readonly #offsets: Offsets;
  readonly #maxSize: number;
  readonly #maxAge: number;
  /** Bytes that every topic may use in any case; no message can be larger. */
  readonly reserve: number;

  constructor(
    logs: ReadonlyMap<Topic, TopicLog>,
    offsets: Offsets,
    limits: { readonly maxSize: number; readonly maxAge: number },
  ) {
    this.#logs = logs;
    this.#offsets = offsets;
    this.#maxSize = limits.maxSize;
    this.#maxAge = limits.maxAge;
    this.reserve = Math.floor(limits.maxSize * RESERVED);
  }

  /** `pending`: bytes that are about to be added, by topic. */
  fits(topic: Topic, bytes: number, pending: ReadonlyMap<Topic, number>): boolean {
    return this.#fits(topic, bytes, (log) => log.bytes + (pending.get(log.topic) ?? 0));
  }

  #fits(topic: Topic, bytes: number, used: (log: TopicLog) => number): boolean {
    let total = bytes;
    for (const log of this.#logs.values()) {
      const size = used(log);
      if (log.topic === topic) {
        if (size + bytes <= this.reserve) return true;
        total += size;
      } else {
        total += Math.max(size, this.reserve);
      }
    }
    return total <= this.#maxSize;
  }

  /** The oldest of what all have read, so that so many bytes fit. Nothing if that is not enough. */
  forRoom(topic: Topic, bytes: number, now: number): readonly Removal[] {
    const done = (used: (log: TopicLog) => number): boolean => this.#fits(topic, bytes, used);
    const { removals, enough } = this.#oldest(now, done, topic);
    return enough ? removals : [];
  }

  /** What all have read, and is older than the age or beyond the size. */
  surplus(now: number): { readonly age: readonly Removal[]; readonly size: readonly Removal[] } {
    const age: Removal[] = [];
    for (const log of this.#logs.values()) {
      const before = this.#offsets.removableBefore(log.topic, now);
      let chunks = 0;
      let messages = 0;
      for (;;) {
        const chunk = log.oldest(before, chunks);
        if (chunk === undefined || now - chunk.to <= this.#maxAge) break;
        chunks++;
        messages += chunk.count;
      }
      if (chunks > 0) age.push({ log, chunks, messages });
    }
    if (age.length > 0) return { age, size: [] };
    let total = 0;
    for (const { bytes } of this.#logs.values()) total += bytes;
    if (total <= this.#maxSize) return { age, size: [] };
    const done = (used: (log: TopicLog) => number): boolean =>
      [...this.#logs.values()].reduce((sum, log) => sum + used(log), 0) <= this.#maxSize;
    return { age, size: this.#oldest(now, done).removals };
  }

  #oldest(
    now: number,
    done: (used: (log: TopicLog) => number) => boolean,
    own?: Topic,
  ): { readonly removals: readonly Removal[]; readonly enough: boolean } {
    const states = [...this.#logs.values()].map((log) => ({
      log,
      before: this.#offsets.removableBefore(log.topic, now),
      chunks: 0,
      messages: 0,
      bytes: log.bytes,
    }));
    const used = (log: TopicLog): number => states.find((state) => state.log === log)?.bytes ?? 0;
    let enough = done(used);
    while (!enough) {
      let victim: { state: (typeof states)[number]; to: number } | undefined;
      for (const state of states) {
        if (state.log.topic !== own && state.bytes <= this.reserve) continue;
        const chunk = state.log.oldest(state.before, state.chunks);
        if (chunk === undefined || (victim !== undefined && victim.to <= chunk.to)) continue;
        victim = { state, to: chunk.to };
      }
      if (victim === undefined) break;
      const { state } = victim;
      const chunk = state.log.oldest(state.before, state.chunks);
      state.chunks++;
      state.messages += chunk?.count ?? 0;
      state.bytes -= chunk?.bytes ?? 0;
      enough = done(used);
    }
    return { removals: states.filter(({ chunks }) => chunks > 0), enough };
  }
}
