import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { Clock } from '../../core/clock.ts';
import { type ReflexarcConfig, reflexarcSchema } from '../../core/config/reflexarc.ts';
import type { Service } from '../../core/service.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { type ApiDeps, startApi } from '../serve.ts';
import { MemoryBus } from './bus.ts';
import { MemoryStore } from './store.ts';

export interface TestServer {
  readonly url: string;
  readonly store: MemoryStore;
  readonly bus: MemoryBus;
  readonly clock: ManualClock;
  readonly metrics: Registry;
  readonly api: Awaited<ReturnType<typeof startApi>>;
  get(path: string, init?: RequestInit): Promise<Response>;
}

export interface TestOptions {
  /** As it would stand in `reflexarc.yaml`. */
  readonly config?: object;
  readonly services?: readonly Service[];
  readonly listen?: string;
  readonly clock?: Clock;
  /** Real ones instead of those in memory. */
  readonly engines?: Pick<ApiDeps, 'bus' | 'store'>;
  readonly routes?: 'all' | 'health';
}

/** The API on a free port over a store and a bus in memory, at 2026-01-01T00:00:00Z. */
export async function startTestServer(options: TestOptions = {}): Promise<TestServer> {
  const config: ReflexarcConfig = reflexarcSchema.parse(options.config ?? {});
  const store = new MemoryStore();
  const bus = new MemoryBus();
  const clock = new ManualClock();
  const metrics = new Registry();
  const api = await startApi({
    telemetry: { log: pino({ level: 'silent' }), metrics, clock: options.clock ?? clock },
    config,
    bus: options.engines?.bus ?? bus,
    store: options.engines?.store ?? store,
    services: () => options.services ?? [],
    listen: options.listen ?? '127.0.0.1:0',
    ...(options.routes === undefined ? {} : { routes: options.routes }),
  });
  return {
    url: api.url,
    store,
    bus,
    clock,
    metrics,
    api,
    get: (path, init) => fetch(`${api.url}${path}`, init),
  };
}
