import type { Message } from '../../../core/contracts/bus.ts';

/**
 * The newest messages of a topic, so that subscribers at the tail need no disk. All of them get the
 * very same objects: what one group decodes it may keep in a WeakMap by message, and the next group
 * finds it there.
 */
export class TailCache {
  readonly #limit: number;
  #messages: Message[] = [];
  // Of those before it nothing is held any more.
  #head = 0;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** They follow those that are held. */
  push(messages: readonly Message[]): void {
    for (const message of messages) {
      this.#messages.push(message);
      this.#bytes += message.value.length;
    }
    while (this.#bytes > this.#limit) {
      const oldest = this.#messages[this.#head];
      if (oldest === undefined) break;
      this.#bytes -= oldest.value.length;
      this.#head++;
    }
    if (this.#head > this.#messages.length / 2) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
  }

  get(offset: number): Message | undefined {
    const first = this.#messages[this.#head]?.offset;
    if (first === undefined || offset < first) return undefined;
    return this.#messages[this.#head + offset - first];
  }
}
