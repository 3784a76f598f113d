import {
  type Bus,
  type Handler,
  type Outgoing,
  type SubscribeOptions,
  type Subscription,
  TOPICS,
  type Topic,
} from '../../../core/contracts/bus.ts';
import { ReflexarcError } from '../../../core/errors.ts';
import type { Telemetry } from '../../../core/service.ts';
import type { Environment } from '../environment.ts';
import { Bell } from './bell.ts';
import { type BusMetrics, busMetrics, removeGauges } from './metrics.ts';
import { OFFSET_TABLE, Offsets } from './offsets.ts';
import { Retention } from './retention.ts';
import { Member, type MemberParts, type Progress } from './subscription.ts';
import { CHUNK_TABLE, messageTable, TopicLog } from './topic-log.ts';
import { Writer } from './writer.ts';

export interface BusLimits {
  /** Bytes of all topics together, as they are on disk. */
  readonly maxSize: number;
  /** Milliseconds. */
  readonly maxAge: number;
}

export const BUS_TABLES: readonly string[] = [
  ...TOPICS.map((topic) => messageTable(topic)),
  CHUNK_TABLE,
  OFFSET_TABLE,
];

const CACHE_BYTES = 8 * 1024 * 1024;
const MAX_CHUNK_BYTES = 1024 * 1024;
const MAX_CHUNK_MESSAGES = 1024;
const HOUSEKEEPING = 60_000;
/** lmdb takes keys of up to 1978 bytes, the topic's name among them. */
const MAX_GROUP_NAME = 256;

/** The members of a durable group on one topic; the first one holds the partition. */
interface Group {
  readonly members: Member[];
  readonly progress: Progress;
}

/** Bus on lmdb: one partition a topic. */
export class EmbeddedBus implements Bus {
  readonly #logs: ReadonlyMap<Topic, TopicLog>;
  readonly #offsets: Offsets;
  readonly #writer: Writer;
  readonly #telemetry: Telemetry;
  readonly #metrics: BusMetrics;
  readonly #limits: BusLimits;
  readonly #groups = new Map<string, Group>();
  readonly #members = new Set<Member>();
  #housekeeping: { cancel(): void } | undefined;
  #closed: Promise<void> | undefined;

