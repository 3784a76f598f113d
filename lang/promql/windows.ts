import { ABSENT } from '../series/grid.ts';
import { mean, quantile, Sum, sum, variance } from '../series/sums.ts';

/** The samples of one series in `(start, end]`: indexes from `from` up to, without, `to`. */
export interface Window {
  timestamps: Float64Array;
  values: Float64Array;
  from: number;
  to: number;
  /** Milliseconds. */
  start: number;
  end: number;
  /** Milliseconds at which the expression is evaluated; differs from `end` by offset and `@`. */
  at: number;
}

/** Never called with an empty window. Gives ABSENT for no sample. */
export type WindowFunction = (window: Window, parameter: number) => number;

const valueAt = (window: Window, index: number): number => window.values[index] ?? Number.NaN;
const timeAt = (window: Window, index: number): number => window.timestamps[index] ?? Number.NaN;

export const WINDOW_FUNCTIONS: Readonly<Record<string, WindowFunction>> = {
  rate: (w) => extrapolated(w, true, true),
  increase: (w) => extrapolated(w, true, false),
  delta: (w) => extrapolated(w, false, false),
  irate: (w) => instant(w, true),
  idelta: (w) => instant(w, false),
  deriv: (w) => (w.to - w.from < 2 ? ABSENT : regression(w, timeAt(w, w.from)).slope),
  predict_linear: (w, seconds) => {
    if (w.to - w.from < 2) return ABSENT;
    const { slope, intercept } = regression(w, w.at);
    return slope * seconds + intercept;
  },
  changes: (w) => countPairs(w, (before, value) => !same(before, value)),
  resets: (w) => countPairs(w, (before, value) => value < before),
  avg_over_time: (w) => mean(w.values, w.from, w.to),
  sum_over_time: (w) => sum(w.values, w.from, w.to),
  min_over_time: (w) => -greatest(w, -1),
  max_over_time: (w) => greatest(w, 1),
  count_over_time: (w) => w.to - w.from,
  last_over_time: (w) => valueAt(w, w.to - 1),
  present_over_time: () => 1,
  stddev_over_time: (w) => Math.sqrt(variance(w.values, w.from, w.to)),
  stdvar_over_time: (w) => variance(w.values, w.from, w.to),
  quantile_over_time: (w, phi) => quantile(phi, [...w.values.subarray(w.from, w.to)]),
};

const same = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));

function countPairs(w: Window, test: (before: number, value: number) => boolean): number {
  let count = 0;
  for (let i = w.from + 1; i < w.to; i++) if (test(valueAt(w, i - 1), valueAt(w, i))) count++;
  return count;
}

/** The greatest value times `sign`; NaN only where every value is. */
function greatest({ values, from, to }: Window, sign: 1 | -1): number {
  let best = Number.NaN;
  for (let i = from; i < to; i++) {
    const value = sign * (values[i] ?? Number.NaN);
    if (value > best || Number.isNaN(best)) best = value;
  }
  return best;
}

/**
 * `rate`, `increase`, `delta`: the difference of the window's ends, counter resets added, stretched
 * to the window's edges where the samples come near enough to them; a counter is never stretched
 * below zero. https://prometheus.io/docs/prometheus/latest/querying/functions/#rate
 */
function extrapolated(w: Window, counter: boolean, perSecond: boolean): number {
  const intervals = w.to - w.from - 1;
  if (intervals < 1) return ABSENT;
  const first = valueAt(w, w.from);
  let result = valueAt(w, w.to - 1) - first;
  if (counter) {
    let before = first;
    for (let i = w.from + 1; i < w.to; i++) {
      const value = valueAt(w, i);
      if (value < before) result += before;
      before = value;
    }
  }
  const firstTime = timeAt(w, w.from);
  const lastTime = timeAt(w, w.to - 1);
  const sampled = (lastTime - firstTime) / 1000;
  const average = sampled / intervals;
  const threshold = average * 1.1;
  let toStart = (firstTime - w.start) / 1000;
  let toEnd = (w.end - lastTime) / 1000;
  if (toStart >= threshold) toStart = average / 2;
  if (counter) {
    const toZero = result > 0 && first >= 0 ? sampled * (first / result) : toStart;
    if (toZero < toStart) toStart = toZero;
  }
  if (toEnd >= threshold) toEnd = average / 2;
  let factor = (sampled + toStart + toEnd) / sampled;
  if (perSecond) factor /= (w.end - w.start) / 1000;
  return result * factor;
}

/** `irate`, `idelta`: of the last two samples. */
function instant(w: Window, rate: boolean): number {
  if (w.to - w.from < 2) return ABSENT;
  const [before, value] = [valueAt(w, w.to - 2), valueAt(w, w.to - 1)];
  // A counter that fell was reset: it counts from zero.
  const difference = rate && value < before ? value : value - before;
  if (!rate) return difference;
  const interval = timeAt(w, w.to - 1) - timeAt(w, w.to - 2);
  return interval === 0 ? ABSENT : difference / (interval / 1000);
}

/** Least squares; `intercept` is the value at `origin`. */
function regression(w: Window, origin: number): { slope: number; intercept: number } {
  const [sumX, sumY, sumXY, sumX2] = [new Sum(), new Sum(), new Sum(), new Sum()];
  const first = valueAt(w, w.from);
  let constant = true;
  for (let i = w.from; i < w.to; i++) {
    const x = (timeAt(w, i) - origin) / 1000;
    const y = valueAt(w, i);
    if (y !== first) constant = false;
    sumX.add(x);
    sumY.add(y);
    sumXY.add(x * y);
    sumX2.add(x * x);
  }
  if (constant) {
    return Number.isFinite(first)
      ? { slope: 0, intercept: first }
      : { slope: Number.NaN, intercept: Number.NaN };
  }
  const n = w.to - w.from;
  const covariance = sumXY.value - (sumX.value * sumY.value) / n;
  const spread = sumX2.value - (sumX.value * sumX.value) / n;
  const slope = covariance / spread;
  return { slope, intercept: sumY.value / n - (slope * sumX.value) / n };
}
