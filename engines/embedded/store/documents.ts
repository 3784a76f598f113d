import type { ActionRecord } from '../../../core/records/action.ts';
import type { AlertRecord } from '../../../core/records/alert.ts';
import { decodeActions, decodeAlerts, encodeRecords } from '../../../core/records/codec.ts';
import { millisToNanos } from '../../../core/time.ts';
import { Rows, Texts } from './columns.ts';
import type { Lane } from './lane.ts';
import { lineOf } from './logs.ts';
import { type BadRow, type Decoded, fits, NO_TIME, type Sifted, type Table } from './table.ts';

/** Alerts and actions: the documents, and what they are looked up by. */
interface DocumentBatch extends Decoded {
  readonly times: bigint[];
  readonly keys: Keys[];
  readonly documents: string[];
}

interface Keys {
  readonly id: string;
  readonly fingerprint: string;
  readonly service: string;
  readonly case: string;
}

export class DocumentTable implements Table<DocumentBatch> {
  readonly topic: 'alerts' | 'actions';
  readonly reference = undefined;
  readonly order = 'ts, seq';
  readonly columns = [
    { name: 'id', type: 'VARCHAR' },
    { name: 'fingerprint', type: 'VARCHAR' },
    { name: 'service', type: 'VARCHAR' },
    { name: 'kase', type: 'VARCHAR' },
    { name: 'document', type: 'VARCHAR' },
  ] as const;

  constructor(topic: 'alerts' | 'actions') {
    this.topic = topic;
  }

  decode(values: readonly Uint8Array[]): DocumentBatch {
    const times: bigint[] = [];
    const keys: Keys[] = [];
    const documents: string[] = [];
    const bad: BadRow[] = [];
    for (const [value, bytes] of values.entries()) {
      const decoded = this.topic === 'alerts' ? decodeAlerts(bytes) : decodeActions(bytes);
      for (const { line, original, error } of decoded.bad) {
        bad.push({ value, line, original, reason: error.message });
      }
      for (const [index, record] of decoded.records.entries()) {
        const time = timeOf(record);
        const found = time === undefined ? undefined : keysOf(record);
        if (time === undefined || found === undefined) {
          const line = decoded.lines[index] ?? 0;
          const reason =
            time === undefined
              ? `\`timestamp\` is milliseconds since the epoch, or ${NO_TIME}`
              : 'a record needs `labels`, or `alert` with its `labels`';
          bad.push({ value, line, original: lineOf(bytes, line), reason });
          continue;
        }
        times.push(time);
        keys.push(found);
        documents.push(
          Buffer.from(encodeRecords([record]))
            .toString()
            .trimEnd(),
        );
      }
    }
    return { rows: times.length, times, keys, documents, bad };
  }

  async sift(
    batches: readonly DocumentBatch[],
    _: number,
    lane: Lane<DocumentBatch>,
  ): Promise<Sifted> {
    const candidates = new Map<string, bigint>();
    for (const { keys, times } of batches) {
      for (const [index, { id }] of keys.entries()) {
        if (!candidates.has(id)) candidates.set(id, times[index] ?? 0n);
      }
    }
    const known = new Set(await lane.knownIds(candidates));
    const columns = this.columns.map(() => new Texts());
    const rows = new Rows(columns);
    const ids: string[] = [];
    const counts: { stored: number; repeated: number }[] = [];
    for (const { keys, times, documents } of batches) {
      let stored = 0;
      for (const [index, { id, fingerprint, service, case: kase }] of keys.entries()) {
        if (known.has(id)) continue;
        known.add(id);
        stored++;
        rows.times.pushBigint(times[index] ?? 0n);
        ids.push(id);
        for (const [column, cell] of [
          id,
          fingerprint,
          service,
          kase,
          documents[index] ?? '',
        ].entries()) {
          columns[column]?.set(rows.count, cell);
        }
        rows.count++;
      }
      counts.push({ stored, repeated: keys.length - stored });
    }
    return {
      rows,
      counts,
      ids,
      references: new Set(),
      undo: () => undefined,
    };
  }
}

function timeOf(record: AlertRecord | ActionRecord): bigint | undefined {
  const { timestamp } = record;
  if (typeof timestamp !== 'number' || !Number.isFinite(timestamp)) return undefined;
  const nanos = millisToNanos(timestamp);
  return fits(nanos) ? nanos : undefined;
}

/** Undefined where another program wrote something that only looks like a record. */
function keysOf(record: AlertRecord | ActionRecord): Keys | undefined {
  if ('fingerprint' in record) {
    const labels: unknown = record.labels;
    if (typeof labels !== 'object' || labels === null) return undefined;
    const { id, fingerprint } = record;
    return { id, fingerprint, service: record.labels['service'] ?? '', case: '' };
  }
  const alert: unknown = record.alert;
  if (typeof alert !== 'object' || alert === null || !('labels' in alert)) return undefined;
  return {
    id: record.id,
    fingerprint: record.alert.fingerprint,
    service: record.target?.service ?? record.alert.labels['service'] ?? '',
    case: record.case,
  };
}
