import type Docker from 'dockerode';
import { Counter } from 'prom-client';
import type { DockerConfig } from '../../core/config/reflexarc.ts';
import type {
  Instance,
  InstanceStats,
  OutputLine,
  Runtime,
  RuntimeNews,
  WatchOptions,
} from '../../core/contracts/runtime.ts';
import { isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Nanos } from '../../core/time.ts';
import { Catalog } from './catalog.ts';
import { Cgroups } from './cgroup.ts';
import { DockerClient } from './client.ts';
import { Feed } from './feed.ts';
import { Follower } from './follow.ts';
import { Hands, type OwnCall } from './hands.ts';
import { type ApiStats, fromApi } from './stats.ts';

const NAME = 'docker';
/** Milliseconds that a start or the end of a stop may take beyond the grace. */
const ACT_TIMEOUT = 60_000;
/** The engine's own grace where neither we nor the container say otherwise, in seconds. */
const GRACE = 10;
/** The events of a call of ours come within this time of its end, in milliseconds. */
const EVENTS_WITHIN = 60_000;

export interface DockerOptions {
  readonly config: Pick<DockerConfig, 'host' | 'log_root' | 'resync'>;
  readonly telemetry: Telemetry;
}

/**
 * The Docker Engine. Opening waits for the first attempt to reach it, and does not fail when that
 * does: calls then throw `unavailable` or `permission`, and `watch` goes on trying.
 *
 * @throws bad_config when `config.host` is no address
 */
export async function openDocker({ config, telemetry }: DockerOptions): Promise<Runtime> {
  const client = new DockerClient(config.host, telemetry);
  const hands = new Hands();
  const catalog = new Catalog(NAME, client, hands, config.log_root);
  const { resync } = config;
  const feed = new Feed({ runtime: NAME, client, catalog, hands, resync, telemetry });
  await feed.start();
  return new DockerRuntime(client, catalog, hands, feed, telemetry);
}

class DockerRuntime implements Runtime {
  readonly name = NAME;
  readonly #client: DockerClient;
  readonly #catalog: Catalog;
  readonly #hands: Hands;
  readonly #feed: Feed;
  readonly #telemetry: Telemetry;
  readonly #follower: Follower;
  readonly #cgroups = new Cgroups();
  readonly #closing = new AbortController();
  readonly #reads: Counter<'from'>;

