interface News {
  readonly key: string;
  /** Undefined: it was deleted. */
  readonly stored: { readonly version: number; readonly json: string } | undefined;
}

/** Changes on their way to one who watches. Of one key only the newest waits, so that it is bounded. */
export class Watcher implements AsyncIterable<News> {
  readonly prefix: string;
  readonly #signal: AbortSignal;
  readonly #waiting = new Map<string, News>();
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(prefix: string, signal: AbortSignal) {
    this.prefix = prefix;
    this.#signal = signal;
  }

  push(news: News): void {
    // A new place at the end: the order of different keys' last changes stays.
    this.#waiting.delete(news.key);
    this.#waiting.set(news.key, news);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<News> {
    const onAbort = (): void => this.#wake?.();
    this.#signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!this.#ended && !this.#signal.aborted) {
        const [first] = this.#waiting.values();
        if (first !== undefined) {
          this.#waiting.delete(first.key);
          yield first;
          continue;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#signal.removeEventListener('abort', onAbort);
    }
  }
}
