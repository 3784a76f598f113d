import { createHash } from 'node:crypto';
import { messageOf, ReflexarcError } from '../errors.ts';
import { type Labels, labelsKey } from '../labels.ts';
import { formatRfc3339, normalizeRfc3339 } from '../time.ts';
import type { ActionRecord } from './action.ts';
import type { AlertRecord } from './alert.ts';
import {
  FIELD,
  type LogRecord,
  type Position,
  type Resource,
  type Stream,
  TRUNCATED_LABEL,
} from './log.ts';
import { LogHead } from './log-head.ts';
import { isStale, type Origin, type Sample, STALE_MARKER } from './metric.ts';

/**
 * The wire form: NDJSON. A log record is a flat ECS document whose per-line fields come first and
 * whose stream (labels and resource) comes last, as one text that is the same for every line of the
 * stream: encoding appends it, decoding looks it up instead of parsing it again.
 */

const TIMESTAMP = '@timestamp';
const ID = 'event.id';
const POSITION = 'reflexarc.position';
const MESSAGE = 'message';
const OWN_KEYS: ReadonlySet<string> = new Set([TIMESTAMP, ID, POSITION, MESSAGE, 'labels']);

/**
 * Where the stream's text begins in a line of `logs`; two lines that end alike from here on are of
 * one stream. An unescaped quote after a comma cannot stand inside a JSON string: the first match
 * is the key.
 */
export const STREAM_MARK = Buffer.from(',"labels":{');
const NEWLINE = 10;

const tails = new WeakMap<Stream, string>();

function tailOf(stream: Stream): string {
  let tail = tails.get(stream);
  if (tail === undefined) {
    const resource = JSON.stringify(stream.resource).slice(1);
    tail = `,"labels":${JSON.stringify(stream.labels)}${resource === '}' ? '' : ','}${resource}\n`;
    tails.set(stream, tail);
  }
  return tail;
}

/** One NDJSON line, with its line break. */
export function encodeLog(record: LogRecord): string {
  let head = `{"${TIMESTAMP}":"${record.timestamp}","${ID}":${JSON.stringify(record.id)}`;
  if (record.position !== undefined) head += `,"${POSITION}":${JSON.stringify(record.position)}`;
  head += `,"${MESSAGE}":${JSON.stringify(record.line)}`;
  if (record.fields !== undefined) {
    for (const [name, value] of Object.entries(record.fields)) {
      // A nested `labels` would look like the stream's; ECS names are dotted here anyway.
      if (value === undefined || OWN_KEYS.has(name)) continue;
      head += `,${JSON.stringify(name)}:${JSON.stringify(value).replaceAll(',"labels":{', ', "labels":{')}`;
    }
  }
  return head + tailOf(record.stream);
}

/**
 * As `encodeLog` for a record without fields, whose line is JSON text already, quotes included. The
 * caller answers for its being valid.
 */
export function encodeRawLine(
  timestamp: string,
  id: string,
  position: Position,
  json: string,
  stream: Stream,
): string {
  const at = typeof position === 'number' ? position : JSON.stringify(position);
  return `{"${TIMESTAMP}":"${timestamp}","${ID}":"${id}","${POSITION}":${at},"${MESSAGE}":${json}${tailOf(stream)}`;
}

export function encodeLogs(records: Iterable<LogRecord>): Uint8Array {
  let text = '';
  for (const record of records) text += encodeLog(record);
  return Buffer.from(text);
}

/** A line that is no record. `line` counts from 0 within the value. */
export interface BadRecord {
  readonly line: number;
  readonly original: Uint8Array;
  readonly error: ReflexarcError;
}

export interface Decoded<T> {
  readonly records: readonly T[];
  /** For each record the line it stood on. */
  readonly lines: readonly number[];
  readonly bad: readonly BadRecord[];
}

/** Streams by their wire text; bounded, so that hostile labels cost time and not memory. */
export class StreamCache {
  readonly #streams = new Map<string, Stream>();
  readonly #max: number;
  /** Neighbours are mostly of few streams: comparing bytes is cheaper than hashing a text. */
  #recent: { readonly tail: Buffer; readonly stream: Stream }[] = [];

  constructor(max = 10_000) {
    this.#max = max;
  }

  get(text: string): Stream | undefined {
    return this.#streams.get(text);
  }

  /** One of the last that were seen, when its tail and a line break stand here; and where it ends. */
  recall(
    bytes: Buffer,
    from: number,
  ): { readonly tail: Buffer; readonly stream: Stream } | undefined {
    for (let index = 0; index < this.#recent.length; index++) {
      const recent = this.#recent[index];
      if (recent === undefined) break;
      const { tail } = recent;
      const end = from + tail.length;
      if (bytes[end] !== NEWLINE || tail.compare(bytes, from, end) !== 0) continue;
      if (index > 0) {
        this.#recent.splice(index, 1);
        this.#recent.unshift(recent);
      }
      return recent;
    }
    return undefined;
  }

