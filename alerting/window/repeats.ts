import { comparePositions, type LogRecord, type Position } from '../../core/records/log.ts';

/**
 * The bus may bring a record again. A record with a position is a repeat when the position is not
 * above the highest seen of its source and generation; one without is known by its id. Both
 * memories are bounded: what was not seen for long is forgotten first.
 */
export class Repeats {
  readonly #positions = new Map<string, Position>();
  #ids = new Set<string>();
  #olderIds = new Set<string>();
  readonly #max: number;

  constructor(max = 100_000) {
    this.#max = max;
  }

  /** Whether it passed before; remembers it. */
  isRepeat(record: LogRecord): boolean {
    const source = record.stream.resource['reflexarc.source'];
    if (record.position === undefined || source === undefined) return this.#isKnownId(record.id);
    const key = `${source}\u0000${record.stream.resource['reflexarc.generation'] ?? ''}`;
    const highest = this.#positions.get(key);
    if (highest !== undefined && comparePositions(record.position, highest) <= 0) return true;
    // Deleted first, so that the map's order is that of use.
    if (highest !== undefined) this.#positions.delete(key);
    else if (this.#positions.size >= this.#max) {
      const oldest = this.#positions.keys().next();
      if (oldest.done !== true) this.#positions.delete(oldest.value);
    }
    this.#positions.set(key, record.position);
    return false;
  }

  #isKnownId(id: string): boolean {
    if (this.#ids.has(id) || this.#olderIds.has(id)) return true;
    if (this.#ids.size >= this.#max) {
      this.#olderIds = this.#ids;
      this.#ids = new Set();
    }
    this.#ids.add(id);
    return false;
  }
}
