import { ReflexarcError, type Where } from '../../core/errors.ts';
import { formatLabels, type Labels, labelsKey } from '../../core/labels.ts';
import { ABSENT, type Grid, hasSample, type StepSeries } from './grid.ts';
import { drop, keep, labelOf, withoutName } from './labels.ts';
import { mergeSame } from './merge.ts';

/** Binary operators of both languages, over all steps at once. */

export const ARITHMETIC = ['+', '-', '*', '/', '%', '^', 'atan2'] as const;
export const COMPARISONS = ['==', '!=', '>', '<', '>=', '<='] as const;
export const SET_OPERATORS = ['and', 'or', 'unless'] as const;

export type ComparisonOperator = (typeof COMPARISONS)[number];
export type ScalarOperator = (typeof ARITHMETIC)[number] | ComparisonOperator;
export type SetOperator = (typeof SET_OPERATORS)[number];
export type BinaryOperator = ScalarOperator | SetOperator;

/** How the series of two vectors find each other. */
export interface Matching {
  readonly on: boolean;
  readonly labels: readonly string[];
  /** Which side may have many: `group_left` is left. */
  readonly many: 'none' | 'left' | 'right';
  /** Labels that are copied from the side of one. */
  readonly include: readonly string[];
}

export const isComparison = (op: BinaryOperator): op is ComparisonOperator =>
  (COMPARISONS as readonly string[]).includes(op);
export const isSetOperator = (op: BinaryOperator): op is SetOperator =>
  (SET_OPERATORS as readonly string[]).includes(op);

type Calculate = (a: number, b: number) => number;

const CALCULATE: Readonly<Record<ScalarOperator, Calculate>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
  '^': power,
  atan2: Math.atan2,
  '==': (a, b) => (a === b ? 1 : 0),
  '!=': (a, b) => (a !== b ? 1 : 0),
  '>': (a, b) => (a > b ? 1 : 0),
  '<': (a, b) => (a < b ? 1 : 0),
  '>=': (a, b) => (a >= b ? 1 : 0),
  '<=': (a, b) => (a <= b ? 1 : 0),
};

/** As IEEE 754 and Go have it: 1 to any power is 1, and so is -1 to an infinite one. */
function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && (b === Infinity || b === -Infinity))) return 1;
  return a ** b;
}

export interface BinaryOptions {
  readonly op: BinaryOperator;
  readonly bool: boolean;
  readonly where: Where;
  /** Loki gives NaN where a divisor is zero. */
  readonly zeroDivision?: 'nan';
}

function calculator({ op, zeroDivision }: BinaryOptions): Calculate {
  if (isSetOperator(op)) throw new ReflexarcError('internal', `${op} does not calculate`);
  const calculate = CALCULATE[op];
  if (zeroDivision !== 'nan' || (op !== '/' && op !== '%')) return calculate;
  return (a, b) => (b === 0 ? Number.NaN : calculate(a, b));
}

export function scalarScalar(
  options: BinaryOptions,
  left: Float64Array,
  right: Float64Array,
): Float64Array {
  const calculate = calculator(options);
  return left.map((value, i) => calculate(value, right[i] ?? Number.NaN));
}

/** `swapped`: the scalar stands on the left. A filter keeps the vector's own value. */
export function vectorScalar(
  options: BinaryOptions,
  vector: readonly StepSeries[],
  scalar: Float64Array,
  swapped: boolean,
): StepSeries[] {
  const calculate = calculator(options);
  const filter = isComparison(options.op) && !options.bool;
  const out: StepSeries[] = [];
  for (const series of vector) {
    const values = series.values.map((value, i) => {
      if (value === ABSENT) return ABSENT;
      const other = scalar[i] ?? Number.NaN;
      const result = swapped ? calculate(other, value) : calculate(value, other);
      if (filter) return result === 1 ? value : ABSENT;
      return result;
    });
    if (!hasSample(values)) continue;
    out.push({ labels: filter ? series.labels : withoutName(series.labels), values });
  }
  return filter ? out : mergeSame(out, options.where);
}

export function signatureOf(matching: Matching): (labels: Labels) => string {
  if (matching.on) return (labels) => labelsKey(keep(labels, matching.labels));
  const dropped = new Set(matching.labels);
  return (labels) => labelsKey(drop(labels, dropped));
}

