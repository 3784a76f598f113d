import type { LabelSelect } from '../../../core/contracts/store.ts';
import { compileMatchers, type Labels, labelsKey } from '../../../core/labels.ts';
import { nanosToMillis } from '../../../core/time.ts';
import type { Entry } from './dictionary.ts';
import { oneOf } from './filters.ts';
import type { Lane } from './lane.ts';
import { bounds } from './select-samples.ts';
import { clampNanos, type Decoded } from './table.ts';

/**
 * Label sets with a row in the range. Segments that lie within it answer from the manifest; only
 * those at its ends are read.
 */
export async function selectSeries(
  lane: Lane<Decoded>,
  reference: 'stream' | 'series',
  query: LabelSelect,
  signal: AbortSignal,
): Promise<Labels[]> {
  const { from, to } =
    query.of === 'logs'
      ? { from: clampNanos(query.range.start), to: clampNanos(query.range.end) }
      : bounds({
          start: Math.round(nanosToMillis(clampNanos(query.range.start))),
          end: Math.round(nanosToMillis(clampNanos(query.range.end))),
        });
  const tests = query.matchers.map(compileMatchers);
  const wanted = new Map<number, Entry>();
  for (const entry of lane.dictionary?.entries() ?? []) {
    if (tests.length > 0 && !tests.some((test) => test(entry.labels))) continue;
    wanted.set(entry.id, entry);
  }
  if (wanted.size === 0 || from >= to) return [];
  const view = await lane.view(from, to, new Set(wanted.keys()));
  try {
    const found = new Map<number, Entry>();
    const see = (id: number): void => {
      const entry = wanted.get(id);
      if (entry !== undefined) found.set(id, entry);
      wanted.delete(id);
    };
    for (const { entry, references } of view.segments) {
      if (entry.min >= from && entry.max < to) for (const id of references) see(id);
    }
    for (const { min, max, references } of view.generations) {
      if (min >= from && max < to) for (const id of references) see(id);
    }
    if (wanted.size > 0) {
      const where = oneOf(reference, wanted.keys(), wanted.size === lane.dictionary?.size);
      const rows = await view.read(
        () => {
          const sql = view.sql(reference, where, from, to);
          return sql === undefined ? undefined : `SELECT DISTINCT ${reference} FROM (${sql})`;
        },
        [],
        signal,
      );
      for (const id of rows.numbers(0)) see(id);
    }
    const sets = new Map<string, Labels>();
    for (const { labels } of found.values()) sets.set(labelsKey(labels), labels);
    return [...sets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, labels]) => labels);
  } finally {
    view.release();
  }
}
