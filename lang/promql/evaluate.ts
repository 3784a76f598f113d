import type { SampleQueryable } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { checkLimit, DEFAULT_LIMITS, type Limits } from '../limits.ts';
import { aggregate } from '../series/aggregate.ts';
import {
  isSetOperator,
  scalarScalar,
  setOperation,
  vectorScalar,
  vectorVector,
} from '../series/binary.ts';
import { ABSENT, type Grid, type StepSeries } from '../series/grid.ts';
import { withoutName } from '../series/labels.ts';
import { mergeSame } from '../series/merge.ts';
import { Pace } from '../series/pace.ts';
import { gridOf, toMatrix, toVector } from '../series/result.ts';
import type { MatrixSeries, QueryValue } from '../value.ts';
import type { AggregateNode, BinaryNode, PromExpr, SubqueryNode } from './ast.ts';
import { evaluateCall } from './call.ts';
import { type Bounds, Data, samplesOf, shifted, type Windows } from './data.ts';
import type { Evaluation, Result } from './result.ts';

/** Prometheus' `evaluation_interval`: a subquery's step where it names none. */
const DEFAULT_STEP = 60_000;

/**
 * Evaluates at start, start + step, … ≤ end, in milliseconds. Where start and end are the same it
 * is an instant query: the value is what the expression is (a vector, a scalar, a string, or a
 * matrix for a range vector). Otherwise it is a matrix.
 *
 * @throws bad_query where the data does not fit the expression (many-to-many matching), or a range
 * query asks for a range vector or a string; limit_exceeded; cancelled; what the queryable throws
 */
export async function evaluatePromQL(
  expr: PromExpr,
  queryable: SampleQueryable,
  range: { readonly start: number; readonly end: number; readonly step: number },
  signal: AbortSignal,
  limits: Limits = DEFAULT_LIMITS,
): Promise<QueryValue> {
  const grid = gridOf(range);
  checkLimit(limits, 'maxPoints', grid.count);
  const pace = new Pace(limits, signal);
  const evaluator = new Evaluator(new Data(queryable, pace), pace, range);
  const result = await evaluator.evaluate(expr, grid);
  return range.start === range.end ? instantValue(result, grid) : rangeValue(result, grid, expr);
}

function instantValue(result: Result, grid: Grid): QueryValue {
  const timestamp = grid.start;
  switch (result.kind) {
    case 'scalar':
      return { type: 'scalar', timestamp, value: result.values[0] ?? Number.NaN };
    case 'string':
      return { type: 'string', timestamp, value: result.value };
    case 'vector':
      return toVector(result.series, grid);
    default:
      return { type: 'matrix', series: rawSeries(result.windows) };
  }
}

function rawSeries({ series, range, ends }: Windows): MatrixSeries[] {
  const end = ends[0] ?? 0;
  return series.flatMap(({ labels, timestamps, values }) => {
    const inside = (_: number, i: number) => {
      const time = timestamps[i] ?? 0;
      return time > end - range && time <= end;
    };
    const kept = { labels, timestamps: timestamps.filter(inside), values: values.filter(inside) };
    return kept.timestamps.length === 0 ? [] : [kept];
  });
}

function rangeValue(result: Result, grid: Grid, { where }: PromExpr): QueryValue {
  if (result.kind === 'scalar') return toMatrix([{ labels: {}, values: result.values }], grid);
  if (result.kind === 'vector') return toMatrix(result.series, grid);
  const what = result.kind === 'string' ? 'a string' : 'a range vector';
  throw new ReflexarcError('bad_query', `a range query cannot give ${what}`, {
    where,
    hint: 'it must be a scalar or an instant vector',
  });
}

class Evaluator implements Evaluation {
  readonly data: Data;
  readonly pace: Pace;
  readonly bounds: Bounds;

  constructor(data: Data, pace: Pace, bounds: Bounds) {
    this.data = data;
    this.pace = pace;
    this.bounds = bounds;
  }

