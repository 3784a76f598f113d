import { ReflexarcError } from '../../core/errors.ts';
import { formatLabels, type Matcher } from '../../core/labels.ts';
import { absentLabels } from '../series/absent.ts';
import {
  ABSENT,
  emptyValues,
  type Grid,
  hasSample,
  type StepSeries,
  timesOf,
} from '../series/grid.ts';
import { withoutName } from '../series/labels.ts';
import { mergeSame } from '../series/merge.ts';
import { compareValues } from '../series/sums.ts';
import type { CallNode, PromExpr } from './ast.ts';
import { firstRepeated, type Windows } from './data.ts';
import { histogramQuantile } from './histogram.ts';
import { labelJoin, labelReplace } from './relabel.ts';
import type { Evaluation, Result } from './result.ts';
import { DATE_FUNCTIONS, VALUE_FUNCTIONS } from './values.ts';
import { WINDOW_FUNCTIONS, type Window, type WindowFunction } from './windows.ts';

/** A function call over all steps. The checker has seen to the number and types of arguments. */
export async function evaluateCall(
  evaluation: Evaluation,
  expr: CallNode,
  grid: Grid,
): Promise<Result> {
  const call = new Call(evaluation, expr, grid);
  const { name } = expr;
  if (name === 'scalar' || name === 'time' || name === 'pi') {
    return { kind: 'scalar', values: await call.scalar(name) };
  }
  const series = await call.vector();
  evaluation.pace.made(series.length, grid.count);
  return { kind: 'vector', series };
}

class Call {
  readonly #evaluation: Evaluation;
  readonly #expr: CallNode;
  readonly #grid: Grid;
  /** Samples looked at, counting those of overlapping windows again. */
  #touched = 0;

  constructor(evaluation: Evaluation, expr: CallNode, grid: Grid) {
    this.#evaluation = evaluation;
    this.#expr = expr;
    this.#grid = grid;
  }

