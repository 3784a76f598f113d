/**
 * One producer, several readers that each see every item from their subscription on. A reader that
 * is slower than the producer keeps at most `limit` items; then its oldest are dropped and counted,
 * and `onDrop` says so, once for each item.
 */
export class Broadcast<T> {
  readonly #readers = new Set<Reader<T>>();
  #closed = false;

  publish(item: T): void {
    for (const reader of this.#readers) reader.push(item);
  }

  /** Ends every reader once it has read what it has. */
  close(): void {
    this.#closed = true;
    for (const reader of this.#readers) reader.end();
  }

  get readers(): number {
    return this.#readers.size;
  }

  /**
   * Subscribes now, not at the first read. Ends when the signal fires, at `close`, or when the
   * reader returns.
   *
   * @param first what this reader gets before anything published
   */
  subscribe(
    signal: AbortSignal,
    { limit, onDrop, first = [] }: { limit: number; onDrop: () => void; first?: readonly T[] },
  ): AsyncIterableIterator<T> {
    const reader = new Reader<T>(limit, onDrop, first, () => {
      this.#readers.delete(reader);
      signal.removeEventListener('abort', onAbort);
    });
    const onAbort = (): void => {
      reader.clear();
      reader.end();
    };
    this.#readers.add(reader);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    if (this.#closed) reader.end();
    return reader;
  }
}

class Reader<T> implements AsyncIterableIterator<T> {
  readonly #limit: number;
  readonly #onDrop: () => void;
  readonly #onEnd: () => void;
  #items: T[];
  #waiting: ((result: IteratorResult<T>) => void) | undefined;
  #ended = false;

  constructor(limit: number, onDrop: () => void, first: readonly T[], onEnd: () => void) {
    this.#limit = limit;
    this.#onDrop = onDrop;
    this.#onEnd = onEnd;
    this.#items = [...first];
  }

  push(item: T): void {
    if (this.#ended) return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting({ done: false, value: item });
      return;
    }
    if (this.#items.length >= this.#limit) {
      this.#items.shift();
      this.#onDrop();
    }
    this.#items.push(item);
  }

  clear(): void {
    this.#items = [];
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<T>> {
    const [item] = this.#items;
    if (this.#items.length > 0) {
      this.#items.shift();
      return Promise.resolve({ done: false, value: item as T });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.clear();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
