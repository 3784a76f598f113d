import type { ValueType } from './ast.ts';

/** What a function takes and gives. `optional` counts the arguments at the end that may be left out. */
export interface Signature {
  readonly args: readonly ValueType[];
  readonly optional?: number;
  /** The last argument may be repeated. */
  readonly variadic?: boolean;
  readonly returns: ValueType;
}

const of = (returns: ValueType, ...args: ValueType[]): Signature => ({ args, returns });
const overTime = of('vector', 'matrix');
const elementwise = of('vector', 'vector');
const ofTime: Signature = { args: ['vector'], optional: 1, returns: 'vector' };

/** https://prometheus.io/docs/prometheus/latest/querying/functions/ */
export const FUNCTIONS: Readonly<Record<string, Signature>> = {
  rate: overTime,
  increase: overTime,
  delta: overTime,
  irate: overTime,
  idelta: overTime,
  deriv: overTime,
  predict_linear: of('vector', 'matrix', 'scalar'),
  changes: overTime,
  resets: overTime,
  avg_over_time: overTime,
  sum_over_time: overTime,
  min_over_time: overTime,
  max_over_time: overTime,
  count_over_time: overTime,
  last_over_time: overTime,
  present_over_time: overTime,
  absent_over_time: overTime,
  stddev_over_time: overTime,
  stdvar_over_time: overTime,
  quantile_over_time: of('vector', 'scalar', 'matrix'),
  absent: elementwise,
  abs: elementwise,
  ceil: elementwise,
  floor: elementwise,
  sqrt: elementwise,
  exp: elementwise,
  ln: elementwise,
  log2: elementwise,
  log10: elementwise,
  sgn: elementwise,
  sin: elementwise,
  cos: elementwise,
  tan: elementwise,
  asin: elementwise,
  acos: elementwise,
  atan: elementwise,
  sinh: elementwise,
  cosh: elementwise,
  tanh: elementwise,
  asinh: elementwise,
  acosh: elementwise,
  atanh: elementwise,
  deg: elementwise,
  rad: elementwise,
  round: { args: ['vector', 'scalar'], optional: 1, returns: 'vector' },
  clamp: of('vector', 'vector', 'scalar', 'scalar'),
  clamp_min: of('vector', 'vector', 'scalar'),
  clamp_max: of('vector', 'vector', 'scalar'),
  minute: ofTime,
  hour: ofTime,
  day_of_week: ofTime,
  day_of_month: ofTime,
  day_of_year: ofTime,
  days_in_month: ofTime,
  month: ofTime,
  year: ofTime,
  timestamp: elementwise,
  sort: elementwise,
  sort_desc: elementwise,
  scalar: of('scalar', 'vector'),
  vector: of('vector', 'scalar'),
  time: of('scalar'),
  pi: of('scalar'),
  label_replace: of('vector', 'vector', 'string', 'string', 'string', 'string'),
  label_join: {
    args: ['vector', 'string', 'string', 'string'],
    optional: 1,
    variadic: true,
    returns: 'vector',
  },
  histogram_quantile: of('vector', 'scalar', 'vector'),
};

/** Prometheus has them; native histograms and experimental functions are not built yet. */
export const UNBUILT_FUNCTIONS: readonly string[] = [
  'double_exponential_smoothing',
  'end',
  'first_over_time',
  'histogram_avg',
  'histogram_count',
  'histogram_fraction',
  'histogram_quantiles',
  'histogram_stddev',
  'histogram_stdvar',
  'histogram_sum',
  'info',
  'mad_over_time',
  'range',
  'sort_by_label',
  'sort_by_label_desc',
  'start',
  'start_timestamp',
  'step',
  'ts_of_first_over_time',
  'ts_of_last_over_time',
  'ts_of_max_over_time',
  'ts_of_min_over_time',
];