  async scalar(name: 'scalar' | 'time' | 'pi'): Promise<Float64Array> {
    if (name === 'pi') return new Float64Array(this.#grid.count).fill(Math.PI);
    if (name === 'time') return seconds(this.#grid);
    const vector = await this.#vectorAt(0);
    return emptyValues(this.#grid).map((_, i) => {
      const present = vector.filter(({ values }) => values[i] !== ABSENT);
      return present.length === 1 ? (present[0]?.values[i] ?? Number.NaN) : Number.NaN;
    });
  }

  async vector(): Promise<readonly StepSeries[]> {
    const { name, args, where } = this.#expr;
    const window = WINDOW_FUNCTIONS[name];
    if (window !== undefined) return this.#window(window);
    const value = VALUE_FUNCTIONS[name];
    if (value !== undefined) return this.#values(value);
    if (DATE_FUNCTIONS[name] !== undefined) return this.#date(DATE_FUNCTIONS[name]);
    switch (name) {
      case 'absent':
        return this.#absent(await this.#vectorAt(0));
      case 'absent_over_time':
        return this.#absent(await this.#present());
      case 'vector':
        return [{ labels: {}, values: await this.#scalarAt(0) }];
      case 'timestamp':
        return this.#timestamp();
      case 'sort':
        return this.#sort(false);
      case 'sort_desc':
        return this.#sort(true);
      case 'label_replace': {
        const [target = '', replacement = '', source = '', regex = ''] = args.slice(1).map(textOf);
        return labelReplace(await this.#vectorAt(0), target, replacement, source, regex, where);
      }
      case 'label_join': {
        const [target = '', separator = '', ...sources] = args.slice(1).map(textOf);
        return labelJoin(await this.#vectorAt(0), target, separator, sources, where);
      }
      case 'histogram_quantile': {
        const phi = await this.#scalarAt(0);
        return histogramQuantile(phi, await this.#vectorAt(1), this.#grid, where);
      }
      default:
        throw new ReflexarcError('not_supported', `the function \`${name}\` is not supported yet`, {
          where,
        });
    }
  }

  #arg(index: number): PromExpr {
    const arg = this.#expr.args[index];
    if (arg !== undefined) return arg;
    throw new ReflexarcError('internal', 'an argument is missing', { where: this.#expr.where });
  }

  #vectorAt(index: number): Promise<readonly StepSeries[]> {
    return this.#evaluation.vector(this.#arg(index), this.#grid);
  }

  #scalarAt(index: number): Promise<Float64Array> {
    return this.#evaluation.scalar(this.#arg(index), this.#grid);
  }

  /** The range vector among the arguments, and the scalar beside it where there is one. */
  async #window(apply: WindowFunction): Promise<StepSeries[]> {
    const { name, args, where } = this.#expr;
    const at = args.findIndex((arg) => arg.kind === 'matrix' || arg.kind === 'subquery');
    const parameter = args.length > 1 ? await this.#scalarAt(1 - at) : undefined;
    const windows = await this.#evaluation.windows(this.#arg(at), this.#grid);
    const out: StepSeries[] = [];
    for (const series of windows.series) {
      const values = this.#slide(series, windows, apply, parameter);
      await this.#evaluation.pace.worked(this.#grid.count + this.#touched);
      this.#touched = 0;
      if (!hasSample(values)) continue;
      const labels = name === 'last_over_time' ? series.labels : withoutName(series.labels);
      out.push({ labels, values });
    }
    const repeated = firstRepeated(out);
    if (repeated === undefined) return out;
    throw new ReflexarcError(
      'bad_query',
      `vector cannot contain metrics with the same labelset: ${formatLabels(repeated)}`,
      { where },
    );
  }

  #slide(
    { timestamps, values }: Windows['series'][number],
    { ends, range }: Windows,
    apply: WindowFunction,
    parameter?: Float64Array,
  ): Float64Array {
    const window: Window = { timestamps, values, from: 0, to: 0, start: 0, end: 0, at: 0 };
    return ends.map((end, i) => {
      window.end = end;
      window.start = end - range;
      window.at = this.#grid.start + i * this.#grid.step;
      while (window.to < timestamps.length && (timestamps[window.to] ?? 0) <= end) window.to++;
      while (window.from < window.to && (timestamps[window.from] ?? 0) <= window.start) {
        window.from++;
      }
      if (window.from === window.to) return ABSENT;
      this.#touched += window.to - window.from;
      return apply(window, parameter?.[i] ?? Number.NaN);
    });
  }

  /** Every series of the range vector, as 1 at steps whose window holds a sample. */
  async #present(): Promise<StepSeries[]> {
    const windows = await this.#evaluation.windows(this.#arg(0), this.#grid);
    return windows.series.map((series) => ({
      labels: series.labels,
      values: this.#slide(series, windows, () => 1),
    }));
  }

  #absent(vector: readonly StepSeries[]): StepSeries[] {
    const values = new Float64Array(this.#grid.count).fill(1);
    for (const series of vector) {
      for (let i = 0; i < values.length; i++) if (series.values[i] !== ABSENT) values[i] = ABSENT;
    }
    return hasSample(values) ? [{ labels: absentLabels(matchersOf(this.#arg(0))), values }] : [];
  }

  async #values(apply: (value: number, a: number, b: number) => number): Promise<StepSeries[]> {
    const { name, args, where } = this.#expr;
    const vector = await this.#vectorAt(0);
    const first = args.length > 1 ? await this.#scalarAt(1) : undefined;
    const second = args.length > 2 ? await this.#scalarAt(2) : undefined;
    const out: StepSeries[] = [];
    for (const { labels, values } of vector) {
      const changed = values.map((value, i) => {
        const [a, b] = [first?.[i] ?? 1, second?.[i] ?? 1];
        if (value === ABSENT || (name === 'clamp' && b < a)) return ABSENT;
        return apply(value, a, b);
      });
      if (hasSample(changed)) out.push({ labels: withoutName(labels), values: changed });
    }
    return mergeSame(out, where);
  }

  async #date(apply: (date: Date) => number): Promise<StepSeries[]> {
    const { args, where } = this.#expr;
    const vector =
      args.length === 0 ? [{ labels: {}, values: seconds(this.#grid) }] : await this.#vectorAt(0);
    const out = vector.map(({ labels, values }) => ({
      labels: withoutName(labels),
      values: values.map((v) => (v === ABSENT ? ABSENT : apply(new Date(Math.trunc(v) * 1000)))),
    }));
    return mergeSame(out, where);
  }

  /** Of a selector its samples' own times; of anything else the evaluation's. */
  async #timestamp(): Promise<StepSeries[]> {
    const arg = this.#arg(0);
    const { data, bounds } = this.#evaluation;
    const times = seconds(this.#grid);
    const vector =
      arg.kind === 'selector'
        ? await data.instant(arg, this.#grid, bounds, 'time')
        : (await this.#vectorAt(0)).map(({ labels, values }) => ({
            labels,
            values: values.map((v, i) => (v === ABSENT ? ABSENT : (times[i] ?? Number.NaN))),
          }));
    const out = vector.map(({ labels, values }) => ({ labels: withoutName(labels), values }));
    return mergeSame(out, this.#expr.where);
  }

  /** Of an instant query only: a matrix is sorted by labels. */
  async #sort(descending: boolean): Promise<readonly StepSeries[]> {
    const vector = await this.#vectorAt(0);
    if (this.#grid.count > 1) return vector;
    return vector.toSorted((a, b) =>
      compareValues(a.values[0] ?? ABSENT, b.values[0] ?? ABSENT, descending),
    );
  }
}

const seconds = (grid: Grid): Float64Array => timesOf(grid).map((ms) => ms / 1000);

function textOf(expr: PromExpr): string {
  return expr.kind === 'string' ? expr.value : '';
}

function matchersOf(expr: PromExpr): readonly Matcher[] {
  if (expr.kind === 'selector') return expr.matchers;
  return expr.kind === 'matrix' ? expr.selector.matchers : [];
}
