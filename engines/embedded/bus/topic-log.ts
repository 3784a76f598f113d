import type { Message, Topic } from '../../../core/contracts/bus.ts';
import { isReflexarcError, ReflexarcError } from '../../../core/errors.ts';
import { type Nanos, nanosToMillis } from '../../../core/time.ts';
import type { Environment, Table } from '../environment.ts';
import { Bell } from './bell.ts';
import { TailCache } from './cache.ts';
import { decodeMessage, type Encoded, sizeOf, timestampOf } from './record.ts';

export const messageTable = (topic: Topic): string => `messages:${topic}`;
export const CHUNK_TABLE = 'chunks';

/**
 * Consecutive messages that are counted, found by time and removed together. Written beside every
 * append, so that opening needs no look at the messages.
 */
export interface Chunk {
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
  /** Timestamps of its first and its last message. */
  readonly from: number;
  readonly to: number;
}

export interface ChunkLimits {
  readonly bytes: number;
  readonly count: number;
  readonly age: number;
}

/** Something to write in the next commit, and then to count as done. */
export interface Plan {
  write(): void;
  apply(): void;
}

/** One topic's messages: numbered without gaps, removed from the oldest end only. */
export class TopicLog {
  readonly topic: Topic;
  /** Rings after an append, and after a removal. */
  readonly changed = new Bell();
  readonly #limits: ChunkLimits;
  readonly #messages: Table;
  readonly #index: Table;
  readonly #cache: TailCache;
  readonly #onDamage: (offset: number, error: ReflexarcError) => void;
  // Never empty: the last one says how to go on numbering.
  #chunks: Chunk[];
  #bytes: number;

  constructor(
    environment: Environment,
    topic: Topic,
    limits: ChunkLimits,
    cacheBytes: number,
    onDamage: (offset: number, error: ReflexarcError) => void,
  ) {
    this.topic = topic;
    this.#limits = limits;
    this.#messages = environment.table(messageTable(topic));
    this.#index = environment.table(CHUNK_TABLE);
    this.#cache = new TailCache(cacheBytes);
    this.#onDamage = onDamage;
    this.#chunks = [];
    for (const { key, value } of this.#index.entries([topic])) {
      if (!Array.isArray(key) || key[0] !== topic) break;
      this.#chunks.push(JSON.parse(value.toString()) as Chunk);
    }
    if (this.#chunks.length === 0) this.#chunks.push(emptyChunk(0, 0));
    this.#bytes = this.#chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  }

  get #last(): Chunk {
    return this.#chunks.at(-1) ?? emptyChunk(0, 0);
  }

  /** Offset of the oldest message that is held; `end` if there is none. */
  get first(): number {
    return this.#chunks[0]?.first ?? 0;
  }

  /** Offset that the next message gets. */
  get end(): number {
    return this.#last.first + this.#last.count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Timestamps never go back within a topic, whatever the clock does. */
  timestamp(now: number): number {
    return Math.max(now, this.#last.to);
  }

  append(encoded: readonly Encoded[]): Plan {
    const before = this.#chunks.length;
    const chunks = [...this.#chunks];
    let offset = this.end;
    const messages: Message[] = [];
    for (const one of encoded) {
      const { timestamp } = one.message;
      let chunk = chunks.pop() ?? emptyChunk(offset, timestamp);
      if (chunk.count > 0 && this.#isFull(chunk, timestamp)) {
        chunks.push(chunk);
        chunk = emptyChunk(offset, timestamp);
      }
      chunks.push({
        first: chunk.first,
        count: chunk.count + 1,
        bytes: chunk.bytes + sizeOf(one),
        from: chunk.count === 0 ? timestamp : chunk.from,
        to: timestamp,
      });
      messages.push({ ...one.message, offset });
      offset++;
    }
    return {
      write: () => {
        for (const [index, { offset }] of messages.entries()) {
          const bytes = encoded[index]?.bytes;
          if (bytes !== undefined) this.#messages.put(offset, bytes);
        }
        for (const chunk of chunks.slice(before - 1)) this.#writeChunk(chunk);
      },
      apply: () => {
        this.#chunks = chunks;
        for (const one of encoded) this.#bytes += sizeOf(one);
        this.#cache.push(messages);
        this.changed.ring();
      },
    };
  }

  #isFull(chunk: Chunk, now: number): boolean {
    const { bytes, count, age } = this.#limits;
    return chunk.bytes >= bytes || chunk.count >= count || now - chunk.from > age;
  }

  #writeChunk(chunk: Chunk): void {
    this.#index.put([this.topic, chunk.first], Buffer.from(JSON.stringify(chunk)));
  }

  /** The oldest chunk but `skip`, if it lies wholly before the offset. */
  oldest(before: number, skip = 0): Chunk | undefined {
    const chunk = this.#chunks[skip];
    if (chunk === undefined || chunk.count === 0) return undefined;
    return chunk.first + chunk.count <= before ? chunk : undefined;
  }

  /** Removes the oldest chunks. */
  remove(count: number): Plan {
    const gone = this.#chunks.slice(0, count);
    const left = this.#chunks.slice(count);
    const { end } = this;
    const heir = left.length === 0 ? emptyChunk(end, this.#last.to) : undefined;
    return {
      write: () => {
        for (const chunk of gone) {
          this.#index.remove([this.topic, chunk.first]);
          for (let n = 0; n < chunk.count; n++) this.#messages.remove(chunk.first + n);
        }
        if (heir !== undefined) this.#writeChunk(heir);
      },
      apply: () => {
        this.#chunks = heir === undefined ? left : [heir];
        for (const chunk of gone) this.#bytes -= chunk.bytes;
        this.changed.ring();
      },
    };
  }

  /**
   * Consecutive messages from an offset on, at least one unless there is none. A damaged message is
   * reported and left out.
   */
  read(from: number, maxMessages: number, maxBytes: number): Message[] {
    const messages: Message[] = [];
    let bytes = 0;
    for (let offset = Math.max(from, this.first); offset < this.end; offset++) {
      const message = this.#cache.get(offset) ?? this.#load(offset);
      if (message === undefined) continue;
      bytes += message.value.length;
      if (messages.length > 0 && bytes > maxBytes) break;
      messages.push(message);
      if (messages.length >= maxMessages) break;
    }
    return messages;
  }

  #load(offset: number): Message | undefined {
    const bytes = this.#messages.get(offset);
    try {
      if (bytes === undefined) throw new ReflexarcError('corrupt', 'a message is missing');
      return decodeMessage(bytes, offset);
    } catch (error) {
      const damage = isReflexarcError(error)
        ? error
        : new ReflexarcError('corrupt', 'a message cannot be decompressed', { cause: error });
      this.#onDamage(offset, damage);
      return undefined;
    }
  }

  /** Offset of the first message taken at or after the time; `end` if there is none. */
  seek(time: Nanos): number {
    const ms = nanosToMillis(time);
    const chunk = this.#chunks.find(({ to, count }) => count > 0 && to >= ms);
    if (chunk === undefined) return this.end;
    let low = chunk.first;
    let high = chunk.first + chunk.count - 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const bytes = this.#messages.get(middle);
      if (bytes !== undefined && timestampOf(bytes) >= ms) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const emptyChunk = (first: number, time: number): Chunk => ({
  first,
  count: 0,
  bytes: 0,
  from: time,
  to: time,
});
