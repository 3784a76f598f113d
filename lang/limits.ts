import { ReflexarcError } from '../core/errors.ts';

/** What one query may cost. Every limit that is met is a `limit_exceeded` error, never a cut. */
export interface Limits {
  /** Log rows or samples read from the store. */
  readonly maxRows: number;
  /** Series selected, or made by an expression. */
  readonly maxSeries: number;
  /** Steps of a range query; Prometheus' own figure. */
  readonly maxPoints: number;
  /** Points of one expression: series times steps. Bounds memory. */
  readonly maxCells: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxRows: 50_000_000,
  maxSeries: 50_000,
  maxPoints: 11_000,
  maxCells: 50_000_000,
};

const NARROW: Readonly<Record<keyof Limits, readonly [what: string, hint: string]>> = {
  maxRows: ['rows or samples read', 'select fewer streams with more matchers, or a shorter time'],
  maxSeries: ['series', 'select fewer with more matchers, or aggregate over fewer labels'],
  maxPoints: ['points per series', 'take a larger step or a shorter time'],
  maxCells: ['points in all', 'take a larger step, a shorter time, or select fewer series'],
};

/** @throws limit_exceeded when `actual` is above the limit. */
export function checkLimit(limits: Limits, name: keyof Limits, actual: number): void {
  const limit = limits[name];
  if (actual <= limit) return;
  const [what, hint] = NARROW[name];
  throw new ReflexarcError(
    'limit_exceeded',
    `the query needs more than ${limit} ${what} (${name})`,
    { hint },
  );
}
