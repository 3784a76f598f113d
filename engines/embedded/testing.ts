import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { type Clock, systemClock } from '../../core/clock.ts';
import { type Embedded, openEmbedded } from './open.ts';

/** A data folder for a test. */
export async function makeFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'reflexarc-embedded-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

interface Options {
  readonly maxSize?: number;
  readonly maxAge?: number;
  readonly clock?: Clock;
  readonly metrics?: Registry;
}

/** Opens a data folder as the program does, with little room and no log. */
export function openIn(folder: string, options: Options = {}): Promise<Embedded> {
  const { maxSize = 512 * 1024 ** 2, maxAge = 3_600_000 } = options;
  const { clock = systemClock, metrics = new Registry() } = options;
  const telemetry = { log: pino({ level: 'silent' }), metrics, clock };
  return openEmbedded({ folder, maxSize, maxAge, telemetry });
}
