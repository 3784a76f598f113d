import type { Topic } from '../../../core/contracts/bus.ts';
import type { Environment, Table } from '../environment.ts';
import type { Plan } from './topic-log.ts';

export const OFFSET_TABLE = 'groups';

/** A durable group on one topic. */
export interface GroupState {
  readonly topic: Topic;
  readonly name: string;
  /** What lies before it is finished. */
  position: number;
  /** What lies before it is finished, and that is durable. Undefined: nothing is, as yet. */
  committed: number | undefined;
  /** When it was last subscribed, wall clock. */
  seen: number;
  subscribed: boolean;
}

/** How far every durable group has come, and what that keeps from being removed. */
export class Offsets {
  readonly #table: Table;
  readonly #maxAge: number;
  readonly #groups = new Map<string, GroupState>();
  readonly #dirty = new Set<GroupState>();

  constructor(environment: Environment, maxAge: number) {
    this.#table = environment.table(OFFSET_TABLE);
    this.#maxAge = maxAge;
    for (const { key, value } of this.#table.entries()) {
      const [topic, name] = key as [Topic, string];
      const { next, seen } = JSON.parse(value.toString()) as { next: number; seen: number };
      this.#groups.set(id(topic, name), {
        topic,
        name,
        position: next,
        committed: next,
        seen,
        subscribed: false,
      });
    }
  }

  /** Makes it known if it is not. Nothing is written before `touch`. */
  group(topic: Topic, name: string, now: number): GroupState {
    const known = this.#groups.get(id(topic, name));
    if (known !== undefined) return known;
    const made: GroupState = {
      topic,
      name,
      position: 0,
      committed: undefined,
      seen: now,
      subscribed: false,
    };
    this.#groups.set(id(topic, name), made);
    return made;
  }

  /** To be written with the next commit. */
  touch(group: GroupState): void {
    this.#dirty.add(group);
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  plan(): Plan {
    const groups = [...this.#dirty].map((group) => ({ group, next: group.position }));
    return {
      write: () => {
        for (const { group, next } of groups) {
          const value = Buffer.from(JSON.stringify({ next, seen: group.seen }));
          this.#table.put([group.topic, group.name], value);
        }
      },
      apply: () => {
        for (const { group, next } of groups) {
          group.committed = next;
          if (group.position === next) this.#dirty.delete(group);
        }
      },
    };
  }

  /** Notes at times that the subscribed groups still are. */
  refresh(now: number): void {
    for (const group of this.#groups.values()) {
      if (!group.subscribed || now - group.seen < this.#maxAge / 20) continue;
      group.seen = now;
      this.#dirty.add(group);
    }
  }

  /**
   * Groups that hold back what they have not committed: those that are subscribed, or were within
   * the bus's age.
   */
  *holders(topic: Topic, now: number): Iterable<GroupState> {
    for (const group of this.#groups.values()) {
      if (group.topic !== topic) continue;
      if (group.subscribed || now - group.seen <= this.#maxAge) yield group;
    }
  }

  /** Everything before this offset may be removed. */
  removableBefore(topic: Topic, now: number): number {
    let before = Number.POSITIVE_INFINITY;
    for (const { committed } of this.holders(topic, now)) before = Math.min(before, committed ?? 0);
    return before;
  }
}

const id = (topic: Topic, name: string): string => `${topic}\u0000${name}`;
