import { Counter, Gauge } from 'prom-client';
import { Broadcast } from '../../core/broadcast.ts';
import type {
  Instance,
  RuntimeEvent,
  RuntimeNews,
  WatchOptions,
} from '../../core/contracts/runtime.ts';
import { formatError, isReflexarcError, ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { formatRfc3339, type Nanos, parseRfc3339 } from '../../core/time.ts';
import type { Catalog } from './catalog.ts';
import { type DockerClient, type EngineStream, READ_TIMEOUT } from './client.ts';
import { ACTIONS, type EngineEvent, parseEvent, splitLines } from './events.ts';
import type { Hands } from './hands.ts';
import { type Described, type Detail, describeGone } from './identity.ts';

/** What a slow watcher may leave unread. */
const WATCHER_LIMIT = 10_000;
/** Events kept for watchers that begin in the past; the engine itself keeps 256. */
const RECENT = 1024;
const BACKOFF = { first: 250, most: 5000 };
/** An event does not wait longer than this for its container to be inspected. */
const INSPECT_TIMEOUT = 2000;

/** News, and whether it happened before this process first saw the engine. */
interface Item {
  readonly news: RuntimeNews;
  readonly history: boolean;
}

export interface FeedParts {
  readonly runtime: string;
  readonly client: DockerClient;
  readonly catalog: Catalog;
  readonly hands: Hands;
  readonly resync: number;
  readonly telemetry: Telemetry;
}

/**
 * The one subscription to the engine's events, however many watch. At each connection: subscribe,
 * then read what the engine remembers, then the list; then events as they come, each once.
 */
export class Feed {
  readonly #parts: FeedParts;
  readonly #news = new Broadcast<Item>();
  readonly #problems = new Set<(error: unknown) => void>();
  readonly #recent: RuntimeEvent[] = [];
  readonly #seen = new Set<string>();
  readonly #starts = new Map<string, { readonly time: Nanos; exact: string | undefined }>();
  readonly #deaths = new Set<() => void>();
  readonly #changes = new Set<(id: string | undefined) => void>();
  readonly #abort = new AbortController();
  #last: EngineEvent | undefined;
  #live: EngineStream | undefined;
  #connected = false;
  #turn: Promise<unknown> = Promise.resolve();
  #logged: string | undefined;
  #done: Promise<void> = Promise.resolve();
  readonly #events: Counter<'action'>;
  readonly #connects: Counter<'result'>;
  readonly #dropped: Counter<'reason'>;
  readonly #gauge: Gauge;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    const registers = [parts.telemetry.metrics];
    this.#events = new Counter({
      name: 'reflexarc_docker_events_total',
      help: "The engine's events about containers, by action.",
      labelNames: ['action'],
      registers,
    });
    this.#connects = new Counter({
      name: 'reflexarc_docker_connects_total',
      help: 'Subscriptions to the engine: ok, gap (events were missed in between), or an error code.',
      labelNames: ['result'],
      registers,
    });
    this.#dropped = new Counter({
      name: 'reflexarc_docker_events_dropped_total',
      help: 'Events that did not reach a watcher: slow (it fell behind), malformed.',
      labelNames: ['reason'],
      registers,
    });
    this.#gauge = new Gauge({
      name: 'reflexarc_docker_connected',
      help: "Whether the engine's events are being read.",
      registers,
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Resolves when the first attempt to connect has ended, well or not. */
  start(): Promise<void> {
    const tried = Promise.withResolvers<void>();
    this.#done = this.#run(tried.resolve);
    return tried.promise;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#news.close();
    await this.#done;
  }

  async *watch(options: WatchOptions, signal: AbortSignal): AsyncGenerator<RuntimeNews> {
    const { since, onProblem } = options;
    const onDrop = (): void => this.#drop('slow', onProblem);
    const reader = await this.#alone(async () => {
      const first: Item[] = [];
      if (this.#connected) {
        try {
          first.push({ news: await this.#list(), history: false });
        } catch (error) {
          // The connection is of no use: the next one brings the list.
          this.#problem(error, onProblem);
          this.#live?.destroy();
        }
      }
      for (const event of this.#recent) {
        if (since !== undefined) first.push({ news: { kind: 'event', event }, history: true });
      }
      return this.#news.subscribe(signal, { limit: WATCHER_LIMIT, onDrop, first });
    });
    if (onProblem !== undefined) this.#problems.add(onProblem);
    try {
      for await (const { news, history } of reader) {
        if (history && since === undefined) continue;
        if (news.kind === 'event' && since !== undefined && news.event.time < since) continue;
        yield news;
      }
    } finally {
      if (onProblem !== undefined) this.#problems.delete(onProblem);
    }
  }

  /** Resolves when the death that ended a container has passed, or could have in any case. */
  async settled(id: string, finishedAt: string, signal: AbortSignal | undefined): Promise<void> {
    const { hands, telemetry } = this.#parts;
    const seen = (): boolean => hands.sawDeath(id, finishedAt);
    if (!this.#connected || !hands.reaches(finishedAt) || seen()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (seen()) resolve();
    };
    const timer = telemetry.clock.after(1000, resolve);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    this.#deaths.add(check);
    await promise;
    timer.cancel();
    this.#deaths.delete(check);
  }

  /** Resolves at the next start or end of a container, at a new list, or when the signal fires. */
  changed(id: string, signal: AbortSignal): { promise: Promise<void>; cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (changed: string | undefined): void => {
      if (changed === undefined || changed === id) resolve();
    };
    const onAbort = (): void => resolve();
    this.#changes.add(check);
    signal.addEventListener('abort', onAbort, { once: true });
    return {
      promise,
      cancel: () => {
        this.#changes.delete(check);
        signal.removeEventListener('abort', onAbort);
      },
    };
  }

  async #run(tried: () => void): Promise<void> {
    const { signal } = this.#abort;
    const { clock } = this.#parts.telemetry;
    let wait = BACKOFF.first;
    while (!signal.aborted) {
      const connection = new AbortController();
      const stop = (): void => connection.abort();
      signal.addEventListener('abort', stop, { once: true });
      try {
        await this.#connect(connection.signal);
        wait = BACKOFF.first;
        tried();
        await this.#consume(connection.signal);
      } catch (error) {
        if (!signal.aborted) {
          this.#connects.inc({ result: isReflexarcError(error) ? error.code : 'internal' });
          this.#problem(error);
        }
      }
      this.#connected = false;
      this.#gauge.set(0);
      this.#parts.catalog.trusted = false;
      connection.abort();
      signal.removeEventListener('abort', stop);
      tried();
      if (signal.aborted) break;
      await clock.sleep(wait, signal).catch(() => {});
      wait = Math.min(wait * 2, BACKOFF.most);
    }
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const { catalog, client, hands, telemetry } = this.#parts;
    const now = (await catalog.learn({ signal })) ?? telemetry.clock.nowNanos();
    this.#live = await client.stream(
      'events',
      (docker, abortSignal) =>
        docker.getEvents({
          abortSignal,
          // dockerode's types have a number, whose digits do not reach to nanoseconds.
          since: secondsOf(now) as unknown as number,
          filters: { type: ['container'], event: [...ACTIONS] },
        }),
      { signal },
    );
    const remembered = await this.#remembered(now, signal);
    const previous = this.#last;
    const resumed =
      previous !== undefined && remembered.events.some(({ key }) => key === previous.key);
    if (!resumed) {
      hands.knownSince(remembered.oldest ?? now);
      this.#starts.clear();
    }
    if (previous !== undefined && !resumed) {
      this.#connects.inc({ result: 'gap' });
      telemetry.log.warn(
        { since: formatRfc3339(previous.time) },
        'events of the Docker Engine were missed while it was away; the list tells what changed',
      );
    } else this.#connects.inc({ result: 'ok' });
    await this.#alone(async () => {
      const details = await catalog.list({ signal });
      catalog.trusted = true;
      const missed: Item[] = [];
      for (const event of remembered.events) {
        const told = await this.#tell(event, true);
        // Before the first connection it is history; later it is what was missed.
        if (told !== undefined) missed.push({ news: told, history: previous === undefined });
      }
      const instances = await Promise.all(details.map((detail) => catalog.complete(detail)));
      this.#news.publish({ news: { kind: 'list', instances }, history: false });
      for (const item of missed) this.#news.publish(item);
      this.#connected = true;
      this.#gauge.set(1);
      for (const check of this.#changes) check(undefined);
      this.#logged = undefined;
      telemetry.log.info({ host: client.host, containers: instances.length }, 'watching Docker');
    });
  }

  /** What the engine still knows: its last 256 events of whatever kind. */
  async #remembered(
    now: Nanos,
    signal: AbortSignal,
  ): Promise<{ events: EngineEvent[]; oldest: Nanos | undefined }> {
    const { client, telemetry } = this.#parts;
    const stream = await client.stream(
      'history',
      (docker, abortSignal) =>
        docker.getEvents({ abortSignal, since: 1, until: secondsOf(now) as unknown as number }),
      { signal },
    );
    const late = new ReflexarcError('timeout', 'the Docker Engine does not end its list of events');
    const timer = telemetry.clock.after(READ_TIMEOUT, () => stream.destroy(late));
    const events: EngineEvent[] = [];
    const wanted: ReadonlySet<string> = new Set(ACTIONS);
    let oldest: Nanos | undefined;
    try {
      for await (const line of splitLines(stream)) {
        oldest ??= timeOf(line);
        const event = this.#parse(line);
        if (event !== undefined && wanted.has(event.action)) events.push(event);
      }
    } finally {
      timer.cancel();
    }
    return { events, oldest };
  }

  async #consume(signal: AbortSignal): Promise<void> {
    const live = this.#live;
    if (live === undefined) return;
    const resync = this.#resync(signal);
    try {
      for await (const line of splitLines(live)) {
        const event = this.#parse(line);
        if (event === undefined) continue;
        await this.#alone(async () => {
          const told = await this.#tell(event, false);
          if (told !== undefined) this.#news.publish({ news: told, history: false });
        });
      }
    } catch (error) {
      throw signal.aborted
        ? error
        : new ReflexarcError('unavailable', 'the Docker Engine cut its events off', {
            cause: error,
          });
    } finally {
      live.destroy();
      void resync;
    }
    throw new ReflexarcError('unavailable', 'the Docker Engine ended its events', {
      hint: 'it was stopped or restarted; they are read again as soon as it is back',
    });
  }

  async #resync(signal: AbortSignal): Promise<void> {
    const { resync, telemetry } = this.#parts;
    const live = this.#live;
    try {
      for (;;) {
        await telemetry.clock.sleep(resync, signal);
        if (this.#news.readers === 0) continue;
        await this.#alone(async () => {
          this.#news.publish({ news: await this.#list(), history: false });
        });
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#problem(error);
      live?.destroy();
    }
  }

  async #list(): Promise<RuntimeNews> {
    const { catalog } = this.#parts;
    const details = await catalog.list({ signal: this.#abort.signal });
    const instances = await Promise.all(details.map((detail) => catalog.complete(detail)));
    return { kind: 'list', instances };
  }

  /**
   * One at a time: a list that was asked for before an event must not be published after it, or it
   * would say of a new container that there is none.
   */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => {});
    return result;
  }

  #parse(line: string): EngineEvent | undefined {
    try {
      return parseEvent(line);
    } catch (cause) {
      this.#drop('malformed');
      this.#parts.telemetry.log.warn({ line: line.slice(0, 500), err: cause }, 'not an event');
      return undefined;
    }
  }

  /** @returns undefined for an event that was told before */
  async #tell(event: EngineEvent, history: boolean): Promise<RuntimeNews | undefined> {
    if (this.#seen.has(event.key)) return undefined;
    this.#seen.add(event.key);
    if (this.#seen.size > 2 * RECENT) {
      for (const key of this.#seen) {
        this.#seen.delete(key);
        if (this.#seen.size <= RECENT) break;
      }
    }
    this.#events.inc({ action: event.action });
    this.#last = event;
    const { catalog, hands, runtime } = this.#parts;
    const detail =
      (await this.#detail(event, history)) ?? describeGone(runtime, event.id, event.raw);
    const startedAt = this.#startOf(event, detail);
    const view = patch(detail.instance, event, startedAt);
    const { attributes } = hands.see(event, detail.stopSignal);
    const stoppedByHand = hands.stoppedByHand(view);
    const told: RuntimeEvent = {
      time: event.time,
      action: event.action,
      instance: { ...view, stoppedByHand },
      ...(startedAt !== undefined && { startedAt }),
      attributes: { ...event.attributes, ...attributes },
    };
    if (event.action === 'destroy') {
      hands.forget(event.id);
      this.#starts.delete(event.id);
      if (!history) catalog.forget(event.id);
    } else if (!history) catalog.note(event.id, view);
    if (event.action === 'die') for (const check of this.#deaths) check();
    if (event.action === 'start' || event.action === 'destroy') {
      for (const check of this.#changes) check(event.id);
    }
    this.#recent.push(told);
    if (this.#recent.length > RECENT) this.#recent.shift();
    return { kind: 'event', event: told };
  }

  /** The container, inspected only where the event changes what events do not tell. */
  async #detail(event: EngineEvent, history: boolean): Promise<Detail | undefined> {
    const { catalog, telemetry } = this.#parts;
    const known = catalog.get(event.id);
    if (history) {
      if (event.action === 'start') {
        this.#starts.set(event.id, { time: event.time, exact: exactStart(known, event.time) });
      }
      return known;
    }
    const start = event.action === 'start';
    const run = this.#starts.get(event.id);
    const changes = start || event.action === 'rename' || event.action === 'update';
    const unknown = known === undefined || (run !== undefined && run.exact === undefined);
    let fresh: Detail | undefined;
    if ((changes || unknown) && event.action !== 'destroy') {
      try {
        fresh = await catalog.inspect(event.id, {
          timeout: INSPECT_TIMEOUT,
          signal: this.#abort.signal,
        });
      } catch (error) {
        telemetry.log.warn({ err: error, container: event.id }, 'cannot inspect a container');
      }
    }
    if (start) {
      this.#starts.set(event.id, { time: event.time, exact: exactStart(fresh, event.time) });
    } else if (run !== undefined && run.exact === undefined) {
      run.exact = exactStart(fresh, event.time);
    }
    return fresh ?? known;
  }

  /** The start of the run that an event is about; what is inspected now may be the next one. */
  #startOf(event: EngineEvent, detail: Detail): string | undefined {
    if (event.action === 'create') return undefined;
    const run = this.#starts.get(event.id);
    // The time of the `start` event is a little later than what the engine notes, and names a run
    // that is over: nothing alive is ever mistaken for it.
    if (run !== undefined) return run.exact ?? formatRfc3339(run.time);
    return exactStart(detail, event.time);
  }

  #drop(reason: 'slow' | 'malformed', onProblem?: (error: unknown) => void): void {
    this.#dropped.inc({ reason });
    if (reason !== 'slow') return;
    onProblem?.(
      new ReflexarcError('limit_exceeded', `a watcher left ${WATCHER_LIMIT} events unread`, {
        hint: 'the oldest of them is dropped; the next list tells what is there',
      }),
    );
  }

  #problem(error: unknown, only?: (error: unknown) => void): void {
    const text = formatError(error);
    // Once, and not at every attempt.
    if (text !== this.#logged) this.#parts.telemetry.log.warn({ err: error }, text);
    this.#logged = text;
    if (only !== undefined) only(error);
    else for (const tell of this.#problems) tell(error);
  }
}

/** A container started at or before an event's time is in the run that the event is about. */
function exactStart(detail: Detail | undefined, time: Nanos): string | undefined {
  const startedAt = detail?.instance.startedAt;
  const start = parseRfc3339(startedAt ?? '');
  return start !== undefined && start <= time ? startedAt : undefined;
}

function patch(instance: Described, event: EngineEvent, startedAt: string | undefined): Described {
  const { action, attributes, time } = event;
  const exitCode = Number(attributes['exit_code']);
  switch (action) {
    case 'start':
      return { ...instance, state: 'running', ...(startedAt !== undefined && { startedAt }) };
    case 'die':
      return {
        ...instance,
        state: 'exited',
        ...(startedAt !== undefined && { startedAt }),
        finishedAt: formatRfc3339(time),
        ...(Number.isInteger(exitCode) && { exitCode }),
      };
    case 'oom':
      return { ...instance, oomKilled: true };
    case 'pause':
      return { ...instance, state: 'paused' };
    case 'unpause':
      return { ...instance, state: 'running' };
    case 'destroy':
      return { ...instance, state: 'removing' };
    case 'health_status': {
      const health = attributes['health_status'];
      return health === 'healthy' || health === 'unhealthy' || health === 'starting'
        ? { ...instance, health: health satisfies Instance['health'] }
        : instance;
    }
    default:
      return instance;
  }
}

/** Docker's `since` and `until`: seconds with nanoseconds behind the point. */
export function secondsOf(nanos: Nanos): string {
  return `${nanos / 1_000_000_000n}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}`;
}

/** The time of an event of any kind. */
function timeOf(line: string): Nanos | undefined {
  const nanos = /"timeNano":(\d+)/.exec(line)?.[1];
  return nanos === undefined ? undefined : BigInt(nanos);
}
