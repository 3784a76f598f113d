import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import { formatDuration } from '../core/durations.ts';
import { ReflexarcError } from '../core/errors.ts';
import { DEFAULT_LIMITS, type Limits } from '../lang/limits.ts';

type QueryConfig = ReflexarcConfig['query'];

/** Points per series; Prometheus' and Loki's own figure. */
export const MAX_POINTS = 11_000;

/** What the languages' evaluators keep to. */
export function evaluationLimits(config: QueryConfig): Limits {
  return { ...DEFAULT_LIMITS, maxSeries: config.max_series, maxPoints: MAX_POINTS + 1 };
}

/** @throws limit_exceeded */
export function checkRange(config: QueryConfig, ms: number): void {
  if (ms <= config.max_range) return;
  throw new ReflexarcError(
    'limit_exceeded',
    `the query time range exceeds the limit (query length: ${formatDuration(ms)}, limit: ${formatDuration(config.max_range)})`,
    { hint: 'ask for a shorter time, or raise query.max_range' },
  );
}

/** @throws limit_exceeded */
export function checkLines(config: QueryConfig, limit: number): void {
  if (limit <= config.max_lines) return;
  throw new ReflexarcError(
    'limit_exceeded',
    `max entries limit per query exceeded, limit > max_lines (${limit} > ${config.max_lines})`,
    { hint: 'ask for fewer lines at a time, or raise query.max_lines' },
  );
}

/** @throws limit_exceeded */
export function checkSeries(config: QueryConfig, count: number): void {
  if (count <= config.max_series) return;
  throw new ReflexarcError(
    'limit_exceeded',
    `the answer has ${count} series, more than query.max_series (${config.max_series})`,
    {
      hint: 'narrow it with more matchers, aggregate over fewer labels, or raise query.max_series',
    },
  );
}
