import type { LogRow } from '../../core/contracts/queryable.ts';
import { formatLabels, type Labels } from '../../core/labels.ts';
import type { Evidence } from '../../core/records/alert.ts';
import { isStale, type Origin } from '../../core/records/metric.ts';
import { formatRfc3339, millisToNanos, type Nanos } from '../../core/time.ts';
import { rowLabels } from '../../lang/logql/rows.ts';
import type { LogSelection } from '../../lang/logql/select.ts';
import type { Query } from '../rules/query.ts';
import { logKey } from '../window/logs.ts';
import { sampleKey } from '../window/samples.ts';
import type { Window } from '../window/window.ts';

const MAX = 10;
/** Rows tested for one alert, so that a selective pipeline over a busy stream stays cheap. */
const MAX_TESTED = 2000;
const MAX_TEXT = 1024;

export interface Gathered {
  /** Newest first. */
  readonly evidence: readonly Evidence[];
  /** Of the newest; 0 when there is none. */
  readonly newest: Nanos;
  /** Whether there are container starts that are not in it, and were not named before. */
  readonly more: boolean;
}

/** A label that both have must be the same. */
export function agrees(labels: Labels, metric: Labels): boolean {
  for (const name in metric) {
    const value = labels[name];
    if (value !== undefined && value !== '' && value !== metric[name]) return false;
  }
  return true;
}

export const originKey = (origin: Origin | undefined): string =>
  origin === undefined ? '' : `${origin.id}\u0000${origin.startedAt ?? ''}`;

/** The labels that a row has behind the pipeline; undefined: it does not pass. */
export function passes({ pipeline }: LogSelection, row: LogRow): Labels | undefined {
  return pipeline.process(row.line, rowLabels(row))?.labels;
}

interface Found {
  readonly time: Nanos;
  readonly evidence: Evidence;
}

/**
 * The newest records in the window that speak for an alert: of the rule's selections, with labels
 * that agree with the result's. One of each container start comes first, above all of those that
 * were not named before, so that one that says much hides no other.
 *
 * @param at milliseconds: the evaluation's time
 * @param named keys of the container starts that were named before
 */
export function gatherEvidence(
  window: Window,
  query: Query,
  metric: Labels,
  at: number,
  named: ReadonlySet<string>,
): Gathered {
  const found: Found[] = [];
  const until = millisToNanos(at);
  for (const selection of query.causes.logs) {
    const { matchers, filters } = selection.pipeline;
    const rows = window
      .logWindow(logKey(matchers, filters))
      ?.newest((labels) => agrees(labels, metric), until);
    const since = until - millisToNanos(selection.lookback);
    let count = 0;
    const seen = new Set<string>();
    for (const row of rows?.slice(0, MAX_TESTED) ?? []) {
      if (row.timestamp <= since) break;
      const origin = originKey(row.origin);
      if (count >= MAX && seen.has(origin)) continue;
      const labels = passes(selection, row);
      if (labels === undefined || !agrees(labels, metric)) continue;
      found.push({ time: row.timestamp, evidence: evidenceOf(row) });
      seen.add(origin);
      count++;
    }
  }
  for (const { matchers, lookback } of query.causes.samples) {
    const newest = window
      .sampleWindow(sampleKey(matchers))
      ?.newest((labels) => agrees(labels, metric), { start: at - lookback, end: at });
    for (const sample of newest ?? []) {
      if (isStale(sample.value)) continue;
      const time = millisToNanos(sample.timestamp);
      const { __name__: name, ...labels } = sample.labels;
      found.push({
        time,
        evidence: {
          timestamp: formatRfc3339(time),
          text: `${name ?? ''}${formatLabels(labels)} ${sample.value}`.slice(0, MAX_TEXT),
          labels: sample.labels,
          ...(sample.origin === undefined ? {} : { origin: sample.origin }),
        },
      });
    }
  }
  const all = unique(found.sort(newestFirst));
  const firsts = { unnamed: [] as Found[], named: [] as Found[] };
  const others: Found[] = [];
  const seen = new Set<string>();
  for (const one of all) {
    const key = originKey(one.evidence.origin);
    if (seen.has(key)) others.push(one);
    else (named.has(key) ? firsts.named : firsts.unnamed).push(one);
    seen.add(key);
  }
  return {
    evidence: [...firsts.unnamed, ...firsts.named, ...others]
      .slice(0, MAX)
      .sort(newestFirst)
      .map(({ evidence }) => evidence),
    newest: all[0]?.time ?? 0n,
    more: firsts.unnamed.length > MAX,
  };
}

const newestFirst = (a: Found, b: Found): number =>
  a.time < b.time ? 1 : a.time > b.time ? -1 : 0;

/** What tells one piece of evidence from another. */
export const evidenceKey = ({ id, timestamp, text }: Evidence): string =>
  id ?? `${timestamp} ${text}`;

/** Two selections of one expression may hold the same record. */
function unique(found: readonly Found[]): Found[] {
  const seen = new Set<string>();
  return found.filter(({ evidence }) => {
    const key = evidenceKey(evidence);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function evidenceOf(row: LogRow): Evidence {
  return {
    id: row.id,
    timestamp: formatRfc3339(row.timestamp),
    text: cut(row.line),
    labels: row.labels,
    ...(row.origin === undefined ? {} : { origin: row.origin }),
  };
}

/** To 1 KiB of UTF-8, at a character's end. */
function cut(line: string): string {
  if (line.length <= MAX_TEXT / 4 || Buffer.byteLength(line) <= MAX_TEXT) return line;
  return Buffer.from(line)
    .subarray(0, MAX_TEXT)
    .toString()
    .replace(/\ufffd+$/, '');
}

/** Whether an instant selection has a newer sample, or a span's newest one changed. */
export function newSamples(
  window: Window,
  query: Query,
  metric: Labels,
  after: Nanos,
  at: number,
): boolean {
  return query.causes.samples.some(({ matchers, lookback, range }) =>
    window
      .sampleWindow(sampleKey(matchers))
      ?.newest((labels) => agrees(labels, metric), { start: at - lookback, end: at })
      .some(
        ({ timestamp, value, previous }) =>
          millisToNanos(timestamp) > after &&
          !isStale(value) &&
          !(range && previous !== undefined && Object.is(previous, value)),
      ),
  );
}
