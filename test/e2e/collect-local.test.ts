import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startCollect } from '../../collectors/collect.ts';
import { MemoryBus, MemoryState, testTelemetry } from '../../collectors/testing/fakes.ts';
import { reflexarcSchema } from '../../core/config/reflexarc.ts';
import { openLocal } from '../../engines/local/local.ts';
import { until } from '../support/wait.ts';

it('collects the output, events and metrics of local processes, each line of the run that wrote it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'reflexarc-local-'));
  const telemetry = testTelemetry();
  const bus = new MemoryBus();
  const config = reflexarcSchema.parse({
    host: 'h',
    sources: {
      host_metrics: 0,
      docker: { metrics: '100ms' },
      processes: [
        {
          name: 'web',
          service: 'shop',
          command: [
            'sh',
            '-c',
            'echo "ERROR: $$"; echo careful >&2; sleep 0.5; printf last; exit 3',
          ],
          restart: 'on-failure',
        },
      ],
    },
  });
  const began = telemetry.clock.nowNanos();
  const runtime = await openLocal({ processes: config.sources.processes, folder, telemetry });
  const state = new MemoryState();
  const service = await startCollect({ telemetry, config, bus, state, runtimes: [runtime], began });
  try {
    const of = (stream: string) =>
      bus.logs().filter((record) => record.stream.labels['stream'] === stream);
    const dies = () => of('events').filter((record) => record.line.startsWith('action=die'));
    await until('two runs', () => dies().length >= 2 && of('stdout').length >= 4);
    const [first, last, second] = of('stdout');
    expect(first?.line).toMatch(/^ERROR: \d+$/);
    expect(first?.stream.labels).toEqual({
      service: 'shop',
      container: 'web',
      host: 'h',
      stream: 'stdout',
      level: 'error',
    });
    expect(last?.line).toBe('last');
    expect(second?.line).toMatch(/^ERROR: \d+$/);
    expect(of('stderr')[0]?.line).toBe('careful');
    const start = (record: typeof first) => record?.stream.resource['reflexarc.start'];
    expect(start(first)).toBeDefined();
    expect(start(last)).toBe(start(first));
    expect(start(dies()[0])).toBe(start(first));
    expect(start(second)).toBe(start(dies()[1]));
    expect(dies()[0]?.line).toContain('exit_code=3');
    // Also the one before anybody collected.
    const starts = of('events').filter((record) => record.line.startsWith('action=start'));
    expect(start(starts[0])).toBe(start(first));
    await until('metrics', () =>
      bus.samples().some((sample) => sample.labels['__name__'] === 'container_memory_rss'),
    );
  } finally {
    await service.stop();
    await runtime.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
