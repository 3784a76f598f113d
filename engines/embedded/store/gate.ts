/** Many read at a time, or one writes. Who writes goes first; writes do not overlap by themselves. */
export class Gate {
  #readers = 0;
  #writing = false;
  #waiting: (() => void)[] = [];

  async read<T>(run: () => Promise<T>): Promise<T> {
    while (this.#writing) await this.#change();
    this.#readers++;
    try {
      return await run();
    } finally {
      this.#readers--;
      this.#wake();
    }
  }

  async write<T>(run: () => Promise<T>): Promise<T> {
    this.#writing = true;
    try {
      while (this.#readers > 0) await this.#change();
      return await run();
    } finally {
      this.#writing = false;
      this.#wake();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
