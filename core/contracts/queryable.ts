import type { Labels, Matcher } from '../labels.ts';
import type { Origin } from '../records/metric.ts';
import type { Nanos } from '../time.ts';

/**
 * Queryable: what a query language asks of data, wherever it lies: the alert engine's window, the
 * embedded store, Elasticsearch. Pushing down is allowed only where it is exact.
 */

/** Inclusive start, exclusive end, as Loki's queries; nanoseconds. */
export interface NanoRange {
  readonly start: Nanos;
  readonly end: Nanos;
}

/** Both ends inclusive, as Prometheus' selects; milliseconds. */
export interface MilliRange {
  readonly start: number;
  readonly end: number;
}

/** On the raw line; several must all hold. Regexes are RE2, not anchored. */
export interface LineFilter {
  readonly op: '|=' | '!=' | '|~' | '!~';
  readonly value: string;
}

export interface LogSelect extends NanoRange {
  readonly matchers: readonly Matcher[];
  readonly filters: readonly LineFilter[];
  /** By time, then in an order that is the same at every call. */
  readonly direction: 'forward' | 'backward';
  /** Absent: no limit; rows come as a stream in any case. */
  readonly limit?: number;
}

export interface LogRow {
  readonly timestamp: Nanos;
  readonly line: string;
  readonly labels: Labels;
  readonly id: string;
  /** Structured metadata of a pushed line. */
  readonly metadata?: Labels;
  readonly origin?: Origin;
}

/**
 * Counts of matching lines in windows `(at - window, at]` for at = start, start + step, … ≤ end:
 * LogQL's `count_over_time` and `bytes_over_time`, pushed down. One point per window that holds a
 * line; windows without one have no point.
 */
export interface LogCount {
  readonly matchers: readonly Matcher[];
  readonly filters: readonly LineFilter[];
  readonly start: Nanos;
  readonly end: Nanos;
  /** Positive; may be larger or smaller than the window. */
  readonly step: Nanos;
  readonly window: Nanos;
  /** `bytes`: of the lines in UTF-8. */
  readonly measure: 'lines' | 'bytes';
  /** Sum over all other labels; undefined keeps each stream apart. */
  readonly by?: readonly string[];
}

export interface CountSeries {
  readonly labels: Labels;
  /** By time. */
  readonly points: readonly { readonly at: Nanos; readonly value: number }[];
}

export interface LogQueryable {
  /** Batches of rows, all in the order asked for. Ends early when the signal fires. */
  selectLogs(query: LogSelect, signal: AbortSignal): AsyncIterable<readonly LogRow[]>;
  countLogs(query: LogCount, signal: AbortSignal): Promise<readonly CountSeries[]>;
}

export interface SampleSeries {
  readonly labels: Labels;
  /** Milliseconds, strictly rising. */
  readonly timestamps: Float64Array;
  readonly values: Float64Array;
}

export interface SampleQueryable {
  /** Staleness markers are among the values. No series without a sample in the range. */
  selectSamples(
    query: MilliRange & { readonly matchers: readonly Matcher[] },
    signal: AbortSignal,
  ): Promise<readonly SampleSeries[]>;
}

export interface Queryable extends LogQueryable, SampleQueryable {}
