import type { LogQueryable, LogRow } from '../../core/contracts/queryable.ts';
import { throwIfAborted } from '../../core/errors.ts';
import type { Nanos } from '../../core/time.ts';
import { checkLimit, DEFAULT_LIMITS, type Limits } from '../limits.ts';
import { absentLabels } from '../series/absent.ts';
import { aggregate } from '../series/aggregate.ts';
import {
  isSetOperator,
  scalarScalar,
  setOperation,
  vectorScalar,
  vectorVector,
} from '../series/binary.ts';
import { ABSENT, type Grid, hasSample, type StepSeries } from '../series/grid.ts';
import { Pace } from '../series/pace.ts';
import { gridOf, toMatrix, toVector } from '../series/result.ts';
import type { QueryValue } from '../value.ts';
import type {
  LogAggregateNode,
  LogBinaryNode,
  LogMetricExpr,
  LogRangeNode,
  LogSelectorExpr,
} from './ast.ts';
import { countWindows } from './count.ts';
import { compilePipeline } from './pipeline.ts';
import { rowLabels } from './rows.ts';

export interface LogsQuery {
  /** Inclusive. */
  readonly start: Nanos;
  /** Exclusive. */
  readonly end: Nanos;
  /** Rows after the pipeline. */
  readonly limit: number;
  readonly direction: 'forward' | 'backward';
}

/**
 * The rows that pass the pipeline, in batches, in the direction's order. A row's labels are the
 * stream's, its structured metadata, and what parsers found.
 *
 * @throws limit_exceeded; cancelled; what the queryable throws
 */
export async function* evaluateLogs(
  expr: LogSelectorExpr,
  queryable: LogQueryable,
  query: LogsQuery,
  signal: AbortSignal,
  limits: Limits = DEFAULT_LIMITS,
): AsyncIterable<readonly LogRow[]> {
  if (query.limit <= 0 || query.end <= query.start) return;
  const pipeline = compilePipeline(expr);
  const pace = new Pace(limits, signal);
  const { start, end, direction } = query;
  let left = query.limit;
  const batches = queryable.selectLogs(
    {
      matchers: pipeline.matchers,
      filters: pipeline.filters,
      start,
      end,
      direction,
      ...(pipeline.pushable ? { limit: query.limit } : {}),
    },
    signal,
  );
  for await (const batch of batches) {
    throwIfAborted(signal);
    pace.read(batch.length);
    const passed: LogRow[] = [];
    for (const row of batch) {
      const labels = rowLabels(row);
      const result = pipeline.pushable
        ? { line: row.line, labels }
        : pipeline.process(row.line, labels);
      if (result === undefined) continue;
      passed.push({ ...row, ...result });
      if (passed.length === left) break;
    }
    if (passed.length > 0) yield passed;
    left -= passed.length;
    if (left <= 0) return;
    await pace.worked(batch.length * 100);
  }
  throwIfAborted(signal);
}

/**
 * Evaluates at start, start + step, … ≤ end, in milliseconds. Where start and end are the same it
 * is an instant query: a vector, or a scalar. Otherwise a matrix.
 *
 * @throws bad_query where the data does not fit the expression (many-to-many matching, a parser's
 * error); limit_exceeded; cancelled; what the queryable throws
 */
export async function evaluateLogMetric(
  expr: LogMetricExpr,
  queryable: LogQueryable,
  range: { readonly start: number; readonly end: number; readonly step: number },
  signal: AbortSignal,
  limits: Limits = DEFAULT_LIMITS,
): Promise<QueryValue> {
  const grid = gridOf(range);
  checkLimit(limits, 'maxPoints', grid.count);
  throwIfAborted(signal);
  const result = await new Evaluator(queryable, new Pace(limits, signal), grid).evaluate(expr);
  throwIfAborted(signal);
  const instant = range.start === range.end;
  if (result.kind === 'vector') {
    return instant ? toVector(result.series, grid) : toMatrix(result.series, grid);
  }
  return instant
    ? { type: 'scalar', timestamp: grid.start, value: result.values[0] ?? Number.NaN }
    : toMatrix([{ labels: {}, values: result.values }], grid);
}