  remember(tail: Buffer, stream: Stream): void {
    this.#recent.unshift({ tail: Buffer.from(tail), stream });
    this.#recent.length = Math.min(this.#recent.length, RECENT);
  }

  set(text: string, stream: Stream): void {
    if (this.#streams.size >= this.#max) this.#streams.clear();
    this.#streams.set(text, stream);
  }
}

const RECENT = 4;

function decodeLines<T>(value: Uint8Array, decode: (line: Buffer) => T): Decoded<T> {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const records: T[] = [];
  const lines: number[] = [];
  const bad: BadRecord[] = [];
  let from = 0;
  for (let line = 0; from < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, from);
    const to = newline === -1 ? bytes.length : newline;
    const part = bytes.subarray(from, to);
    from = to + 1;
    if (part.length === 0) continue;
    try {
      records.push(decode(part));
      lines.push(line);
    } catch (cause) {
      const error = new ReflexarcError('bad_record', messageOf(cause), { cause });
      bad.push({ line, original: part, error });
    }
  }
  return { records, lines, bad };
}

/** Never throws: what cannot be read is in `bad`. */
export function decodeLogs(value: Uint8Array, cache: StreamCache): Decoded<LogRecord> {
  const records: LogRecord[] = [];
  const lines: number[] = [];
  const bad: BadRecord[] = [];
  const cursor = new LogCursor(value, cache, sharedHead);
  while (cursor.next()) {
    const { line, error } = cursor;
    if (error !== undefined) {
      bad.push({ line, original: cursor.original, error });
    } else {
      records.push(cursor.record ?? recordOf(cursor));
      lines.push(line);
    }
  }
  return { records, lines, bad };
}

/** Only for who is done with a value before another begins. */
const sharedHead = new LogHead();

function recordOf({ head, bytes, stream }: LogCursor): LogRecord {
  const { idFrom, idTo, lineFrom, lineTo, parts, first, second } = head;
  const line = head.escaped
    ? (JSON.parse(bytes.toString('utf8', lineFrom - 1, lineTo + 1)) as string)
    : bytes.toString('utf8', lineFrom, lineTo);
  const timestamp = bytes.toString('latin1', head.timeFrom, head.timeFrom + 30);
  const id = bytes.toString('utf8', idFrom, idTo);
  if (parts === 0) return { timestamp, id, line, stream };
  return { timestamp, id, position: parts === 1 ? first : [first, second], line, stream };
}

const NO_STREAM: Stream = { labels: {}, resource: {} };

/**
 * The lines of a value, one after the other, empty ones left out. What is of the form that
 * `encodeLog` writes is looked at where it stands; the rest comes as a record, or as an error.
 */
export class LogCursor {
  readonly bytes: Buffer;
  /** Of the line, where there is neither a record nor an error. */
  readonly head: LogHead;
  stream = NO_STREAM;
  record: LogRecord | undefined;
  error: ReflexarcError | undefined;
  /** Counts from 0. */
  line = -1;
  readonly #cache: StreamCache;
  #from = 0;
  #to = -1;

  constructor(value: Uint8Array, cache: StreamCache, head = new LogHead()) {
    this.bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#cache = cache;
    this.head = head;
    head.open(this.bytes);
  }

