import { readdirSync, readFileSync, truncateSync } from 'node:fs';
import { appendFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Labels, labelsKey } from '../../../core/labels.ts';
import { originOf, sourceId } from '../../../core/records/codec.ts';
import type { Resource, Stream } from '../../../core/records/log.ts';
import type { Origin } from '../../../core/records/metric.ts';
import { removeFile, replaceFile, sizeOf } from './files.ts';

/** The log streams, or the series, that rows refer to by number. */
export interface Entry {
  readonly id: number;
  readonly labels: Labels;
  readonly resource: Resource;
  readonly origin: Origin | undefined;
  /** Source and generation, and the first part of its lines' ids; absent where a stream has none. */
  readonly source: { readonly name: string; readonly generation: string } | undefined;
  readonly idPrefix: string;
}

/**
 * Grows at the end of a file whose valid length stands in the manifest. Written before the
 * segments that refer to it count; what a crash left after that length is cut off.
 */
export class Dictionary {
  readonly #folder: string;
  readonly #byKey = new Map<string, Entry>();
  readonly #byId = new Map<number, Entry>();
  #byStream = new WeakMap<Stream, Entry>();
  #nextId = 1;
  /** Not yet in the file. */
  #fresh: Entry[] = [];
  #number: number;
  #bytes: number;

  private constructor(folder: string, number: number, bytes: number) {
    this.#folder = folder;
    this.#number = number;
    this.#bytes = bytes;
  }

  /** `bytes` undefined: as much as is there (the manifest was lost). `onBad` gets unreadable lines. */
  static open(
    folder: string,
    number: number,
    bytes: number | undefined,
    onBad: (path: string, line: number) => void,
  ): Dictionary {
    for (const other of dictionariesIn(folder)) {
      if (other !== number) removeFile(pathOf(folder, other));
    }
    const path = pathOf(folder, number);
    const there = sizeOf(path);
    const dictionary = new Dictionary(folder, number, Math.min(there, bytes ?? there));
    if (there === 0) {
      if ((bytes ?? 0) > 0) onBad(path, 1);
      return dictionary;
    }
    if (bytes !== undefined && there < bytes) onBad(path, 0);
    if (there > dictionary.#bytes) truncateSync(path, dictionary.#bytes);
    const text = readFileSync(path, 'utf8');
    for (const [index, line] of text.split('\n').entries()) {
      if (line === '') continue;
      try {
        const { id, labels, resource } = JSON.parse(line) as Entry;
        if (typeof id !== 'number' || typeof labels !== 'object') throw new Error('no entry');
        dictionary.#add(id, labels, resource ?? {});
      } catch {
        onBad(path, index + 1);
      }
    }
    return dictionary;
  }

  get(id: number): Entry | undefined {
    return this.#byId.get(id);
  }

  entries(): Iterable<Entry> {
    return this.#byId.values();
  }

  get size(): number {
    return this.#byId.size;
  }

  get state(): { readonly number: number; readonly bytes: number } {
    return { number: this.#number, bytes: this.#bytes };
  }

  ofStream(stream: Stream): Entry {
    let entry = this.#byStream.get(stream);
    if (entry === undefined) {
      entry = this.#find(stream.labels, stream.resource);
      this.#byStream.set(stream, entry);
    }
    return entry;
  }

  ofSeries(labels: Labels): Entry {
    return this.#find(labels, {});
  }

  #find(labels: Labels, resource: Resource): Entry {
    const key = keyOf(labels, resource);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    // An empty value and an absent label mean the same.
    const filled = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
    const entry = this.#add(this.#nextId, filled, resource);
    this.#fresh.push(entry);
    return entry;
  }

  #add(id: number, labels: Labels, resource: Resource): Entry {
    const name = resource['reflexarc.source'];
    const generation = resource['reflexarc.generation'] ?? '';
    const entry: Entry = {
      id,
      labels,
      resource,
      origin: originOf({ labels, resource }),
      source: name === undefined ? undefined : { name, generation },
      idPrefix: name === undefined ? '' : sourceId(name, generation),
    };
    this.#byKey.set(keyOf(labels, resource), entry);
    this.#byId.set(id, entry);
    this.#nextId = Math.max(this.#nextId, id + 1);
    return entry;
  }

  /** Writes and syncs what is new. It counts once a manifest has the new `state`. */
  async persist(): Promise<void> {
    const fresh = this.#fresh;
    if (fresh.length === 0) return;
    const path = pathOf(this.#folder, this.#number);
    const text = Buffer.from(fresh.map(encode).join(''));
    if (sizeOf(path) > this.#bytes) truncateSync(path, this.#bytes);
    await appendFile(path, text, { mode: 0o600 });
    await sync(path);
    this.#bytes += text.length;
    this.#fresh = this.#fresh.slice(fresh.length);
  }

  /**
   * Forgets what `used` does not name, in a new file. The caller writes the manifest and then calls
   * the function that is returned, which removes the old file.
   */
  compact(used: ReadonlySet<number>): () => void {
    const old = pathOf(this.#folder, this.#number);
    for (const entry of this.#byId.values()) {
      if (used.has(entry.id)) continue;
      this.#byId.delete(entry.id);
      this.#byKey.delete(keyOf(entry.labels, entry.resource));
    }
    this.#byStream = new WeakMap();
    this.#fresh = [];
    this.#number++;
    const bytes = Buffer.from([...this.#byId.values()].map(encode).join(''));
    replaceFile(pathOf(this.#folder, this.#number), bytes);
    this.#bytes = bytes.length;
    return () => removeFile(old);
  }
}

const encode = ({ id, labels, resource }: Entry): string =>
  `${JSON.stringify({ id, labels, resource })}\n`;

const keyOf = (labels: Labels, resource: Resource): string =>
  `${labelsKey(labels)}\u0002${JSON.stringify(resource)}`;

const pathOf = (folder: string, number: number): string =>
  join(folder, `dictionary-${number}.ndjson`);

/** Numbers of the dictionary files that are there, in order. */
export function dictionariesIn(folder: string): number[] {
  return readdirSync(folder)
    .map((name) => Number(/^dictionary-(\d+)\.ndjson$/.exec(name)?.[1]))
    .filter((number) => !Number.isNaN(number))
    .sort((a, b) => a - b);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
