import { setImmediate } from 'node:timers/promises';
import { formatDuration } from '../../core/durations.ts';
import type { ReflexarcError } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import { contentId } from '../../core/records/codec.ts';
import { FIELD, type LogRecord, type Stream } from '../../core/records/log.ts';
import { formatRfc3339, type Nanos } from '../../core/time.ts';
import { badRequest, quote } from '../params.ts';

/**
 * The body of a push, checked as a whole: `{"streams":[{"stream":{…},"values":[["<ns>","line",
 * {…}]]}]}`. https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
 */

export interface PushedStream {
  readonly stream: Stream;
  readonly entries: readonly LogRecord[];
  /** Lines that were cut. */
  readonly truncated: number;
}

export interface PushRules {
  readonly now: Nanos;
  /** Milliseconds; what is older would be removed at once. */
  readonly maxAge: number;
  /** Bytes of a line; what is over is cut and marked. */
  readonly maxLine: number;
}

// Loki's own defaults: limits_config.max_label_names_per_series and the others.
const MAX_LABELS = 30;
const MAX_NAME = 1024;
const MAX_VALUE = 2048;
const MAX_METADATA_ENTRIES = 128;
const MAX_METADATA_BYTES = 64 * 1024;
/** How far a clock may be ahead of ours: Loki's creation_grace_period. */
const GRACE = 10 * 60_000;
const LABEL = /^[A-Za-z_][A-Za-z0-9_]*$/;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Entries between two turns of the event loop: a large push must not hold up everybody else. */
const TURN = 1000;

/** @throws bad_request that names the stream and the value */
export async function readPush(body: unknown, rules: PushRules): Promise<PushedStream[]> {
  const streams = isObject(body) ? body['streams'] : undefined;
  if (!Array.isArray(streams)) {
    throw badRequest('the body has no `streams`, an array', 'send {"streams": […]}');
  }
  const read: PushedStream[] = [];
  for (const [index, value] of streams.entries()) {
    if (index % TURN === TURN - 1) await setImmediate();
    read.push(await readStream(value, `streams[${index}]`, rules));
  }
  return read;
}

async function readStream(value: unknown, at: string, rules: PushRules): Promise<PushedStream> {
  if (!isObject(value)) throw bad(at, 'is no object');
  if (!isObject(value['stream'])) {
    const hint =
      'entries' in value ? 'the old form with labels and entries is not taken' : undefined;
    throw bad(`${at}.stream`, 'is no object of labels', hint);
  }
  const labels = readLabels(value['stream'], `${at}.stream`);
  if (!Array.isArray(value['values'])) throw bad(`${at}.values`, 'is no array');
  // Whatever else a pushed stream could say of its origin would be our invention.
  const stream: Stream = { labels, resource: {} };
  let truncated = 0;
  const entries: LogRecord[] = [];
  for (const [index, entry] of value['values'].entries()) {
    if (index % TURN === TURN - 1) await setImmediate();
    const record = readEntry(entry, `${at}.values[${index}]`, stream, rules);
    if (record.fields?.[FIELD.truncated] !== undefined) truncated++;
    entries.push(record);
  }
  return { stream, entries, truncated };
}

function readLabels(value: Readonly<Record<string, unknown>>, at: string): Labels {
  const labels: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) {
    if (!LABEL.test(name) || name.length > MAX_NAME) {
      throw bad(at, `${quote(name)} is no label name`, 'letters, digits and _, no digit first');
    }
    if (typeof text !== 'string') throw bad(at, `the value of ${name} is no string`);
    if (Buffer.byteLength(text) > MAX_VALUE) {
      throw bad(at, `the value of ${name} is longer than ${MAX_VALUE} bytes`);
    }
    // An empty value and an absent label are the same.
    if (text !== '') define(labels, name, text);
  }
  const count = Object.keys(labels).length;
  if (count === 0) throw bad(at, 'has no label', 'at least one is needed to find the lines again');
  if (count > MAX_LABELS) throw bad(at, `has ${count} labels, more than ${MAX_LABELS}`);
  return labels;
}