  constructor(
    client: DockerClient,
    catalog: Catalog,
    hands: Hands,
    feed: Feed,
    telemetry: Telemetry,
  ) {
    this.#client = client;
    this.#catalog = catalog;
    this.#hands = hands;
    this.#feed = feed;
    this.#telemetry = telemetry;
    this.#follower = new Follower(client, catalog, telemetry, (id, startedAt, signal) =>
      this.#awaitStart(id, startedAt, signal),
    );
    this.#reads = new Counter({
      name: 'reflexarc_docker_stats_total',
      help: 'Readings of a container, from its control group or from the API.',
      labelNames: ['from'],
      registers: [telemetry.metrics],
    });
  }

  async list(signal?: AbortSignal): Promise<readonly Instance[]> {
    const details = await this.#catalog.list({ signal });
    return Promise.all(details.map((detail) => this.#catalog.complete(detail)));
  }

  async inspect(id: string, signal?: AbortSignal): Promise<Instance | undefined> {
    const detail = await this.#catalog.inspect(id, { signal });
    if (detail === undefined) return undefined;
    const { state, finishedAt } = detail.instance;
    if ((state === 'exited' || state === 'dead') && finishedAt !== undefined) {
      // What ended it is told by events, which may be a moment behind.
      await this.#feed.settled(id, finishedAt, signal);
    }
    return this.#catalog.complete(detail);
  }

  watch(options: WatchOptions, signal: AbortSignal): AsyncIterable<RuntimeNews> {
    return this.#feed.watch(options, this.#until(signal));
  }

  follow(id: string, since: Nanos | undefined, signal: AbortSignal): AsyncIterable<OutputLine> {
    return this.#follower.follow(id, since, this.#until(signal));
  }

  async stats(id: string, signal?: AbortSignal): Promise<InstanceStats | undefined> {
    const { clock } = this.#telemetry;
    const known = this.#feed.connected ? this.#catalog.get(id) : undefined;
    // A container that ran when last seen may run again, under another number: its group tells.
    if (known?.instance.state === 'running' && known.pid > 0) {
      const read = this.#cgroups.read(id, known.pid, () => clock.now());
      if (read !== undefined) {
        this.#reads.inc({ from: 'cgroup' });
        return read;
      }
    }
    const detail = await this.#catalog.inspect(id, { signal });
    if (detail === undefined || detail.pid === 0) {
      this.#cgroups.forget(id);
      return undefined;
    }
    const again = this.#cgroups.read(id, detail.pid, () => clock.now());
    if (again !== undefined) {
      this.#reads.inc({ from: 'cgroup' });
      return again;
    }
    try {
      // The engine takes up to a second for it, also where it is asked for one reading only.
      const stats = (await this.#client.separately(
        `stats ${id.slice(0, 12)}`,
        (docker, abortSignal) =>
          docker
            .getContainer(id)
            .stats({ stream: false, 'one-shot': true, abortSignal } as { stream: false }),
        { signal },
      )) as unknown as ApiStats;
      this.#reads.inc({ from: 'api' });
      return fromApi(clock.now(), stats, detail.memoryLimit);
    } catch (error) {
      if (isReflexarcError(error, 'not_found')) return undefined;
      throw error;
    }
  }

  async start(id: string, signal?: AbortSignal): Promise<void> {
    await this.#act('start', id, ACT_TIMEOUT, signal, (docker, abortSignal) =>
      docker.getContainer(id).start({ abortSignal }),
    );
  }

  async restart(id: string, options: { grace?: number }, signal?: AbortSignal): Promise<void> {
    const { t, timeout } = this.#grace(id, options.grace);
    await this.#act('restart', id, timeout, signal, (docker, abortSignal) =>
      docker.getContainer(id).restart({ ...t, abortSignal }),
    );
  }

  async stop(id: string, options: { grace?: number }, signal?: AbortSignal): Promise<void> {
    const { t, timeout } = this.#grace(id, options.grace);
    await this.#act('stop', id, timeout, signal, (docker, abortSignal) =>
      docker.getContainer(id).stop({ ...t, abortSignal }),
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#feed.close();
    this.#client.close();
  }

  /** The engine counts in whole seconds. */
  #grace(id: string, grace: number | undefined): { t: { t?: number }; timeout: number } {
    if (grace === undefined) {
      const seconds = this.#catalog.get(id)?.stopTimeout ?? GRACE;
      return { t: {}, timeout: Math.max(0, seconds) * 1000 + ACT_TIMEOUT };
    }
    const t = Math.ceil(grace / 1000);
    return { t: { t }, timeout: t * 1000 + ACT_TIMEOUT };
  }

  async #act(
    kind: OwnCall['kind'],
    id: string,
    timeout: number,
    signal: AbortSignal | undefined,
    ask: (docker: Docker, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    const own = this.#hands.begin(id, kind);
    const end = (): void => this.#hands.end(id, own);
    try {
      await this.#client.separately(`${kind} ${id.slice(0, 12)}`, ask, { timeout, signal });
    } catch (error) {
      const { statusCode } = (isReflexarcError(error) ? (error.cause ?? {}) : {}) as {
        statusCode?: number;
      };
      // A refusal means that nothing was done. Without an answer it may yet be; and what the engine
      // failed at may have been half done, as a restart that stopped it and could not start it: its
      // events may come behind the answer.
      const refused = statusCode !== undefined && statusCode < 500;
      if (refused) end();
      else this.#telemetry.clock.after(EVENTS_WITHIN, end);
      // It is what was asked for already.
      if (statusCode === 304) return;
      // The engine itself answers that it failed: nothing is under way any more. (A proxy in front
      // of it answers 502 to 504 where it does not know.)
      if (statusCode === 500) {
        throw new ReflexarcError('conflict', messageOf(error), { cause: error });
      }
      throw error;
    }
    // Usually its last event has ended it before.
    this.#telemetry.clock.after(EVENTS_WITHIN, end);
  }

  /** Until it runs again, or is gone; its output ended. */
  async #awaitStart(id: string, startedAt: string | undefined, signal: AbortSignal): Promise<void> {
    const { clock } = this.#telemetry;
    for (;;) {
      const changed = this.#feed.changed(id, signal);
      try {
        const detail = await this.#catalog.inspect(id, { signal });
        if (detail === undefined || detail.instance.startedAt !== startedAt) return;
        if (detail.instance.state === 'running' || detail.instance.state === 'paused') {
          // It ended though it runs: an engine that shuts down, or a log that was switched.
          await clock.sleep(1000, signal);
          return;
        }
        await changed.promise;
        if (signal.aborted) return;
      } finally {
        changed.cancel();
      }
    }
  }

  #until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }
}
