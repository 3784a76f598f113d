import type { Where } from '../../core/errors.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { type Labels, labelsKey } from '../../core/labels.ts';
import { formatValue } from '../format.ts';
import { ABSENT, emptyValues, type Grid, hasSample, type StepSeries } from './grid.ts';
import { drop, keep } from './labels.ts';
import { compareValues, mean, quantile, sum, variance } from './sums.ts';

/** Aggregation over the series of a vector, at all steps at once. */
export const AGGREGATE_OPERATORS = [
  'sum',
  'avg',
  'min',
  'max',
  'count',
  'group',
  'stddev',
  'stdvar',
  'topk',
  'bottomk',
  'quantile',
  'count_values',
] as const;
export type AggregateOperator = (typeof AGGREGATE_OPERATORS)[number];

/** Takes what lies before `count`; never empty. */
type Reduce = (values: readonly number[], param: number) => number;

const REDUCE: Readonly<
  Record<Exclude<AggregateOperator, 'topk' | 'bottomk' | 'count_values'>, Reduce>
> = {
  sum: (values) => sum(values),
  avg: (values) => mean(values),
  min: (values) => extreme(values, (a, b) => a < b),
  max: (values) => extreme(values, (a, b) => a > b),
  count: (values) => values.length,
  group: () => 1,
  stddev: (values) => Math.sqrt(variance(values)),
  stdvar: (values) => variance(values),
  quantile: (values, phi) => quantile(phi, values),
};

/** NaN only where every value is. */
function extreme(values: readonly number[], better: (a: number, b: number) => boolean): number {
  let best = values[0] ?? Number.NaN;
  for (const value of values) if (better(value, best) || Number.isNaN(best)) best = value;
  return best;
}

export interface AggregateOptions {
  readonly op: AggregateOperator;
  readonly grouping: readonly string[];
  readonly without: boolean;
  readonly where: Where;
  /** For topk, bottomk, quantile: the parameter at each step. */
  readonly param?: Float64Array;
  /** For count_values. */
  readonly label?: string;
}

interface Group {
  readonly labels: Labels;
  readonly members: StepSeries[];
}

export function aggregate(
  options: AggregateOptions,
  grid: Grid,
  vector: readonly StepSeries[],
): StepSeries[] {
  const groups = groupSeries(vector, options);
  const { op } = options;
  if (op === 'topk' || op === 'bottomk') return select(options, op === 'topk', grid, groups);
  if (op === 'count_values') return countValues(options, grid, groups);
  const reduce = REDUCE[op];
  return groups.map(({ labels, members }) => {
    const values = emptyValues(grid);
    for (let i = 0; i < grid.count; i++) {
      const present: number[] = [];
      for (const member of members) {
        const value = member.values[i] ?? ABSENT;
        if (value !== ABSENT) present.push(value);
      }
      if (present.length > 0) values[i] = reduce(present, options.param?.[i] ?? Number.NaN);
    }
    return { labels, values };
  });
}

function groupSeries(
  vector: readonly StepSeries[],
  { grouping, without }: AggregateOptions,
): Group[] {
  const dropped = new Set(grouping);
  const groups = new Map<string, Group>();
  for (const series of vector) {
    const labels = without ? drop(series.labels, dropped) : keep(series.labels, grouping);
    const key = labelsKey(labels);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { labels, members: [series] });
    else group.members.push(series);
  }
  return [...groups.values()];
}

/** `topk` and `bottomk` keep whole samples with their labels, the best first. */
function select(
  { param, where }: AggregateOptions,
  descending: boolean,
  grid: Grid,
  groups: readonly Group[],
): StepSeries[] {
  const out: StepSeries[] = [];
  for (const { members } of groups) {
    const kept = new Map<StepSeries, Float64Array>();
    for (let i = 0; i < grid.count; i++) {
      const k = param?.[i] ?? 0;
      if (Number.isNaN(k) || Math.abs(k) > Number.MAX_SAFE_INTEGER) {
        throw new ReflexarcError(
          'bad_query',
          `the parameter must be a whole number, not ${formatValue(k)}`,
          {
            where,
          },
        );
      }
      const present = members.filter(({ values }) => values[i] !== ABSENT);
      const best = present.toSorted((a, b) =>
        compareValues(a.values[i] ?? 0, b.values[i] ?? 0, descending),
      );
      for (const series of best.slice(0, Math.max(0, Math.trunc(k)))) {
        const values = kept.get(series) ?? emptyValues(grid);
        values[i] = series.values[i] ?? ABSENT;
        kept.set(series, values);
      }
    }
    for (const [series, values] of kept) out.push({ labels: series.labels, values });
  }
  return out;
}

function countValues(
  { label = '' }: AggregateOptions,
  grid: Grid,
  groups: readonly Group[],
): StepSeries[] {
  const out = new Map<string, StepSeries>();
  for (const group of groups) {
    for (const member of group.members) {
      for (let i = 0; i < grid.count; i++) {
        const value = member.values[i] ?? ABSENT;
        if (value === ABSENT) continue;
        const labels = { ...group.labels, [label]: formatValue(value) };
        const key = labelsKey(labels);
        const series = out.get(key) ?? { labels, values: emptyValues(grid) };
        out.set(key, series);
        const before = series.values[i] ?? ABSENT;
        series.values[i] = before === ABSENT ? 1 : before + 1;
      }
    }
  }
  return [...out.values()].filter(({ values }) => hasSample(values));
}
