import { constants, promises as fs } from 'node:fs';
import { dirname } from 'node:path';
import type { ReflexarcConfig } from '../../core/config/reflexarc.ts';
import type { Instance, RuntimeEvent, RuntimeReader } from '../../core/contracts/runtime.ts';
import type { Telemetry } from '../../core/service.ts';
import { formatRfc3339 } from '../../core/time.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Output } from '../output/output.ts';
import { describeInstance, type Labelling, Streams } from '../streams.ts';
import { inodeKey, statFile } from '../tail/bytes.ts';
import { jsonFileFramer } from '../tail/json-file.ts';
import { plainFramer } from '../tail/plain.ts';
import type { Tail } from '../tail/tail.ts';
import type { Tailing } from '../tail/tailing.ts';
import { LogWriter } from '../tail/writer.ts';
import { Boundaries } from './boundaries.ts';
import { Follow } from './follow.ts';
import { Runs } from './runs.ts';

/** Docker escapes a piece of 16 KiB to 100 KiB; what is longer is no line of its. */
const JSON_LINE = 256 * 1024;
/** For how long a rotated file of a process may still grow. */
const LINGER = 5000;

const PREFIX = 'collect/logs/';

export interface InstanceLogsDeps {
  readonly runtime: RuntimeReader;
  readonly config: ReflexarcConfig;
  readonly telemetry: Telemetry;
  readonly measures: Measures;
  readonly checkpoints: Checkpoints;
  readonly output: Output;
  readonly tailing: Tailing;
  readonly labelling: Labelling;
  readonly stamp: () => string;
  /** Whether an instance's output is wanted at all. */
  readonly wanted: (instance: Instance) => boolean;
}

/** One instance whose output is read. */
interface Entry {
  streams: Streams;
  described: string;
  readonly runs: Runs;
  readonly waiting: Set<() => void>;
  tails: Tail[];
  boundaries: Boundaries[];
  follow: Follow | undefined;
  /** Settles when reading has begun, whichever way. */
  opened: Promise<void>;
}

/** The output of one runtime's instances, each the way its log allows. */
export class InstanceLogs {
  readonly #deps: InstanceLogsDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new Map<string, Promise<void>>();
  readonly #said = new Set<string>();
  #stopped = false;

  constructor(deps: InstanceLogsDeps) {
    this.#deps = deps;
  }

