/** Something happened: whoever waits looks again. */
export class Bell {
  readonly #waiting = new Set<() => void>();

  ring(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Resolves at the next ring, or when a signal fires. */
  wait(...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        for (const signal of signals) signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      for (const signal of signals) {
        if (signal?.aborted === true) wake();
        else signal?.addEventListener('abort', wake, { once: true });
      }
    });
  }
}