  /** The bytes of the line, without its line break. */
  get original(): Buffer {
    return this.bytes.subarray(this.#from, this.#to);
  }

  next(): boolean {
    const { bytes, head } = this;
    for (;;) {
      const from = this.#to + 1;
      if (from >= bytes.length) return false;
      this.line++;
      this.#from = from;
      this.record = undefined;
      this.error = undefined;
      if (head.read(from) && this.#readTail(head.lineTo + 1)) return true;
      this.#to = this.#endOfLine(from);
      if (this.#to === from) continue;
      try {
        this.record = decodeLog(this.original, this.#cache);
      } catch (cause) {
        this.error = new ReflexarcError('bad_record', messageOf(cause), { cause });
      }
      return true;
    }
  }

  #endOfLine(from: number): number {
    const newline = this.bytes.indexOf(NEWLINE, from);
    return newline === -1 ? this.bytes.length : newline;
  }

  #readTail(from: number): boolean {
    const recent = this.#cache.recall(this.bytes, from);
    if (recent !== undefined) {
      this.stream = recent.stream;
      this.#to = from + recent.tail.length;
      return true;
    }
    const to = this.#endOfLine(from);
    const tail = this.bytes.subarray(from, to);
    if (tail.indexOf(STREAM_MARK) !== 0) return false;
    let stream: Stream | undefined;
    try {
      stream = streamOfTail(tail.toString(), this.#cache);
    } catch {
      // Read as a document it fails again, and whoever does that says so.
    }
    if (stream === undefined) return false;
    this.#cache.remember(tail, stream);
    this.stream = stream;
    this.#to = to;
    return true;
  }
}

function decodeLog(line: Buffer, cache: StreamCache): LogRecord {
  const mark = line.indexOf(STREAM_MARK);
  const stream = mark === -1 ? undefined : streamOfTail(line.toString('utf8', mark), cache);
  if (stream === undefined) return fromDocument(parseObject(line.toString()), undefined);
  return fromDocument(parseObject(`${line.toString('utf8', 0, mark)}}`), stream);
}

/** Undefined where the tail holds more than the stream. @throws where it is no JSON */
function streamOfTail(tail: string, cache: StreamCache): Stream | undefined {
  let stream = cache.get(tail);
  if (stream === undefined) {
    stream = streamOf(parseObject(`{${tail.slice(1)}`));
    if (stream !== undefined) cache.set(tail, stream);
  }
  return stream;
}

function parseObject(text: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new Error('a record is a JSON object');
  }
  return parsed as Record<string, unknown>;
}

const isLabels = (value: unknown): value is Labels =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((item) => typeof item === 'string');

function streamOf(document: Record<string, unknown>): Stream | undefined {
  const { labels, ...resource } = document;
  if (!isLabels(labels)) return undefined;
  for (const [name, value] of Object.entries(resource)) {
    if (typeof value !== 'string' || OWN_KEYS.has(name)) return undefined;
  }
  return { labels, resource: resource as Resource };
}

// ECS fields by which a shipper names a stream, and the label each becomes.
const FOREIGN: readonly (readonly [field: string, label: string])[] = [
  ['service.name', 'service'],
  ['orchestrator.namespace', 'project'],
  ['container.name', 'container'],
  ['host.name', 'host'],
  ['log.level', 'level'],
  ['container.image.name', 'image'],
  ['stream', 'stream'],
];

function fromDocument(document: Record<string, unknown>, known: Stream | undefined): LogRecord {
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(document)) if (!OWN_KEYS.has(name)) fields[name] = document[name];
  const line = document[MESSAGE] ?? document['log'] ?? document['msg'];
  if (typeof line !== 'string') throw new Error(`a record needs \`${MESSAGE}\`, a string`);
  const time = document[TIMESTAMP] ?? document['timestamp'] ?? document['time'];
  const timestamp = typeof time === 'string' ? normalizeRfc3339(time) : fromEpoch(time);
  if (timestamp === undefined) throw new Error(`a record needs \`${TIMESTAMP}\`, an RFC 3339 time`);
  const stream = known ?? foreignStream(document, fields);
  const id = document[ID];
  const position = document[POSITION];
  return {
    timestamp,
    id: typeof id === 'string' && id !== '' ? id : contentId(timestamp, line, stream),
    ...(isPosition(position) ? { position } : {}),
    line,
    stream,
    ...(Object.keys(fields).length > 0 ? { fields } : {}),
  };
}

function fromEpoch(time: unknown): string | undefined {
  if (typeof time !== 'number' || !Number.isFinite(time)) return undefined;
  // Fluent Bit writes seconds, others milliseconds: no log is from before 1973 in milliseconds.
  const ms = time < 1e11 ? time * 1000 : time;
  if (Math.abs(ms) > 8.64e15) return undefined;
  return formatRfc3339(BigInt(Math.round(ms * 1000)) * 1000n);
}

const isPosition = (value: unknown): value is Position =>
  typeof value === 'number' ||
  (Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'number'));

function foreignStream(document: Record<string, unknown>, fields: Record<string, unknown>): Stream {
  const labels: Record<string, string> = {};
  const resource: Record<string, string> = {};
  for (const [field, label] of FOREIGN) {
    const value = lookUp(document, field);
    if (typeof value !== 'string' || value === '') continue;
    labels[label] = value;
    if (field.includes('.')) resource[field] = value;
    delete fields[field];
  }
  const id = lookUp(document, 'container.id');
  if (typeof id === 'string') resource['container.id'] = id;
  // A shipper's own `labels` hold more than strings at times: what is no label stays a field.
  const given = document['labels'];
  if (isLabels(given)) Object.assign(labels, given);
  else if (given !== undefined) fields['labels'] = given;
  return { labels, resource };
}

