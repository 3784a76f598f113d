import type { Labels } from '../labels.ts';

/**
 * What all lines of one stream share: its labels, and the ECS fields that do not change from line
 * to line, under their dotted names. One object serves every record of the stream, so that it can
 * be a key of caches. Owned by whoever made it, and never changed afterwards.
 */
export interface Stream {
  /** The LogQL labels, exactly: `service`, `project`, `container`, `host`, `stream`, `level`, … */
  readonly labels: Labels;
  readonly resource: Resource;
}

/** ECS fields of a stream. https://www.elastic.co/docs/reference/ecs */
export interface Resource {
  readonly 'host.name'?: string;
  readonly 'service.name'?: string;
  readonly 'container.id'?: string;
  readonly 'container.name'?: string;
  readonly 'container.image.name'?: string;
  readonly 'container.image.hash.all'?: string;
  /** `compose` or `swarm`. */
  readonly 'orchestrator.type'?: string;
  /** The Compose project or Swarm stack. */
  readonly 'orchestrator.namespace'?: string;
  readonly 'orchestrator.resource.name'?: string;
  readonly 'orchestrator.resource.id'?: string;
  readonly 'log.level'?: string;
  readonly 'log.file.path'?: string;
  /** Where the lines come from, as in `docker:<container id>` or `file:<device>:<inode>`. */
  readonly 'reflexarc.source'?: string;
  /** Which incarnation of the source: a rotated or truncated file is a new one. */
  readonly 'reflexarc.generation'?: string;
  /** RFC 3339: when the container or process that wrote the lines was started, where known. */
  readonly 'reflexarc.start'?: string;
  readonly [field: string]: string | undefined;
}

/**
 * Further ECS fields of one record: `event.*` of an engine's event, `trace.id`, structured
 * metadata, and whatever a foreign shipper sent.
 */
export type Fields = Readonly<Record<string, unknown>>;

/** One line. On the wire it is a flat ECS document; `core/records/codec.ts` has the mapping. */
export interface LogRecord {
  /** `@timestamp`: RFC 3339, UTC, nine digits. */
  readonly timestamp: string;
  /**
   * `event.id`: derived from source, generation and position, so that the same line has the same
   * id however often it is sent.
   */
  readonly id: string;
  /**
   * `reflexarc.position`: rises within one source and generation. Whoever sees a position that is
   * not above the highest it has seen there sees a repeat. Absent on pushed lines, which are told
   * apart by id.
   */
  readonly position?: Position;
  /** `message`: the line, without its line break. */
  readonly line: string;
  readonly stream: Stream;
  readonly fields?: Fields;
}

/**
 * Byte offset of a line in its file; or `[µs since the epoch, counter within it]` for lines that
 * are followed through an engine's API.
 */
export type Position = number | readonly [number, number];

/** Negative, zero or positive, as sorting wants it. */
export function comparePositions(a: Position, b: Position): number {
  const [a0, a1] = typeof a === 'number' ? [a, 0] : a;
  const [b0, b1] = typeof b === 'number' ? [b, 0] : b;
  return a0 - b0 || a1 - b1;
}

/** Keys of `fields` with a meaning of their own. */
export const FIELD = {
  /** Structured metadata of a pushed line (Loki): an object of strings. */
  metadata: 'reflexarc.metadata',
  /** Bytes that were cut off a line over the limit. */
  truncated: 'reflexarc.truncated_bytes',
  eventKind: 'event.kind',
  eventAction: 'event.action',
} as const;

/** `FIELD.truncated` as queries show it: LogQL's labels have no dots. */
export const TRUNCATED_LABEL = 'reflexarc_truncated_bytes';
