/** Sums that keep the error of each addition apart (Kahan and Neumaier), as Prometheus does. */
export class Sum {
  #sum = 0;
  #rest = 0;

  add(value: number): void {
    const next = this.#sum + value;
    if (!Number.isFinite(next)) this.#rest = 0;
    else if (Math.abs(this.#sum) >= Math.abs(value)) this.#rest += this.#sum - next + value;
    else this.#rest += value - next + this.#sum;
    this.#sum = next;
  }

  get value(): number {
    return this.#sum + this.#rest;
  }
}

export function sum(values: ArrayLike<number>, from = 0, to = values.length): number {
  const total = new Sum();
  for (let i = from; i < to; i++) total.add(values[i] ?? 0);
  return total.value;
}

/** NaN for none. Where the sum overflows, the mean is taken step by step. */
export function mean(values: ArrayLike<number>, from = 0, to = values.length): number {
  const total = sum(values, from, to);
  const count = to - from;
  if (Number.isFinite(total)) return total / count;
  let average = 0;
  for (let i = from; i < to; i++) {
    const value = values[i] ?? 0;
    const n = i - from + 1;
    if (!Number.isFinite(average)) {
      // Infinities of one sign stay; of both signs, or with a NaN, they make NaN.
      if (Number.isFinite(value) || value === average) continue;
      if (Number.isNaN(average)) continue;
    }
    average = average * ((n - 1) / n) + value / n;
  }
  return average;
}

/** Population variance by Welford's method. */
export function variance(values: ArrayLike<number>, from = 0, to = values.length): number {
  const [average, squares] = [new Sum(), new Sum()];
  for (let i = from; i < to; i++) {
    const value = values[i] ?? 0;
    const delta = value - average.value;
    average.add(delta / (i - from + 1));
    squares.add(delta * (value - average.value));
  }
  return squares.value / (to - from);
}

/** The φ-quantile with linear interpolation; NaN sorts first. */
export function quantile(phi: number, values: readonly number[]): number {
  if (values.length === 0 || Number.isNaN(phi)) return Number.NaN;
  if (phi < 0) return -Infinity;
  if (phi > 1) return Infinity;
  const sorted = values.toSorted(ascendingNaNFirst);
  const rank = phi * (sorted.length - 1);
  const lower = Math.max(0, Math.floor(rank));
  const upper = Math.min(sorted.length - 1, lower + 1);
  const weight = rank - Math.floor(rank);
  return (sorted[lower] ?? 0) * (1 - weight) + (sorted[upper] ?? 0) * weight;
}

function ascendingNaNFirst(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : -1;
  if (Number.isNaN(b)) return 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** For `sort` and `topk`: NaN comes last in both directions. */
export function compareValues(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  if (Number.isNaN(b)) return -1;
  if (a === b) return 0;
  return a < b === descending ? 1 : -1;
}