type Result =
  | { readonly kind: 'scalar'; readonly values: Float64Array }
  | { readonly kind: 'vector'; readonly series: readonly StepSeries[] };

class Evaluator {
  readonly #queryable: LogQueryable;
  readonly #pace: Pace;
  readonly #grid: Grid;

  constructor(queryable: LogQueryable, pace: Pace, grid: Grid) {
    this.#queryable = queryable;
    this.#pace = pace;
    this.#grid = grid;
  }

  async evaluate(expr: LogMetricExpr): Promise<Result> {
    switch (expr.kind) {
      case 'number':
        return { kind: 'scalar', values: this.#constant(expr.value) };
      case 'vector':
        return { kind: 'vector', series: [{ labels: {}, values: this.#constant(expr.value) }] };
      case 'range':
        return { kind: 'vector', series: await this.#range(expr) };
      case 'aggregate':
        return { kind: 'vector', series: await this.#aggregate(expr) };
      default:
        return this.#binary(expr);
    }
  }

  #constant(value: number): Float64Array {
    return new Float64Array(this.#grid.count).fill(value);
  }

  async #range(node: LogRangeNode, by?: readonly string[]): Promise<StepSeries[]> {
    if (node.op === 'absent_over_time') return this.#absent(node);
    const series = await countWindows(node, this.#queryable, this.#grid, this.#pace, by);
    if (node.op !== 'rate' && node.op !== 'bytes_rate') return series;
    const seconds = node.range / 1000;
    return series.map(({ labels, values }) => ({
      labels,
      values: values.map((value) => (value === ABSENT ? ABSENT : value / seconds)),
    }));
  }

  async #absent(node: LogRangeNode): Promise<StepSeries[]> {
    const found = await countWindows(node, this.#queryable, this.#grid, this.#pace, []);
    const values = this.#constant(1).map((one, i) =>
      found.some((series) => series.values[i] !== ABSENT) ? ABSENT : one,
    );
    return hasSample(values) ? [{ labels: absentLabels(node.logs.matchers), values }] : [];
  }

  async #aggregate(node: LogAggregateNode): Promise<StepSeries[]> {
    const { op, expr, grouping, without, where } = node;
    // A sum by labels over counts is a count by labels, which is summed where the lines are.
    if (op === 'sum' && !without && expr.kind === 'range' && expr.op !== 'absent_over_time') {
      return this.#range(expr, grouping);
    }
    const inner = await this.evaluate(expr);
    const vector = inner.kind === 'vector' ? inner.series : [];
    const param = node.param === undefined ? {} : { param: this.#constant(node.param) };
    return aggregate({ op, grouping, without, where, ...param }, this.#grid, vector);
  }

  async #binary(node: LogBinaryNode): Promise<Result> {
    const left = await this.evaluate(node.left);
    const right = await this.evaluate(node.right);
    const options = {
      op: node.op,
      bool: node.bool,
      where: node.where,
      zeroDivision: 'nan' as const,
    };
    if (left.kind === 'scalar' && right.kind === 'scalar') {
      return { kind: 'scalar', values: scalarScalar(options, left.values, right.values) };
    }
    const series = this.#joined(node, options, left, right);
    this.#pace.made(series.length, this.#grid.count);
    return { kind: 'vector', series };
  }

  #joined(
    node: LogBinaryNode,
    options: Parameters<typeof vectorScalar>[0],
    left: Result,
    right: Result,
  ): StepSeries[] {
    if (left.kind === 'vector' && right.kind === 'vector') {
      const matching = node.matching ?? { on: false, labels: [], many: 'none', include: [] };
      const join = isSetOperator(node.op) ? setOperation : vectorVector;
      return join(options, this.#grid, left.series, right.series, matching);
    }
    if (left.kind === 'vector' && right.kind === 'scalar') {
      return vectorScalar(options, left.series, right.values, false);
    }
    if (left.kind === 'scalar' && right.kind === 'vector') {
      return vectorScalar(options, right.series, left.values, true);
    }
    return [];
  }
}
