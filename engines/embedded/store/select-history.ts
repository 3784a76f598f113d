import type { HistorySelect } from '../../../core/contracts/store.ts';
import type { Lane } from './lane.ts';
import { bounds } from './select-samples.ts';
import type { Decoded } from './table.ts';

/** Alerts or actions, newest first, as NDJSON. */
export async function selectHistory(
  lane: Lane<Decoded>,
  query: HistorySelect,
  signal: AbortSignal,
): Promise<string> {
  const { from, to } = bounds(query);
  if (from >= to || query.limit <= 0) return '';
  const view = await lane.view(from, to);
  try {
    const values: string[] = [];
    const parts: string[] = ['true'];
    for (const [column, value] of [
      ['fingerprint', query.fingerprint],
      ['service', query.service],
      ['kase', query.case],
    ] as const) {
      if (value === undefined) continue;
      values.push(value.toWellFormed());
      parts.push(`${column} = $${values.length}`);
    }
    const rows = await view.read(
      () => {
        const sql = view.sql('ts, seq, document', parts.join(' AND '), from, to);
        return sql === undefined
          ? undefined
          : `SELECT document FROM (${sql}) ORDER BY ts DESC, seq DESC LIMIT ${Math.floor(Math.min(query.limit, 1e9))}`;
      },
      values,
      signal,
    );
    return rows.texts(0).join('\n');
  } finally {
    view.release();
  }
}
