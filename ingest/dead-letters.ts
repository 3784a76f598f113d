import type { Delivery, Outgoing } from '../core/contracts/bus.ts';
import type { Rejected } from '../core/contracts/store.ts';
import { encodeLog } from '../core/records/codec.ts';
import { FIELD, type LogRecord } from '../core/records/log.ts';
import { formatRfc3339, millisToNanos } from '../core/time.ts';

/** What is kept of a record's text, so that the letter itself always fits into a message. */
const MOST = 64 * 1024;
const MOST_LABEL = 256;

/**
 * A record that can never be stored, as a log record that always can. It is the same at every
 * redelivery: its time is when the bus took the message, its id where the record lies on the bus.
 * Bytes that are no UTF-8 are kept in base64 beside the text.
 */
export function deadLetter(rejected: Rejected, delivery: Delivery): LogRecord {
  const { topic, partition, messages } = delivery;
  const message = messages[rejected.value];
  const offset = message?.offset ?? -1;
  const whole = Buffer.from(rejected.original);
  const kept = whole.subarray(0, MOST);
  const line = kept.toString();
  const reason = rejected.reason.slice(0, 1024);
  return {
    id: `dead.${topic}.${partition}.${offset}.${rejected.line}`,
    timestamp: formatRfc3339(millisToNanos(Math.max(0, message?.timestamp ?? 0))),
    line,
    stream: {
      labels: { ...knownOf(whole), stream: 'dead-letters', topic, level: 'error' },
      resource: { 'log.level': 'error' },
    },
    fields: {
      'error.message': reason,
      // What a query shows beside the line.
      [FIELD.metadata]: { reason, topic, partition: String(partition), offset: String(offset) },
      'reflexarc.topic': topic,
      'reflexarc.partition': partition,
      'reflexarc.offset': offset,
      'reflexarc.line': rejected.line,
      'reflexarc.key': (message?.key ?? '').slice(0, 1024),
      ...(whole.length > MOST ? { [FIELD.truncated]: whole.length - MOST } : {}),
      ...(Buffer.from(line).equals(kept) ? {} : { 'reflexarc.original': kept.toString('base64') }),
    },
  };
}

/** Whose it is, as far as it says so itself: a document that lacks something else. */
function knownOf(original: Buffer): Record<string, string> {
  const known: Record<string, string> = { service: 'reflexarc' };
  let document: unknown;
  try {
    document = JSON.parse(original.toString());
  } catch {
    return known;
  }
  if (typeof document !== 'object' || document === null) return known;
  const fields = document as Readonly<Record<string, unknown>>;
  const labels = (fields['labels'] ?? {}) as Readonly<Record<string, unknown>>;
  for (const name of ['service', 'container', 'host']) {
    const value = [labels[name], fields[`${name}.name`]].find(
      (one) => typeof one === 'string' && one !== '' && one.length <= MOST_LABEL,
    );
    if (typeof value === 'string') known[name] = value;
  }
  return known;
}

/** One message a letter: each is small, whatever there are of them. */
export function deadLetters(rejected: readonly Rejected[], delivery: Delivery): Outgoing[] {
  return rejected.map((one) => ({
    key: delivery.topic,
    value: Buffer.from(encodeLog(deadLetter(one, delivery))),
    records: 1,
  }));
}

/** A reason's kind, of which there are few, for a metric's label. */
export function kindOf(reason: string): string {
  if (/JSON/.test(reason)) return 'not_json';
  if (/outside of the years/.test(reason)) return 'time_out_of_range';
  if (/timestamp/.test(reason)) return 'no_time';
  if (/`message`/.test(reason)) return 'no_message';
  if (/labels/.test(reason)) return 'bad_labels';
  if (/value/.test(reason)) return 'bad_value';
  return 'other';
}
