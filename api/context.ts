import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import type { BusReader, BusWriter } from '../core/contracts/bus.ts';
import type { StoreReader } from '../core/contracts/store.ts';
import type { Service, Telemetry } from '../core/service.ts';
import type { ApiMetrics } from './metrics.ts';
import type { Requests } from './requests.ts';
import type { Runner } from './runner.ts';

/** What a family of routes gets. */
export interface ApiContext {
  readonly telemetry: Telemetry;
  readonly config: ReflexarcConfig;
  readonly bus: BusReader & BusWriter;
  readonly store: StoreReader;
  readonly services: () => readonly Service[];
  readonly routes?: 'all' | 'health';
  readonly metrics: ApiMetrics;
  readonly runner: Runner;
  readonly pushes: Runner;
  readonly requests: Requests;
  /** Fires when the API stops: tails end. */
  readonly stopping: AbortSignal;
}
