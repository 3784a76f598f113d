import type {
  BusReader,
  BusWriter,
  Handler,
  Message,
  Outgoing,
  SubscribeOptions,
  Subscription,
  Topic,
} from '../../core/contracts/bus.ts';

/** A bus in memory: keeps what is published and hands it on at once. */
export class MemoryBus implements BusReader, BusWriter {
  readonly published: { readonly topic: Topic; readonly message: Outgoing }[] = [];
  readonly subscriptions: { readonly options: SubscribeOptions; readonly handler: Handler }[] = [];
  /** Called before anything is taken. */
  onPublish: (signal?: AbortSignal) => Promise<void> | void = () => undefined;

  async publish(topic: Topic, messages: readonly Outgoing[], signal?: AbortSignal): Promise<void> {
    await this.onPublish(signal);
    for (const message of messages) {
      const offset = this.published.push({ topic, message }) - 1;
      const taken: Message = { key: message.key, value: message.value, offset, timestamp: 0 };
      for (const { handler } of this.subscriptions) {
        await handler({
          topic,
          partition: 0,
          messages: [taken],
          end: offset + 1,
          signal: new AbortController().signal,
          heartbeat: () => Promise.resolve(),
        });
      }
    }
  }

  async subscribe(
    _topic: Topic,
    _group: string,
    handler: Handler,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    const one = { handler, options };
    this.subscriptions.push(one);
    return {
      lag: async () => 0,
      caughtUp: async () => undefined,
      close: async () => {
        const index = this.subscriptions.indexOf(one);
        if (index !== -1) this.subscriptions.splice(index, 1);
      },
    };
  }
}
