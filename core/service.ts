import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Clock } from './clock.ts';

/** What every part gets from whoever wires it. */
export interface Telemetry {
  readonly log: Logger;
  readonly metrics: Registry;
  readonly clock: Clock;
}

/** A running part of the program. */
export interface Service {
  readonly name: string;
  /** Not ready: `reason` says what it waits for, in words for `/readyz`. */
  ready(): { readonly ok: boolean; readonly reason?: string };
  /** Finishes or gives back what is under way, checkpoints, lets go. Idempotent. */
  stop(): Promise<void>;
}