  constructor(environment: Environment, limits: BusLimits, telemetry: Telemetry) {
    this.#telemetry = telemetry;
    this.#limits = limits;
    this.#metrics = busMetrics(telemetry.metrics);
    const chunks = {
      bytes: Math.min(MAX_CHUNK_BYTES, limits.maxSize / 256),
      count: MAX_CHUNK_MESSAGES,
      age: limits.maxAge / 10,
    };
    this.#logs = new Map(
      TOPICS.map((topic) => {
        const log = new TopicLog(environment, topic, chunks, CACHE_BYTES, (offset, error) => {
          this.#metrics.damagedMessages.inc({ topic });
          telemetry.log.error({ err: error, topic, offset }, 'a message is damaged and left out');
        });
        return [topic, log];
      }),
    );
    this.#offsets = new Offsets(environment, limits.maxAge);
    const retention = new Retention(this.#logs, this.#offsets, limits);
    this.#writer = new Writer({
      environment,
      logs: this.#logs,
      offsets: this.#offsets,
      retention,
      telemetry,
      metrics: this.#metrics,
    });
    this.#showGauges();
    this.#keepHouse();
  }

  #showGauges(): void {
    const { clock } = this.#telemetry;
    this.#metrics.size((set) => {
      for (const { topic, bytes } of this.#logs.values()) set({ topic }, bytes);
    });
    this.#metrics.waiting((set) => {
      for (const topic of this.#logs.keys()) set({ topic }, this.#writer.waiting(topic));
    });
    this.#metrics.lag((set) => {
      const now = clock.now();
      for (const log of this.#logs.values()) {
        const { topic } = log;
        for (const { name, position } of this.#offsets.holders(topic, now)) {
          set({ topic, group: name }, log.end - Math.max(position, log.first));
        }
      }
    });
  }

  #log(topic: Topic): TopicLog {
    const log = this.#logs.get(topic);
    if (log === undefined) {
      throw new ReflexarcError('bad_request', `there is no topic ${JSON.stringify(topic)}`, {
        hint: `topics are ${TOPICS.join(', ')}`,
      });
    }
    return log;
  }

  #keepHouse(): void {
    this.#offsets.refresh(this.#telemetry.clock.now());
    this.#writer.housekeep();
    const pause = Math.max(1, Math.min(HOUSEKEEPING, this.#limits.maxAge / 10));
    this.#housekeeping = this.#telemetry.clock.after(pause, () => this.#keepHouse());
  }

  async publish(topic: Topic, messages: readonly Outgoing[], signal?: AbortSignal): Promise<void> {
    this.#log(topic);
    await this.#writer.publish(topic, messages, signal);
  }

  async subscribe(
    topic: Topic,
    group: string,
    handler: Handler,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    const log = this.#log(topic);
    if (this.#closed !== undefined) throw new ReflexarcError('unavailable', 'the bus is closed');
    const parts = {
      log,
      group,
      handler,
      options,
      telemetry: this.#telemetry,
      metrics: this.#metrics,
    };
    return options.ephemeral === true ? this.#subscribeAlone(parts) : this.#join(parts);
  }

  #subscribeAlone(parts: Omit<MemberParts, 'progress' | 'onClose'>): Member {
    const { log, options } = parts;
    const changed = new Bell();
    let position = this.#position(log, options, log.first);
    const progress: Progress = {
      get position() {
        return position;
      },
      changed,
      advance(next) {
        position = next;
        changed.ring();
      },
      flush: async () => {},
    };
    const onClose = (): boolean => this.#members.delete(member);
    const member = new Member({ ...parts, progress, onClose });
    this.#members.add(member);
    member.take();
    return member;
  }

  async #join(parts: Omit<MemberParts, 'progress' | 'onClose'>): Promise<Member> {
    const { log, group: name, options } = parts;
    if (name === '' || Buffer.byteLength(name) > MAX_GROUP_NAME) {
      throw new ReflexarcError(
        'bad_request',
        `a group's name has 1 to ${MAX_GROUP_NAME} bytes: ${JSON.stringify(name)}`,
      );
    }
    const now = this.#telemetry.clock.now();
    const state = this.#offsets.group(log.topic, name, now);
    const id = `${log.topic}\u0000${name}`;
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = { members: [], progress: this.#progressOf(state) };
      this.#groups.set(id, group);
    }
    const { members, progress } = group;
    const onClose = (member: Member): void => {
      this.#members.delete(member);
      const held = members[0] === member;
      members.splice(members.indexOf(member), 1);
      const next = members[0];
      if (next === undefined) {
        state.subscribed = false;
        this.#groups.delete(id);
      } else if (held) {
        this.#handOver(log, next, state);
      }
    };
    const member = new Member({ ...parts, progress, onClose });
    const first = members.length === 0;
    members.push(member);
    this.#members.add(member);
    state.subscribed = true;
    state.seen = now;
    if (first) state.position = this.#position(log, options, state.committed ?? log.first);
    // Known from here on, so that nothing is removed before it.
    this.#offsets.touch(state);
    await this.#writer.flushOffsets();
    if (first) member.take();
    return member;
  }

  #progressOf(state: ReturnType<Offsets['group']>): Progress {
    const changed = new Bell();
    return {
      get position() {
        return state.position;
      },
      changed,
      advance: (next) => {
        state.position = next;
        state.seen = this.#telemetry.clock.now();
        this.#offsets.touch(state);
        this.#writer.offsetsChanged();
        changed.ring();
      },
      flush: async () => {
        state.seen = this.#telemetry.clock.now();
        this.#offsets.touch(state);
        await this.#writer.flushOffsets();
      },
    };
  }

  /**
   * The next member goes on where the last one stopped, whatever it began with: `latest` would leave
   * a hole. Only offsets that the consumer keeps itself are asked for again.
   */
  #handOver(log: TopicLog, next: Member, state: ReturnType<Offsets['group']>): void {
    if (typeof next.start === 'object' && 'offsets' in next.start) {
      state.position = this.#position(log, { start: next.start }, state.position);
    }
    next.take();
  }

  #position(log: TopicLog, { start = 'committed' }: SubscribeOptions, committed: number): number {
    if (start === 'latest') return log.end;
    let position = committed;
    if (typeof start === 'object') {
      position = 'time' in start ? log.seek(start.time) : (start.offsets(0) ?? committed);
    }
    if (position <= log.end) return position;
    // The bus was emptied, and the consumer was not: all that is here is new to it.
    this.#telemetry.log.warn(
      { topic: log.topic, position, end: log.end },
      'a position lies beyond the end of the bus; going on from the oldest message',
    );
    return log.first;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#housekeeping?.cancel();
    await Promise.all([...this.#members].map((member) => member.close()));
    await this.#writer.close();
    removeGauges(this.#telemetry.metrics);
  }
}