  /** The whole list: what is not in it is gone. */
  list(instances: readonly Instance[]): void {
    const there = new Set(instances.map((instance) => instance.id));
    for (const id of this.#entries.keys()) if (!there.has(id)) this.#gone(id);
    for (const instance of instances) this.#learn(instance);
  }

  event(event: RuntimeEvent): void {
    const { action, instance, startedAt, time } = event;
    const entry = this.#entries.get(instance.id);
    if (action === 'destroy') {
      // A repeat of old news, about a run before this one's.
      const newest = entry?.runs.newest;
      if (newest === undefined || formatRfc3339(time) >= newest) this.#gone(instance.id);
      return;
    }
    if (action === 'create' || action === 'start') this.#learn(instance);
    const known = entry ?? this.#entries.get(instance.id);
    if (known === undefined) return;
    if (action === 'die') {
      const start = startedAt ?? known.runs.newest;
      if (start !== undefined) for (const one of known.boundaries) one.ended(start);
      known.runs.ended(startedAt, formatRfc3339(time));
    }
    if (action === 'start' && startedAt !== undefined) known.runs.started(startedAt);
    if (action === 'rename') this.#describe(known, instance);
    // What a process wrote last may have given no notice that was read before this news.
    for (const tail of known.tails) this.#deps.tailing.wake(tail);
  }

  /** Forgets the checkpoints of what was removed while nobody watched. */
  async forget(instances: readonly Instance[]): Promise<void> {
    const { checkpoints, runtime } = this.#deps;
    const there = new Set(instances.map((instance) => instance.id));
    const prefix = `${PREFIX}${runtime.name}/`;
    for (const key of await checkpoints.keys(prefix)) {
      const id = key.slice(prefix.length).split('/')[0] ?? '';
      if (!there.has(id) && !this.#ending.has(id) && !this.#entries.has(id)) {
        await checkpoints.remove(key);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { follow, runs } of this.#entries.values()) {
      follow?.stop();
      runs.stop();
    }
  }

  #learn(instance: Instance): void {
    if (this.#stopped || !this.#deps.wanted(instance)) return;
    const entry = this.#entries.get(instance.id);
    if (entry !== undefined) {
      entry.runs.learn(instance);
      this.#describe(entry, instance);
      return;
    }
    if (instance.log.format === 'none') {
      this.#say(
        instance,
        `${instance.name}: its log driver ${instance.log.driver} keeps nothing that could be read`,
      );
      return;
    }
    const ending = this.#ending.get(instance.id);
    if (ending !== undefined) {
      // Of the same name as one that is just being read to its end.
      void ending.then(() => this.#learn(instance));
      return;
    }
    this.#entries.set(instance.id, this.#open(instance));
  }

  #describe(entry: Entry, instance: Instance): void {
    const { labels, resource } = describeInstance(instance, this.#deps.labelling);
    const described = JSON.stringify([labels, resource]);
    if (entry.described === described) return;
    entry.described = described;
    entry.streams = new Streams(labels, resource);
  }

  #open(instance: Instance): Entry {
    const { telemetry, tailing } = this.#deps;
    const waiting = new Set<() => void>();
    const runs = new Runs(telemetry.clock, () => {
      for (const tail of entry.tails) tailing.wake(tail);
      for (const resolve of waiting) resolve();
      waiting.clear();
    });
    const entry: Entry = {
      streams: new Streams({}, {}),
      described: '',
      runs,
      waiting,
      tails: [],
      boundaries: [],
      follow: undefined,
      opened: Promise.resolve(),
    };
    this.#describe(entry, instance);
    runs.learn(instance);
    entry.opened = this.#read(instance, entry);
    return entry;
  }

  async #read(instance: Instance, entry: Entry): Promise<void> {
    const { log } = instance;
    switch (log.format) {
      case 'plain':
        for (const output of ['stdout', 'stderr'] as const) {
          entry.tails.push(this.#tailPlain(instance, entry, output, log[output]));
        }
        return;
      case 'json-file':
        if (await this.#readable(instance, log.path)) {
          if (!this.#stopped) entry.tails.push(this.#tailJson(instance, entry, log.path));
        } else this.#follow(instance, entry);
        return;
      case 'api':
        this.#follow(instance, entry);
        return;
      case 'none':
        return;
    }
  }

  /** Whether a json-file log is to be read from disk. */
  async #readable(instance: Instance, path: string): Promise<boolean> {
    const { read } = this.#deps.config.sources.docker;
    if (read !== 'auto') return read === 'files';
    try {
      await fs.access(path, constants.R_OK);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') {
        try {
          // Not written yet, if the container's folder is there.
          await fs.access(dirname(path), constants.R_OK);
          return true;
        } catch {
          // Out of reach, as below.
        }
      }
      this.#say(
        instance,
        `log files are out of reach (${code} at ${dirname(path)}); the API is read instead, more slowly`,
        'files',
      );
      return false;
    }
  }

  #tailJson(instance: Instance, entry: Entry, path: string): Tail {
    const { config, tailing, telemetry } = this.#deps;
    const source = `${instance.runtime}:${instance.id}`;
    return tailing.add(
      {
        path,
        key: `${PREFIX}${instance.runtime}/${instance.id}`,
        kind: instance.runtime,
        from: 'beginning',
        older: true,
        maxLine: JSON_LINE,
        linger: 0,
        // The first line has a time in nanoseconds: it tells files apart, and survives compression.
        name: (_place, fingerprint) => ({ source, generation: fingerprint }),
      },
      instance.id,
      (writer) =>
        jsonFileFramer({
          writer,
          streams: () => entry.streams,
          runs: entry.runs,
          clock: telemetry.clock,
          maxLine: config.sources.max_line,
        }),
    );
  }

  #tailPlain(instance: Instance, entry: Entry, output: 'stdout' | 'stderr', path: string): Tail {
    const { config, labelling, stamp, tailing } = this.#deps;
    // A process' id is its name: unique on its host only.
    const source = `${instance.id}@${labelling.host}/${output}`;
    const boundaries = new Boundaries(path);
    entry.boundaries.push(boundaries);
    return tailing.add(
      {
        path,
        key: `${PREFIX}${instance.runtime}/${instance.id}/${output}`,
        kind: instance.runtime,
        from: 'beginning',
        older: true,
        maxLine: config.sources.max_line,
        linger: LINGER,
        name: (place, fingerprint, incarnation) => ({
          source,
          generation: `${inodeKey(place)}:${fingerprint}:${incarnation}`,
        }),
      },
      instance.id,
      (writer) =>
        plainFramer({
          writer,
          streams: () => entry.streams,
          output,
          stamp,
          start: (file, offset) => boundaries.at(file, offset) ?? entry.runs.newest,
          over: () => entry.runs.isOver(),
        }),
    );
  }

  #follow(instance: Instance, entry: Entry): void {
    if (this.#stopped) return;
    const { checkpoints, config, measures, output, runtime, telemetry } = this.#deps;
    entry.follow = new Follow({
      id: instance.id,
      source: `${instance.runtime}:${instance.id}`,
      key: `${PREFIX}${instance.runtime}/${instance.id}/api`,
      runtime,
      telemetry,
      measures,
      checkpoints,
      lane: output.lane(instance.id),
      writer: new LogWriter(instance.id, 'api', measures),
      streams: () => entry.streams,
      runs: entry.runs,
      changed: () => new Promise((resolve) => entry.waiting.add(resolve)),
      maxLine: config.sources.max_line,
    });
  }

  #gone(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    const ending = this.#end(entry).finally(() => this.#ending.delete(id));
    this.#ending.set(id, ending);
  }

  /** Reads to the end what is left of an instance that is gone. */
  async #end(entry: Entry): Promise<void> {
    const { checkpoints, tailing } = this.#deps;
    await entry.opened;
    for (const tail of entry.tails) {
      tail.finish();
      await tail.finished;
      await tailing.remove(tail);
      // A process of the same name goes on in the same file.
      if ((await statFile(tail.spec.path).catch(() => undefined)) === undefined) {
        await checkpoints.remove(tail.spec.key);
      }
    }
    await entry.follow?.finished;
    entry.runs.stop();
  }

  #say(instance: Instance, message: string, about = instance.id): void {
    if (this.#said.has(about)) return;
    this.#said.add(about);
    this.#deps.telemetry.log.warn({ container: instance.name, runtime: instance.runtime }, message);
  }
}
