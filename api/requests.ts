import type { ServerResponse } from 'node:http';

/** Answers under way: what a stop waits for. */
export class Requests {
  readonly #open = new Set<ServerResponse>();
  #idle: (() => void) | undefined;

  add(answer: ServerResponse): void {
    this.#open.add(answer);
    // Comes after the end of an answer, and when its client leaves.
    answer.once('close', () => {
      this.#open.delete(answer);
      if (this.#open.size === 0) this.#idle?.();
    });
  }

  /** Resolves when no answer is under way. */
  ended(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}
