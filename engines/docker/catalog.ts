import { readFile } from 'node:fs/promises';
import type Docker from 'dockerode';
import type { Instance } from '../../core/contracts/runtime.ts';
import { isReflexarcError } from '../../core/errors.ts';
import { type Nanos, parseRfc3339 } from '../../core/time.ts';
import type { CallOptions, DockerClient } from './client.ts';
import type { Hands } from './hands.ts';
import {
  DEFAULT_ROOT,
  type Described,
  type Detail,
  describe,
  type EngineFacts,
  fromHere,
  type Inspected,
} from './identity.ts';

interface Info {
  readonly DockerRootDir?: string;
  readonly ServerVersion?: string;
  readonly SystemTime?: string;
}

/** dockerode's types leave the options of `info` out. */
const askInfo = (docker: Docker) =>
  docker.info.bind(docker) as unknown as (options: { abortSignal: AbortSignal }) => Promise<Info>;

/**
 * Every container as last inspected. Events say which of them changed, so that reading the list
 * again costs one call and not one for each container.
 */
export class Catalog {
  readonly #runtime: string;
  readonly #client: DockerClient;
  readonly #hands: Hands;
  readonly #logRoot: string;
  #facts: EngineFacts;
  readonly #details = new Map<string, Detail>();
  readonly #changed = new Set<string>();
  readonly #digests = new Map<string, string>();
  readonly #manual = new Map<string, { finishedAt: string; stopped: boolean | undefined }>();
  /** Whether all changes are seen as events; else nothing of what is known counts. */
  trusted = false;

  constructor(runtime: string, client: DockerClient, hands: Hands, logRoot: string) {
    this.#runtime = runtime;
    this.#client = client;
    this.#hands = hands;
    this.#logRoot = logRoot;
    this.#facts = { root: DEFAULT_ROOT, logRoot, dualLogging: true };
  }

  /** Learns about the engine. @returns its own time */
  async learn(options: CallOptions): Promise<Nanos | undefined> {
    const info = await this.#client.read(
      'info',
      (docker, abortSignal) => askInfo(docker)({ abortSignal }),
      options,
    );
    const [major = 0, minor = 0] = (info.ServerVersion ?? '').split('.').map(Number);
    this.#facts = {
      root: info.DockerRootDir ?? DEFAULT_ROOT,
      logRoot: this.#logRoot,
      dualLogging: major > 20 || (major === 20 && minor >= 10),
    };
    return parseRfc3339(info.SystemTime ?? '');
  }

  get(id: string): Detail | undefined {
    return this.#details.get(id);
  }

  /** Notes what an event told, until it is inspected again. */
  note(id: string, instance: Described): void {
    const detail = this.#details.get(id);
    if (detail !== undefined) this.#details.set(id, { ...detail, instance });
    this.#changed.add(id);
  }

  forget(id: string): void {
    this.#details.delete(id);
    this.#changed.delete(id);
    this.#manual.delete(id);
  }

  /** The live state. Undefined: there is no such container. */
  async inspect(id: string, options: CallOptions = {}): Promise<Detail | undefined> {
    let inspected: Inspected;
    this.#changed.delete(id);
    try {
      inspected = (await this.#client.read(
        `inspect ${id.slice(0, 12)}`,
        (docker, abortSignal) => docker.getContainer(id).inspect({ abortSignal }),
        options,
      )) as Inspected;
    } catch (error) {
      this.#changed.add(id);
      if (!isReflexarcError(error, 'not_found')) throw error;
      this.forget(id);
      return undefined;
    }
    const digest = await this.#digest(inspected, options);
    const detail = describe(this.#runtime, inspected, this.#facts, digest);
    this.#details.set(detail.instance.id, detail);
    return detail;
  }

  /** Every container; inspects those that changed. */
  async list(options: CallOptions = {}): Promise<Detail[]> {
    const found = await this.#client.read(
      'list',
      (docker, abortSignal) => docker.listContainers({ all: true, abortSignal }),
      options,
    );
    const ids = new Set(found.map(({ Id }) => Id));
    for (const id of this.#details.keys()) if (!ids.has(id)) this.forget(id);
    const details = await Promise.all(
      found.map(async ({ Id, State }) => {
        const known = this.#details.get(Id);
        const current =
          known !== undefined &&
          this.trusted &&
          !this.#changed.has(Id) &&
          known.instance.state === State;
        return current ? known : this.inspect(Id, options);
      }),
    );
    return details.filter((detail) => detail !== undefined);
  }

  /** Adds whether someone stopped it, from events, else from the engine's own note. */
  async complete({ instance }: Detail): Promise<Instance> {
    const stoppedByHand = this.#hands.stoppedByHand(instance);
    if (stoppedByHand !== 'unknown') return { ...instance, stoppedByHand };
    // The engine notes every stop and kill, ours too: `false` is certain, `true` is not enough.
    const noted = await this.#manuallyStopped(instance.id, instance.finishedAt ?? '');
    return { ...instance, stoppedByHand: noted === false ? false : 'unknown' };
  }

  /**
   * `HasBeenManuallyStopped` in the container's own file, by which the engine itself decides about
   * `unless-stopped` (moby, daemon/kill.go). It is no interface: where it cannot be read or is not
   * there, nothing is known.
   */
  async #manuallyStopped(id: string, finishedAt: string): Promise<boolean | undefined> {
    const known = this.#manual.get(id);
    if (known?.finishedAt === finishedAt) return known.stopped;
    let stopped: boolean | undefined;
    try {
      const path = fromHere(`${this.#facts.root}/containers/${id}/config.v2.json`, this.#facts);
      const config = JSON.parse(await readFile(path, 'utf8')) as {
        HasBeenManuallyStopped?: unknown;
        State?: { FinishedAt?: string };
      };
      const same = parseRfc3339(config.State?.FinishedAt ?? '') === parseRfc3339(finishedAt);
      if (same && typeof config.HasBeenManuallyStopped === 'boolean') {
        stopped = config.HasBeenManuallyStopped;
      }
    } catch {
      // Not readable from here, which is usual for an engine elsewhere.
    }
    this.#manual.set(id, { finishedAt, stopped });
    return stopped;
  }

  /** The registry's digest of the image; an image that came from none has only its own id. */
  async #digest(inspected: Inspected, options: CallOptions): Promise<string | undefined> {
    const image = inspected.Image;
    const named = /@(sha256:[0-9a-f]{64})$/.exec(inspected.Config.Image ?? '')?.[1];
    if (named !== undefined) return named;
    if (image === undefined || image === '') return undefined;
    let digest = this.#digests.get(image);
    if (digest === undefined) {
      digest = image;
      try {
        const { RepoDigests } = await this.#client.read(
          `image ${image.slice(7, 19)}`,
          (docker) => docker.getImage(image).inspect(),
          options,
        );
        digest = RepoDigests?.[0]?.replace(/^.*@/, '') ?? image;
      } catch (error) {
        // An image may be removed under its container, by force.
        if (!isReflexarcError(error, 'not_found')) throw error;
      }
      if (this.#digests.size >= 1000) this.#digests.clear();
      this.#digests.set(image, digest);
    }
    return digest;
  }
}
