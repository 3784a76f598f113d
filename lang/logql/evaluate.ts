import type { LogQueryable, LogRow } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Nanos } from '../../core/time.ts';
import type { Limits } from '../limits.ts';
import type { QueryValue } from '../value.ts';
import type { LogMetricExpr, LogSelectorExpr } from './ast.ts';

export interface LogsQuery {
  readonly start: Nanos;
  readonly end: Nanos;
  readonly limit: number;
  readonly direction: 'forward' | 'backward';
}

export async function* evaluateLogs(
  _expr: LogSelectorExpr,
  _queryable: LogQueryable,
  _query: LogsQuery,
  _signal: AbortSignal,
  _limits?: Limits,
): AsyncIterable<readonly LogRow[]> {
  yield [];
  throw new ReflexarcError('not_supported', 'not yet');
}

export function evaluateLogMetric(
  _expr: LogMetricExpr,
  _queryable: LogQueryable,
  _range: { start: number; end: number; step: number },
  _signal: AbortSignal,
  _limits?: Limits,
): Promise<QueryValue> {
  throw new ReflexarcError('not_supported', 'not yet');
}