  async evaluate(expr: PromExpr, grid: Grid): Promise<Result> {
    switch (expr.kind) {
      case 'number':
        return { kind: 'scalar', values: new Float64Array(grid.count).fill(expr.value) };
      case 'string':
        return { kind: 'string', value: expr.value };
      case 'selector':
        return { kind: 'vector', series: await this.data.instant(expr, grid, this.bounds) };
      case 'matrix':
        return { kind: 'windows', windows: await this.data.windows(expr, grid, this.bounds) };
      case 'subquery':
        return { kind: 'windows', windows: await this.#subquery(expr, grid) };
      case 'call':
        return evaluateCall(this, expr, grid);
      case 'aggregate':
        return { kind: 'vector', series: await this.#aggregate(expr, grid) };
      case 'binary':
        return this.#binary(expr, grid);
      default: {
        const inner = await this.evaluate(expr.expr, grid);
        if (inner.kind === 'scalar') return { kind: 'scalar', values: inner.values.map((v) => -v) };
        const series = vectorOf(inner).map(({ labels, values }) => ({
          labels: withoutName(labels),
          values: values.map((v) => (v === ABSENT ? ABSENT : -v)),
        }));
        return { kind: 'vector', series: mergeSame(series, expr.where) };
      }
    }
  }

  async vector(expr: PromExpr, grid: Grid): Promise<readonly StepSeries[]> {
    return vectorOf(await this.evaluate(expr, grid));
  }

  async scalar(expr: PromExpr, grid: Grid): Promise<Float64Array> {
    const result = await this.evaluate(expr, grid);
    if (result.kind === 'scalar') return result.values;
    throw new ReflexarcError('internal', 'a scalar was expected', { where: expr.where });
  }

  async windows(expr: PromExpr, grid: Grid): Promise<Windows> {
    const result = await this.evaluate(expr, grid);
    if (result.kind === 'windows') return result.windows;
    throw new ReflexarcError('internal', 'a range vector was expected', { where: expr.where });
  }

  /** Inner steps lie on multiples of the step, whatever the outer ones are. */
  async #subquery(expr: SubqueryNode, grid: Grid): Promise<Windows> {
    const ends = shifted(expr, grid, this.bounds);
    const step = expr.step ?? DEFAULT_STEP;
    const before = (ends[0] ?? 0) - expr.range;
    const start = (Math.floor(before / step) + 1) * step;
    const end = ends.at(-1) ?? 0;
    if (end < start) return { series: [], range: expr.range, ends };
    const inner: Grid = { start, step, count: Math.floor((end - start) / step) + 1 };
    const vector = await this.vector(expr.expr, inner);
    this.pace.made(vector.length, inner.count);
    return { series: samplesOf(vector, inner), range: expr.range, ends };
  }

  async #aggregate(expr: AggregateNode, grid: Grid): Promise<StepSeries[]> {
    const { param } = expr;
    const values =
      param === undefined || param.kind === 'string' ? undefined : await this.scalar(param, grid);
    const vector = await this.vector(expr.expr, grid);
    const result = aggregate(
      {
        op: expr.op,
        grouping: expr.grouping,
        without: expr.without,
        where: expr.where,
        ...(values === undefined ? {} : { param: values }),
        ...(param?.kind === 'string' ? { label: param.value } : {}),
      },
      grid,
      vector,
    );
    this.pace.made(result.length, grid.count);
    await this.pace.worked(vector.length * grid.count);
    return result;
  }

  async #binary(expr: BinaryNode, grid: Grid): Promise<Result> {
    const left = await this.evaluate(expr.left, grid);
    const right = await this.evaluate(expr.right, grid);
    if (left.kind === 'scalar' && right.kind === 'scalar') {
      return { kind: 'scalar', values: scalarScalar(expr, left.values, right.values) };
    }
    const series = this.#joined(expr, grid, left, right);
    this.pace.made(series.length, grid.count);
    await this.pace.worked(series.length * grid.count);
    return { kind: 'vector', series };
  }

  #joined(expr: BinaryNode, grid: Grid, left: Result, right: Result): StepSeries[] {
    if (right.kind === 'scalar') return vectorScalar(expr, vectorOf(left), right.values, false);
    if (left.kind === 'scalar') return vectorScalar(expr, vectorOf(right), left.values, true);
    const matching = expr.matching ?? { on: false, labels: [], many: 'none', include: [] };
    const join = isSetOperator(expr.op) ? setOperation : vectorVector;
    return join(expr, grid, vectorOf(left), vectorOf(right), matching);
  }
}

function vectorOf(result: Result): readonly StepSeries[] {
  if (result.kind === 'vector') return result.series;
  // The checker has refused everything else.
  throw new ReflexarcError('internal', `an instant vector was expected, not ${result.kind}`);
}