function readEntry(value: unknown, at: string, stream: Stream, rules: PushRules): LogRecord {
  if (!Array.isArray(value) || value.length < 2 || value.length > 3) {
    throw bad(at, 'is not ["<nanoseconds>", "<line>"] or ["<nanoseconds>", "<line>", {…}]');
  }
  const [time, raw, extra] = value as readonly unknown[];
  const nanos = typeof time === 'string' && /^\d{1,19}$/.test(time) ? BigInt(time) : undefined;
  if (nanos === undefined || nanos >= 2n ** 63n) {
    throw bad(
      at,
      `${quote(JSON.stringify(time) ?? 'nothing')} is no time`,
      'nanoseconds since the epoch, as a string',
    );
  }
  if (typeof raw !== 'string') throw bad(at, 'the line is no string');
  // Half a surrogate pair has no UTF-8.
  const full = raw.toWellFormed();
  const timestamp = formatRfc3339(nanos);
  if (nanos > rules.now + BigInt(GRACE) * 1_000_000n) {
    throw bad(at, `timestamp too new: ${timestamp}`, 'it is in the future; are the clocks right?');
  }
  if (nanos < rules.now - BigInt(rules.maxAge) * 1_000_000n) {
    throw bad(
      at,
      `timestamp too old: ${timestamp}`,
      `the store keeps ${formatDuration(rules.maxAge)} (store.max_age)`,
    );
  }
  const metadata = extra === undefined ? undefined : readMetadata(extra, at);
  const { line, cut } = cutLine(full, rules.maxLine);
  const fields = {
    ...(metadata === undefined ? {} : { [FIELD.metadata]: metadata }),
    ...(cut === 0 ? {} : { [FIELD.truncated]: cut }),
  };
  return {
    timestamp,
    // Of the whole line: two that differ only in what is cut off stay two.
    id: contentId(timestamp, full, stream),
    line,
    stream,
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  };
}

function readMetadata(value: unknown, at: string): Labels | undefined {
  if (!isObject(value)) throw bad(at, 'structured metadata is no object');
  const metadata: Record<string, string> = {};
  let bytes = 0;
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') {
      throw bad(at, `structured metadata ${quote(name)} is no string`);
    }
    bytes += Buffer.byteLength(name) + Buffer.byteLength(text);
    // Names as OpenTelemetry writes them, `http.status`, become label names, as Loki does it.
    if (text !== '') define(metadata, name.replaceAll(/[^A-Za-z0-9_]/g, '_'), text);
  }
  const count = Object.keys(metadata).length;
  if (count > MAX_METADATA_ENTRIES) {
    throw bad(at, `has ${count} structured metadata, more than ${MAX_METADATA_ENTRIES}`);
  }
  if (bytes > MAX_METADATA_BYTES) {
    throw bad(at, `structured metadata is larger than ${MAX_METADATA_BYTES} bytes`);
  }
  return count === 0 ? undefined : metadata;
}

/** `__proto__` is a name like any other. */
function define(target: Record<string, string>, name: string, value: string): void {
  Object.defineProperty(target, name, {
    value: value.toWellFormed(),
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

/** At a character's border. `cut`: how many bytes are missing. */
function cutLine(text: string, max: number): { line: string; cut: number } {
  // A UTF-16 unit is at most three bytes of UTF-8.
  if (text.length * 3 <= max) return { line: text, cut: 0 };
  const bytes = Buffer.from(text);
  if (bytes.length <= max) return { line: text, cut: 0 };
  let end = max;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return { line: bytes.toString('utf8', 0, end), cut: bytes.length - end };
}

const bad = (at: string, message: string, hint?: string): ReflexarcError =>
  badRequest(`${at}: ${message}`, hint);
