import type { Logger } from 'pino';
import type { Clock } from '../core/clock.ts';
import type { Runtime } from '../core/contracts/runtime.ts';
import type { Lease } from '../core/contracts/state.ts';
import type { Alerts } from './alerts.ts';
import type { Case } from './case.ts';
import type { Cases } from './cases.ts';
import type { Ledger } from './ledger.ts';
import type { Metrics } from './metrics.ts';
import type { Remediation } from './playbooks/load.ts';
import type { Reports } from './reports.ts';
import type { View } from './view.ts';

/** What the steps of a case work with, while one process holds the lease. */
export interface Context {
  readonly clock: Clock;
  readonly log: Logger;
  readonly lease: Lease;
  /** When this process began to act, milliseconds since the epoch. */
  readonly since: number;
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly view: View;
  readonly alerts: Alerts;
  readonly cases: Cases;
  readonly ledger: Ledger;
  readonly reports: Reports;
  readonly metrics: Metrics;
  /** The file as it is now; absent: it was removed from it. */
  remediation(name: string): Remediation | undefined;
  /** Fires first: no new step. */
  readonly stopping: AbortSignal;
  /** Fires last: calls under way are given up. */
  readonly ending: AbortSignal;
  /** Which case acts or verifies on a service. */
  readonly busy: Map<string, Case>;
  /** Resolves when the case has news, or after `ms`, or when we stop. */
  pause(one: Case, ms: number): Promise<void>;
  /** We may not act any longer. */
  abdicate(cause: unknown): void;
}
