import { pino } from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../../core/clock.ts';
import type { Store } from '../../../core/contracts/store.ts';
import type { Telemetry } from '../../../core/service.ts';
import { type EmbeddedStoreOptions, openEmbeddedStore, type TestOptions } from './open.ts';

/** A logger that keeps what it was told. */
export function makeTelemetry(): Telemetry & { readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level: 'info' },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  return { log, metrics: new Registry(), clock: systemClock, lines };
}

/** Opens a store as the program does, with small segments. */
export function openStoreIn(
  folder: string,
  options: Partial<EmbeddedStoreOptions> = {},
  test: TestOptions = {},
): Promise<Store> {
  return openEmbeddedStore(
    {
      folder,
      maxSize: 1e12,
      maxAge: 3650 * 86_400_000,
      memory: 128 * 1024 ** 2,
      telemetry: makeTelemetry(),
      ...options,
    },
    { ...test, tuning: { sealRows: 100, ...test.tuning } },
  );
}
