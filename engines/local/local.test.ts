import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../core/clock.ts';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';
import { runtimeConformance } from '../../test/conformance/runtime.ts';
import { openLocal } from './local.ts';

runtimeConformance('local', async (wanted) => {
  const folder = mkdtempSync(join(tmpdir(), 'reflexarc-local-'));
  const cwd = (name: string): string => join(folder, `own-${name}`);
  const processes = wanted.map(({ name, script, restart, health }): ProcessConfig => {
    mkdirSync(cwd(name));
    return {
      name,
      command: ['sh', '-c', script],
      cwd: cwd(name),
      env: {},
      labels: {},
      restart: restart ?? 'no',
      stop_grace: 300,
      ...(health !== undefined && {
        health: {
          exec: ['sh', '-c', health],
          interval: 100,
          timeout: 5000,
          retries: 1,
          start_period: 0,
        },
      }),
    };
  });
  const runtime = await openLocal({
    processes,
    folder: join(folder, 'data'),
    telemetry: { log: pino({ level: 'silent' }), metrics: new Registry(), clock: systemClock },
  });
  const id = (name: string): string => `local:${name}`;
  return {
    runtime,
    id,
    say: (name, word) => {
      writeFileSync(join(cwd(name), word), '');
      return Promise.resolve();
    },
    stopByHand: (name) => runtime.stop(id(name), {}),
    async close() {
      await runtime.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
