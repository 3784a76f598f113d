import type { Instance } from '../core/contracts/runtime.ts';
import type { Labels } from '../core/labels.ts';
import type { Level } from '../core/level.ts';
import type { Resource, Stream } from '../core/records/log.ts';

/** Which generation of which source lines come from. */
interface Generation {
  readonly source: string;
  readonly generation: string;
}

/**
 * The streams of one source: one object for each combination of output, level and run, since the
 * codec keeps a stream's wire form by the object.
 */
export class Streams {
  readonly #labels: Labels;
  readonly #resource: Resource;
  #of: Generation | undefined;
  #cache = new Map<string, Stream>();
  #last: Stream | undefined;
  #lastOutput: string | undefined;
  #lastLevel: Level | undefined;
  #lastStart: string | undefined;

  constructor(labels: Labels, resource: Resource) {
    this.#labels = labels;
    this.#resource = resource;
  }

  /** `output`: the label `stream`; `start`: RFC 3339 of the run that wrote it. */
  get(
    of: Generation,
    output: string | undefined,
    level: Level | undefined,
    start: string | undefined,
  ): Stream {
    if (of === this.#of) {
      if (
        this.#last !== undefined &&
        output === this.#lastOutput &&
        level === this.#lastLevel &&
        start === this.#lastStart
      ) {
        return this.#last;
      }
    } else {
      this.#of = of;
      this.#cache = new Map();
    }
    const key = `${output ?? ''} ${level ?? ''} ${start ?? ''}`;
    let stream = this.#cache.get(key);
    if (stream === undefined) {
      stream = this.#make(of, output, level, start);
      // Runs come one after the other: what is cached of old ones is not asked for again.
      if (this.#cache.size > 100) this.#cache.clear();
      this.#cache.set(key, stream);
    }
    this.#last = stream;
    this.#lastOutput = output;
    this.#lastLevel = level;
    this.#lastStart = start;
    return stream;
  }

  #make(
    of: Generation,
    output: string | undefined,
    level: Level | undefined,
    start: string | undefined,
  ): Stream {
    return {
      labels: {
        ...this.#labels,
        ...(output === undefined ? {} : { stream: output }),
        ...(level === undefined ? {} : { level }),
      },
      resource: {
        ...this.#resource,
        ...(level === undefined ? {} : { 'log.level': level }),
        'reflexarc.source': of.source,
        'reflexarc.generation': of.generation,
        ...(start === undefined ? {} : { 'reflexarc.start': start }),
      },
    };
  }
}

/** A container label's name as a label's: what Prometheus does to names. */
export const sanitizeLabel = (name: string): string =>
  name.replaceAll(/[^a-zA-Z0-9_]/g, '_').replace(/^(?=\d)/, '_');

export interface Labelling {
  readonly host: string;
  /** Labels of `reflexarc.yaml`. */
  readonly labels: Labels;
  /** Container labels to promote. */
  readonly promote: readonly string[];
}

/** The promoted container labels, under the names they get. */
export function promoted(instance: Instance, promote: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const name of promote) {
    const value = instance.labels[name];
    if (value !== undefined && value !== '') labels[sanitizeLabel(name)] = value;
  }
  return labels;
}

/** Labels and ECS fields of an instance's streams, without level and output. */
export function describeInstance(
  instance: Instance,
  { host, labels, promote }: Labelling,
): { labels: Record<string, string>; resource: Record<string, string> } {
  const { orchestrator } = instance;
  const set = (name: string, value: string | undefined): Record<string, string> =>
    value === undefined || value === '' ? {} : { [name]: value };
  return {
    labels: {
      ...promoted(instance, promote),
      ...labels,
      service: instance.service,
      ...set('project', instance.project),
      container: instance.name,
      host,
      ...set('image', instance.image),
    },
    resource: {
      'host.name': host,
      'service.name': instance.service,
      'container.id': instance.id,
      'container.name': instance.name,
      ...set('container.image.name', instance.image),
      ...set('container.image.hash.all', instance.imageDigest),
      ...set('orchestrator.type', orchestrator?.type),
      ...set('orchestrator.namespace', orchestrator?.namespace ?? instance.project),
      ...set('orchestrator.resource.name', orchestrator?.service),
      ...set('orchestrator.resource.id', orchestrator?.task),
    },
  };
}