/** Arithmetic or comparison between two vectors. */
export function vectorVector(
  options: BinaryOptions,
  grid: Grid,
  left: readonly StepSeries[],
  right: readonly StepSeries[],
  matching: Matching,
): StepSeries[] {
  const swapped = matching.many === 'right';
  const [many, one] = swapped ? [right, left] : [left, right];
  if (many.length === 0 || one.length === 0) return [];
  const calculate = calculator(options);
  const filter = isComparison(options.op) && !options.bool;
  const signature = signatureOf(matching);
  const ones = Map.groupBy(one, (series) => signature(series.labels));
  const anyMany = presence(grid, many);
  for (const group of ones.values()) {
    checkSingle(group, anyMany, matching, swapped ? 'left' : 'right', options.where);
  }
  const out: StepSeries[] = [];
  // One to one: which steps of a signature already have a match.
  const taken = new Map<string, Uint8Array>();
  for (const series of many) {
    const key = signature(series.labels);
    for (const partner of ones.get(key) ?? []) {
      const values = series.values.map((value, i) => {
        const other = partner.values[i] ?? ABSENT;
        if (value === ABSENT || other === ABSENT) return ABSENT;
        const result = swapped ? calculate(other, value) : calculate(value, other);
        // The left side's value passes a filter, whichever side has many.
        if (filter) return result === 1 ? (swapped ? other : value) : ABSENT;
        return result;
      });
      if (!hasSample(values)) continue;
      if (matching.many === 'none') takeOnce(taken, key, values, options.where);
      out.push({ labels: resultLabels(series.labels, partner.labels, matching, filter), values });
    }
  }
  return mergeSame(
    out,
    options.where,
    matching.many === 'none'
      ? undefined
      : 'multiple matches for labels: grouping labels must ensure unique matches',
  );
}

function takeOnce(
  taken: Map<string, Uint8Array>,
  key: string,
  values: Float64Array,
  where: Where,
): void {
  const mask = taken.get(key) ?? new Uint8Array(values.length);
  taken.set(key, mask);
  for (let i = 0; i < values.length; i++) {
    if (values[i] === ABSENT) continue;
    if (mask[i] === 1) {
      throw new ReflexarcError(
        'bad_query',
        'multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)',
        { where },
      );
    }
    mask[i] = 1;
  }
}

function presence(grid: Grid, vector: readonly StepSeries[]): Uint8Array {
  const present = new Uint8Array(grid.count);
  for (const { values } of vector) {
    for (let i = 0; i < values.length; i++) if (values[i] !== ABSENT) present[i] = 1;
  }
  return present;
}

/** Two series of one signature on the side of one are an error only where both have a sample. */
function checkSingle(
  group: readonly StepSeries[],
  relevant: Uint8Array,
  matching: Matching,
  side: string,
  where: Where,
): void {
  if (group.length < 2) return;
  for (let i = 0; i < relevant.length; i++) {
    if (relevant[i] === 0) continue;
    const present = group.filter(({ values }) => values[i] !== ABSENT);
    const [first, second] = present;
    if (first === undefined || second === undefined) continue;
    const names = matching.on
      ? keep(first.labels, matching.labels)
      : drop(first.labels, new Set(matching.labels));
    throw new ReflexarcError(
      'bad_query',
      `found duplicate series for the match group ${formatLabels(names)} on the ${side} hand-side of the operation: [${formatLabels(first.labels)}, ${formatLabels(second.labels)}]; many-to-many matching not allowed: matching labels must be unique on one side`,
      { where, hint: 'match on more labels with on(…), or aggregate that side first' },
    );
  }
}

function resultLabels(many: Labels, one: Labels, matching: Matching, keepName: boolean): Labels {
  let labels = keepName ? many : withoutName(many);
  if (matching.many === 'none') {
    labels = matching.on ? keep(labels, matching.labels) : dropKeepingName(labels, matching.labels);
  }
  if (matching.include.length === 0) return labels;
  const changed: Record<string, string> = { ...labels };
  for (const name of matching.include) {
    const value = labelOf(one, name);
    if (value === '') delete changed[name];
    else changed[name] = value;
  }
  return changed;
}

function dropKeepingName(labels: Labels, names: readonly string[]): Labels {
  if (names.length === 0) return labels;
  const changed: Record<string, string> = { ...labels };
  for (const name of names) delete changed[name];
  return changed;
}

/** `and`, `or`, `unless`: many to many, values and labels stay as they are. */
export function setOperation(
  options: BinaryOptions,
  grid: Grid,
  left: readonly StepSeries[],
  right: readonly StepSeries[],
  matching: Matching,
): StepSeries[] {
  const signature = signatureOf(matching);
  const present = (vector: readonly StepSeries[]) => {
    const groups = Map.groupBy(vector, (series) => signature(series.labels));
    return new Map([...groups].map(([key, group]) => [key, presence(grid, group)]));
  };
  const select = (vector: readonly StepSeries[], other: Map<string, Uint8Array>, wanted: 0 | 1) => {
    const out: StepSeries[] = [];
    for (const series of vector) {
      const mask = other.get(signature(series.labels));
      const values = series.values.map((value, i) =>
        (mask?.[i] ?? 0) === wanted ? value : ABSENT,
      );
      if (hasSample(values)) out.push({ labels: series.labels, values });
    }
    return out;
  };
  if (options.op === 'and') return select(left, present(right), 1);
  if (options.op === 'unless') return select(left, present(right), 0);
  return mergeSame([...left, ...select(right, present(left), 0)], options.where);
}
