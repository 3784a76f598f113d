import type { Target } from './http.ts';
import type { Message } from './message.ts';

/** One way to reach a receiver's people. */
export interface Integration {
  /** `webhook[0]`: its place in the receiver. */
  readonly name: string;
  readonly sendResolved: boolean;
  readonly target: Target;
  payload(message: Message): unknown;
}

export interface Receiver {
  readonly name: string;
  readonly integrations: readonly Integration[];
}
