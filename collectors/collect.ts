import { hostname } from 'node:os';
import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import type { BusWriter } from '../core/contracts/bus.ts';
import type { Instance, RuntimeReader } from '../core/contracts/runtime.ts';
import type { State } from '../core/contracts/state.ts';
import type { Service, Telemetry } from '../core/service.ts';
import type { Nanos } from '../core/time.ts';
import { Checkpoints } from './checkpoints.ts';
import { Events } from './events/events.ts';
import { Files } from './files/files.ts';
import { InstanceLogs } from './logs/instance-logs.ts';
import { excluder, isOwn, ownContainer } from './logs/own.ts';
import { collectMeasures } from './measures.ts';
import { containerReader } from './metrics/containers.ts';
import { hostReader } from './metrics/host.ts';
import { Measuring } from './metrics/measuring.ts';
import { Output } from './output/output.ts';
import type { Labelling } from './streams.ts';
import { risingStamps } from './tail/stamps.ts';
import { Tailing } from './tail/tailing.ts';
import { Watched } from './watched.ts';

/** How long stopping waits for the bus. */
const DRAIN = 5000;

export interface CollectDeps {
  readonly telemetry: Telemetry;
  readonly config: ReflexarcConfig;
  readonly bus: BusWriter;
  /** Of this host alone: checkpoints, under `collect/…`. */
  readonly state: State;
  readonly runtimes: readonly RuntimeReader[];
  /** When the program began: what runtimes did since is news. Else: now. */
  readonly began?: Nanos;
}

/**
 * Collects: the output and events of each runtime's instances, the user's files, container and host
 * metrics. Resolves when it has begun; sources that cannot be reached are tried again and again,
 * and named by `ready`.
 */
export async function startCollect(deps: CollectDeps): Promise<Service> {
  const { telemetry, config, bus, state, runtimes } = deps;
  const { sources } = config;
  const measures = collectMeasures(telemetry.metrics, () => tailing.sums());
  const checkpoints = new Checkpoints({ state, telemetry, measures });
  const output = new Output({ bus, telemetry, measures });
  const tailing: Tailing = new Tailing({
    telemetry,
    measures,
    checkpoints,
    output,
    maxLine: sources.max_line,
  });
  const host = config.host ?? hostname();
  const labelling: Labelling = { host, labels: config.labels, promote: sources.docker.labels };
  const stamp = risingStamps(telemetry.clock);
  const began = deps.began ?? telemetry.clock.nowNanos();

  const excluded = excluder(sources.docker.exclude);
  const own = ownContainer();
  const wanted = (instance: Instance): boolean =>
    instance.runtime !== 'docker' || !excluded(instance);
  const wantedLogs = (instance: Instance): boolean =>
    wanted(instance) && (sources.docker.own_logs || !isOwn(instance, own));

  const watching: Watched[] = [];
  const logs: InstanceLogs[] = [];
  const measuring: Measuring[] = [];
  for (const runtime of runtimes) {
    const watched = new Watched(runtime, telemetry, measures);
    const instanceLogs = new InstanceLogs({
      runtime,
      config,
      telemetry,
      measures,
      checkpoints,
      output,
      tailing,
      labelling,
      stamp,
      wanted: wantedLogs,
    });
    const lane = output.lane(`events:${host}:${runtime.name}`);
    const events = new Events(runtime.name, { checkpoints, lane, measures, labelling, began });
    let listed = false;
    watched.start({
      since: () => events.resume(),
      list: (instances) => {
        instanceLogs.list(instances);
        if (!listed) void instanceLogs.forget(instances);
        listed = true;
      },
      event: async (event) => {
        instanceLogs.event(event);
        if (wanted(event.instance)) await events.record(event);
      },
    });
    watching.push(watched);
    logs.push(instanceLogs);
    if (sources.docker.metrics > 0) {
      measuring.push(
        new Measuring(
          { kind: runtime.name, interval: sources.docker.metrics },
          { telemetry, measures, lane: output.lane(`metrics:${host}:${runtime.name}`) },
          containerReader({ watched, labelling, telemetry, measures, wanted }),
        ),
      );
    }
  }
  if (sources.host_metrics > 0) {
    measuring.push(
      new Measuring(
        { kind: 'host', interval: sources.host_metrics },
        { telemetry, measures, lane: output.lane(`metrics:${host}`) },
        hostReader({ labelling, telemetry, measures }),
      ),
    );
  }
  for (const one of measuring) one.start();
  const files = new Files({ config, telemetry, measures, checkpoints, tailing, host, stamp });
  await files.start();

  let stopping: Promise<void> | undefined;
  async function stop(): Promise<void> {
    output.close();
    await Promise.all([
      ...watching.map((one) => one.stop()),
      ...measuring.map((one) => one.stop()),
      files.stop(),
    ]);
    for (const one of logs) one.stop();
    await tailing.stop();
    await output.stop(DRAIN);
    await checkpoints.stop();
    await tailing.close();
  }
  return {
    name: 'collect',
    ready() {
      const reason =
        output.problem() ??
        watching.map((watched) => watched.problem()).find((problem) => problem !== undefined);
      return reason === undefined ? { ok: true } : { ok: false, reason };
    },
    stop: () => (stopping ??= stop()),
  };
}
