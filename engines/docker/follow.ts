import { Counter } from 'prom-client';
import type { OutputLine } from '../../core/contracts/runtime.ts';
import { isReflexarcError, ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { type Nanos, parseRfc3339 } from '../../core/time.ts';
import type { Catalog } from './catalog.ts';
import type { DockerClient } from './client.ts';
import { secondsOf } from './feed.ts';
import { readFrames, readTerminal } from './frames.ts';

const BACKOFF = { first: 100, most: 5000 };
/** Two streams are written by two writers: a line may stand behind one that is this much younger. */
const DISORDER: Nanos = 100_000_000n;

/** Resolves when a container may have been started or removed since `startedAt`. */
export type AwaitStart = (
  id: string,
  startedAt: string | undefined,
  signal: AbortSignal,
) => Promise<void>;

/**
 * The output of one container for as long as it exists. The engine's own `follow` ends with every
 * run, and with the connection: it is taken up again where it was left.
 */
export class Follower {
  readonly #client: DockerClient;
  readonly #catalog: Catalog;
  readonly #telemetry: Telemetry;
  readonly #awaitStart: AwaitStart;
  readonly #repeats: Counter;

  constructor(
    client: DockerClient,
    catalog: Catalog,
    telemetry: Telemetry,
    awaitStart: AwaitStart,
  ) {
    this.#client = client;
    this.#catalog = catalog;
    this.#telemetry = telemetry;
    this.#awaitStart = awaitStart;
    this.#repeats = new Counter({
      name: 'reflexarc_docker_follow_reconnects_total',
      help: 'How often the output of a container had to be asked for again after a failure.',
      registers: [telemetry.metrics],
    });
  }

  /** @throws not_supported when the log driver keeps nothing that could be read */
  async *follow(
    id: string,
    since: Nanos | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<OutputLine> {
    const { clock, log } = this.#telemetry;
    const repeats = new Repeats(since);
    let wait = BACKOFF.first;
    while (!signal.aborted) {
      try {
        const detail = await this.#catalog.inspect(id, { signal });
        if (detail === undefined) return;
        for await (const line of this.#read(id, detail.tty, repeats.resume(), signal)) {
          wait = BACKOFF.first;
          if (repeats.isNew(line)) yield line;
        }
        await this.#awaitStart(id, detail.instance.startedAt, signal);
      } catch (error) {
        // `signal.aborted` changes while we wait, which the compiler does not see.
        if ((signal as { aborted: boolean }).aborted) return;
        if (isReflexarcError(error, 'not_found')) return;
        if (isReflexarcError(error, 'not_supported')) throw error;
        this.#repeats.inc();
        log.warn({ err: error, container: id }, 'following a log is taken up again');
        await clock.sleep(wait, signal).catch(() => {});
        wait = Math.min(wait * 2, BACKOFF.most);
      }
    }
  }

  async *#read(
    id: string,
    tty: boolean,
    since: Nanos | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<OutputLine> {
    const stream = await this.#client
      .stream(
        `logs ${id.slice(0, 12)}`,
        (docker, abortSignal) =>
          docker.getContainer(id).logs({
            follow: true,
            stdout: true,
            stderr: true,
            timestamps: true,
            abortSignal,
            // dockerode's types have a number, whose digits do not reach to nanoseconds.
            ...(since !== undefined && { since: secondsOf(since) as unknown as number }),
          }),
        { signal },
      )
      .catch((error: unknown) => {
        if (/does not support reading/i.test(String(error))) {
          throw new ReflexarcError('not_supported', 'the log driver cannot be read', {
            cause: error,
            hint: 'use the log driver json-file, local or journald',
          });
        }
        throw error;
      });
    try {
      yield* tty ? readTerminal(stream) : readFrames(stream);
    } finally {
      stream.destroy();
    }
  }
}

/** What has been read lately, so that what is asked for twice is told once. */
export class Repeats {
  readonly #since: Nanos | undefined;
  #newest: Nanos | undefined;
  /** Lines by stream and time; how many of each. `older` is what `recent` was before. */
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #turned: Nanos = 0n;
  #replayed = new Map<string, number>();
  #replayEnds: Nanos | undefined;

  constructor(since: Nanos | undefined) {
    this.#since = since;
  }

  /** From where to ask (again). */
  resume(): Nanos | undefined {
    this.#replayed = new Map();
    this.#replayEnds = this.#newest;
    if (this.#newest === undefined) return this.#since;
    const from = this.#newest - DISORDER;
    return this.#since !== undefined && from < this.#since ? this.#since : from;
  }

  isNew(line: OutputLine): boolean {
    const time = parseRfc3339(line.timestamp) ?? 0n;
    // Drivers with coarser times give a little more than was asked for.
    if (this.#since !== undefined && time < this.#since) return false;
    const key = `${line.stream} ${line.timestamp}`;
    if (this.#replayEnds !== undefined) {
      if (time <= this.#replayEnds) {
        // The engine gives lines of one time in the order in which it gave them before.
        const count = (this.#replayed.get(key) ?? 0) + 1;
        this.#replayed.set(key, count);
        if (count <= (this.#recent.get(key) ?? 0) + (this.#older.get(key) ?? 0)) return false;
      } else if (time > this.#replayEnds + DISORDER) this.#replayEnds = undefined;
    }
    if (this.#newest === undefined || time > this.#newest) this.#newest = time;
    if (this.#newest > this.#turned + DISORDER) {
      this.#older = this.#recent;
      this.#recent = new Map();
      this.#turned = this.#newest;
    }
    this.#recent.set(key, (this.#recent.get(key) ?? 0) + 1);
    return true;
  }
}
