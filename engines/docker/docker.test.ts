import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../../core/clock.ts';
import { runtimeConformance } from '../../test/conformance/runtime.ts';
import { Containers, describeDocker } from '../../test/support/docker.ts';
import { openDocker } from './docker.ts';

const config = {
  host: 'unix:///var/run/docker.sock',
  log_root: '/var/lib/docker',
  resync: 60_000,
};

describeDocker('Docker', () => {
  runtimeConformance('docker', async (wanted) => {
    const containers = new Containers();
    const ids = new Map<string, string>();
    const id = (name: string): string => ids.get(name) ?? name;
    await Promise.all(
      wanted.map(async ({ name, script, restart, health }) => {
        const created = await containers.run(name, script, {
          WorkingDir: '/own',
          HostConfig: { RestartPolicy: { Name: restart ?? 'no' } },
          ...(health !== undefined && {
            Healthcheck: {
              Test: ['CMD-SHELL', health],
              Interval: 100_000_000,
              Timeout: 5_000_000_000,
              Retries: 1,
            },
          }),
        });
        ids.set(name, created);
      }),
    );
    const runtime = await openDocker({
      config,
      telemetry: {
        log: pino({ level: 'silent' }),
        metrics: new Registry(),
        clock: systemClock,
      },
    });
    return {
      runtime,
      id,
      say: (name, word) => containers.exec(id(name), 'touch', `/own/${word}`),
      stopByHand: async (name) => {
        await containers.docker.getContainer(id(name)).stop();
      },
      async close() {
        await runtime.close();
        await containers.remove();
      },
    };
  });
});