/** A dotted name, whether the document has it flat or nested. */
function lookUp(document: Record<string, unknown>, path: string): unknown {
  if (document[path] !== undefined) return document[path];
  let value: unknown = document;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** The id of a record that came without one: the same content is the same record. */
export function contentId(timestamp: string, line: string, stream: Stream): string {
  return createHash('sha256')
    .update(`${timestamp}\u0000${labelsKey(stream.labels)}\u0000${line}`)
    .digest('base64url')
    .slice(0, 22);
}

/** The short name of a source's generation, of which its lines' ids are made. */
export function sourceId(source: string, generation: string): string {
  return createHash('sha256')
    .update(`${source}\u0000${generation}`)
    .digest('base64url')
    .slice(0, 16);
}

/** `event.id` of a line: unique, and the same at every reading. */
export function lineId(source: string, position: Position): string {
  return typeof position === 'number'
    ? `${source}.${position.toString(36)}`
    : `${source}.${position[0].toString(36)}.${position[1].toString(36)}`;
}

/**
 * What queries show of a record beside its stream's labels: the structured metadata of a pushed
 * line, and the mark of one that was cut.
 */
export function metadataOf({ fields }: LogRecord): Labels | undefined {
  if (fields === undefined) return undefined;
  const given = fields[FIELD.metadata];
  const metadata = isLabels(given) ? given : undefined;
  const truncated = fields[FIELD.truncated];
  if (typeof truncated !== 'number') return metadata;
  return { ...metadata, [TRUNCATED_LABEL]: String(truncated) };
}

/** The container start that a record came from. */
export function originOf(stream: Stream): Origin | undefined {
  const id = stream.resource['container.id'];
  const startedAt = stream.resource['reflexarc.start'];
  if (id === undefined) return undefined;
  return startedAt === undefined ? { id } : { id, startedAt };
}

/** JSON has no NaN and no infinities. */
function encodeNumber(value: number): number | string {
  if (Number.isFinite(value)) return isStale(value) ? 'stale' : value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

function decodeNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  switch (value) {
    case 'stale':
      return STALE_MARKER;
    case 'NaN':
      return Number.NaN;
    case '+Inf':
      return Number.POSITIVE_INFINITY;
    case '-Inf':
      return Number.NEGATIVE_INFINITY;
    default:
      throw new Error('`value` is a number, "NaN", "+Inf", "-Inf" or "stale"');
  }
}

/** `{"@timestamp":<ms>,"labels":{…},"value":1.5,"origin":{…}}`, one a line. */
export function encodeSamples(samples: Iterable<Sample>): Uint8Array {
  let text = '';
  for (const { timestamp, labels, value, origin } of samples) {
    text += `${JSON.stringify({ [TIMESTAMP]: timestamp, labels, value: encodeNumber(value), origin })}\n`;
  }
  return Buffer.from(text);
}

/** Never throws: what cannot be read is in `bad`. */
export function decodeSamples(value: Uint8Array): Decoded<Sample> {
  return decodeLines(value, (line) => {
    const document = parseObject(line.toString());
    const { labels, origin } = document;
    const time = document[TIMESTAMP];
    const ms = typeof time === 'string' ? Date.parse(time) : time;
    if (typeof ms !== 'number' || !Number.isFinite(ms))
      throw new Error(`a sample needs \`${TIMESTAMP}\``);
    if (!isLabels(labels)) throw new Error('a sample needs `labels`, an object of strings');
    return {
      labels,
      timestamp: ms,
      value: decodeNumber(document['value']),
      ...(origin === undefined ? {} : { origin: origin as Origin }),
    };
  });
}

/** Alerts and actions: the record itself, one a line; numbers keep NaN and infinities. */
export function encodeRecords(records: Iterable<AlertRecord | ActionRecord>): Uint8Array {
  let text = '';
  for (const record of records) {
    text += `${JSON.stringify('value' in record ? { ...record, value: encodeNumber(record.value) } : record)}\n`;
  }
  return Buffer.from(text);
}

export function decodeAlerts(value: Uint8Array): Decoded<AlertRecord> {
  return decodeLines(value, (line) => {
    const document = parseObject(line.toString());
    requireStrings(document, ['id', 'fingerprint', 'state', 'cause']);
    return { ...document, value: decodeNumber(document['value']) } as unknown as AlertRecord;
  });
}

export function decodeActions(value: Uint8Array): Decoded<ActionRecord> {
  return decodeLines(value, (line) => {
    const document = parseObject(line.toString());
    requireStrings(document, ['id', 'case', 'phase', 'remediation']);
    return document as unknown as ActionRecord;
  });
}

function requireStrings(document: Record<string, unknown>, names: readonly string[]): void {
  for (const name of names) {
    if (typeof document[name] !== 'string') throw new Error(`a record needs \`${name}\`, a string`);
  }
}
