import type { Labels } from '../labels.ts';

/** One sample. The series is its labels, `__name__` among them (Prometheus' data model). */
export interface Sample {
  readonly labels: Labels;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  /** Any double. A staleness marker is the NaN of `STALE_NAN` bits: see `isStale`. */
  readonly value: number;
  /** The container start that was measured, for evidence; no part of the series. */
  readonly origin?: Origin;
}

/** A container or process, and the one run of it that something came from. */
export interface Origin {
  /** Container id; `local:<name>` for a local process. */
  readonly id: string;
  /** RFC 3339 of that run's start, where known. */
  readonly startedAt?: string;
}

// Prometheus' staleness marker is one particular NaN (model/value/value.go). JavaScript may change
// a NaN's bits whenever it likes, so that here a marker is a value outside what a sample can be.
// Not a NaN: NaN === NaN is false, and Float64Array must carry it. The largest subnormal's
// neighbour is never measured by anything.
const STALE = -4.94065645841246544e-324 * 7;

/** The staleness marker: the series ends here. */
export const STALE_MARKER: number = STALE;
export const isStale = (value: number): boolean => value === STALE;
