import type { LineFilter } from '../../core/contracts/queryable.ts';
import type { Where } from '../../core/errors.ts';
import type { Matcher } from '../../core/labels.ts';
import type { AggregateOperator } from '../series/aggregate.ts';
import type { BinaryOperator, Matching } from '../series/binary.ts';

/** LogQL's tree. Durations are milliseconds; `where` is the place in the text. */
export type LogExpr = LogSelectorExpr | LogMetricExpr;

/** A log query: `kind: 'logs'`. Every other kind is a metric query. */
export interface LogSelectorExpr {
  readonly kind: 'logs';
  readonly matchers: readonly Matcher[];
  readonly stages: readonly Stage[];
  readonly where: Where;
}

export type Stage = LineFilterStage | LogfmtStage | JsonStage | LabelFilterStage;

/** `|= "a" or "b"`: one of the values for the positive operators, none for the negative. */
export interface LineFilterStage {
  readonly kind: 'line';
  readonly op: LineFilter['op'];
  readonly values: readonly string[];
  readonly where: Where;
}

export interface LogfmtStage {
  readonly kind: 'logfmt';
  readonly strict: boolean;
  readonly keepEmpty: boolean;
  readonly where: Where;
}

export interface JsonStage {
  readonly kind: 'json';
  readonly where: Where;
}

export interface LabelFilterStage {
  readonly kind: 'label';
  readonly filter: LabelFilter;
  readonly where: Where;
}

export type Comparison = '==' | '!=' | '>' | '>=' | '<' | '<=';

export type LabelFilter =
  | { readonly kind: 'and' | 'or'; readonly left: LabelFilter; readonly right: LabelFilter }
  | { readonly kind: 'match'; readonly matcher: Matcher }
  | {
      readonly kind: 'compare';
      readonly name: string;
      readonly op: Comparison;
      /** Plain number, nanoseconds, or bytes. */
      readonly value: number;
      readonly unit: 'number' | 'duration' | 'bytes';
    };

export type LogMetricExpr =
  | LogRangeNode
  | LogAggregateNode
  | LogBinaryNode
  | LogNumberNode
  | LogVectorNode;

export const RANGE_OPERATIONS = [
  'count_over_time',
  'rate',
  'bytes_over_time',
  'bytes_rate',
  'absent_over_time',
] as const;
export type RangeOperation = (typeof RANGE_OPERATIONS)[number];

export interface LogRangeNode {
  readonly kind: 'range';
  readonly op: RangeOperation;
  readonly logs: LogSelectorExpr;
  readonly range: number;
  readonly offset: number;
  readonly where: Where;
}

export interface LogAggregateNode {
  readonly kind: 'aggregate';
  readonly op: AggregateOperator;
  readonly param?: number;
  readonly expr: LogMetricExpr;
  readonly grouping: readonly string[];
  readonly without: boolean;
  readonly where: Where;
}

export interface LogBinaryNode {
  readonly kind: 'binary';
  readonly op: BinaryOperator;
  readonly left: LogMetricExpr;
  readonly right: LogMetricExpr;
  readonly bool: boolean;
  readonly matching?: Matching;
  readonly where: Where;
}

export interface LogNumberNode {
  readonly kind: 'number';
  readonly value: number;
  readonly where: Where;
}

/** `vector(1)`. */
export interface LogVectorNode {
  readonly kind: 'vector';
  readonly value: number;
  readonly where: Where;
}
