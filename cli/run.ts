import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { startAlerting } from '../alerting/alert.ts';
import { startApi } from '../api/serve.ts';
import { startCollect } from '../collectors/collect.ts';
import { systemClock } from '../core/clock.ts';
import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import type { Bus } from '../core/contracts/bus.ts';
import type { Runtime } from '../core/contracts/runtime.ts';
import type { State } from '../core/contracts/state.ts';
import type { Store } from '../core/contracts/store.ts';
import { ReflexarcError } from '../core/errors.ts';
import type { Service, Telemetry } from '../core/service.ts';
import { openDocker } from '../engines/docker/docker.ts';
import { openEmbedded } from '../engines/embedded/open.ts';
import { openEmbeddedStore } from '../engines/embedded/store/open.ts';
import { openLocal } from '../engines/local/local.ts';
import { startIngest } from '../ingest/ingest.ts';
import { startRemediation } from '../remediation/remediate.ts';
import { dockerWanted } from './docker.ts';
import type { ServiceName } from './services.ts';

export interface RunOptions {
  readonly dir: string;
  readonly config: ReflexarcConfig;
  readonly listen?: string;
  readonly log: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly services: ReadonlySet<ServiceName>;
}

/** What runs, for whoever wants to look at it (the demo, tests). */
export interface Running {
  readonly bus: Bus;
  readonly state: State;
  readonly store: Store;
  readonly services: readonly Service[];
  /** Undefined when nothing listens. */
  readonly url: string | undefined;
  /** Reads the files again, as SIGHUP does. */
  reload(): Promise<void>;
  /** Sources first, engines last: what was taken in is carried on, then checkpointed. Idempotent. */
  stop(): Promise<void>;
}

/**
 * The order of ending: who takes something in or acts; then what carries it on, and what was acted
 * upon; the engines last. Those of one turn end side by side, since each may take seconds of the ten
 * that there are: for a webhook or a request that hangs, a full disk, a process that stays.
 */
const TURNS = ['services', 'behind', 'store', 'bus'] as const;
type Turn = (typeof TURNS)[number];

interface Opened {
  readonly name: string;
  readonly turn: Turn;
  readonly close: () => Promise<void>;
}

/** Opens the engines and starts the services on them; on a failure everything opened is closed. */
export async function run(options: RunOptions): Promise<Running> {
  const { dir, log, services: wanted } = options;
  const host = options.config.host ?? hostname();
  const config = { ...options.config, host };
  const metrics = new Registry();
  const telemetryOf = (component: string): Telemetry => ({
    log: log.child({ component }),
    metrics,
    clock: systemClock,
  });
  const data = join(dir, 'data');
  const began = systemClock.nowNanos();
  const opened: Opened[] = [];
  const services: Service[] = [];
  const reloads: (() => Promise<void>)[] = [];
  let url: string | undefined;

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      const end = async ({ name, close }: Opened): Promise<void> => {
        const began = systemClock.monotonic();
        try {
          await close();
          log.debug({ component: name, ms: systemClock.monotonic() - began }, 'stopped');
        } catch (error) {
          log.error({ err: error, component: name }, 'did not stop cleanly');
        }
      };
      for (const turn of TURNS) {
        await Promise.all(opened.filter((one) => one.turn === turn).map(end));
      }
    })();
    return stopping;
  };
  const started = (service: Service, turn: Turn = 'services'): void => {
    services.push(service);
    opened.push({ name: service.name, turn, close: () => service.stop() });
  };

  try {
    const embedded = await openEmbedded({
      folder: data,
      maxSize: config.bus.max_size,
      maxAge: config.bus.max_age,
      telemetry: telemetryOf('bus'),
    });
    opened.push({ name: 'bus', turn: 'bus', close: () => embedded.close() });
    const { bus, state } = embedded;
    const store = await openEmbeddedStore({
      folder: join(data, 'store'),
      maxSize: config.store.max_size,
      maxAge: config.store.max_age,
      memory: config.store.memory,
      telemetry: telemetryOf('store'),
    });
    opened.push({ name: 'store', turn: 'store', close: () => store.close() });

    // The API comes first, so that /readyz tells what the start waits for. Without it a process
    // listens where it is told to, for its health and metrics.
    if (wanted.has('serve') || options.listen !== undefined) {
      const api = await startApi({
        telemetry: telemetryOf('api'),
        config,
        bus,
        store,
        services: () => services,
        routes: wanted.has('serve') ? 'all' : 'health',
        ...(options.listen === undefined ? {} : { listen: options.listen }),
      });
      url = api.url;
      started(api);
    }
    if (wanted.has('ingest')) {
      started(await startIngest({ telemetry: telemetryOf('ingest'), bus, store }), 'behind');
    }

    const runtimes: Runtime[] = [];
    if (wanted.has('collect') || wanted.has('remediate')) {
      const telemetry = telemetryOf('docker');
      if (dockerWanted(config.sources.docker, log)) {
        const docker = await openDocker({ config: config.sources.docker, telemetry });
        opened.push({ name: 'docker', turn: 'behind', close: () => docker.close() });
        runtimes.push(docker);
      }
      const processes = join(data, 'processes');
      // Those of an older file may have outlived a kill: where none is left, they are ended.
      if (config.sources.processes.length > 0 || existsSync(processes)) {
        const local = await openLocal({
          processes: config.sources.processes,
          folder: processes,
          telemetry: telemetryOf('processes'),
        });
        opened.push({ name: 'processes', turn: 'behind', close: () => local.close() });
        runtimes.push(local);
      }
    }

    if (wanted.has('alert')) {
      const alerting = await startAlerting({
        telemetry: telemetryOf('alerting'),
        dir,
        env: options.env,
        bus,
        state,
        store,
        externalUrl: (wanted.has('serve') ? url : undefined) ?? `http://${config.listen}`,
      });
      started(alerting);
      reloads.push(() => alerting.reload());
    }
    if (wanted.has('remediate')) {
      const remediation = await startRemediation({
        telemetry: telemetryOf('remediation'),
        dir,
        bus,
        state,
        runtimes,
      });
      started(remediation);
      reloads.push(() => remediation.reload());
    }
    if (wanted.has('collect')) {
      started(
        await startCollect({
          telemetry: telemetryOf('collect'),
          config,
          bus,
          state,
          runtimes,
          began,
        }),
      );
    }
    return {
      bus,
      state,
      store,
      services,
      url,
      reload: async () => {
        for (const reload of reloads) await reload();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error instanceof ReflexarcError
      ? error
      : new ReflexarcError('internal', `could not start: ${String(error)}`, { cause: error });
  }
}
