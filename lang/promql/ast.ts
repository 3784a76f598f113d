import type { Where } from '../../core/errors.ts';
import type { Matcher } from '../../core/labels.ts';
import type { AggregateOperator } from '../series/aggregate.ts';
import type { BinaryOperator, Matching } from '../series/binary.ts';

/** PromQL's tree. Durations and times are milliseconds; `where` is the place in the text. */
export type PromExpr =
  | NumberNode
  | StringNode
  | SelectorNode
  | MatrixNode
  | SubqueryNode
  | CallNode
  | AggregateNode
  | BinaryNode
  | NegateNode;

export interface NumberNode {
  readonly kind: 'number';
  readonly value: number;
  readonly where: Where;
}

export interface StringNode {
  readonly kind: 'string';
  readonly value: string;
  readonly where: Where;
}

/** `offset` and `@`: when a selector or a subquery looks. */
export interface Shift {
  /** Positive looks back. */
  readonly offset: number;
  readonly at?: { readonly time: number } | 'start' | 'end';
}

/** The metric's name is a matcher on `__name__`, the first. */
export interface SelectorNode extends Shift {
  readonly kind: 'selector';
  readonly matchers: readonly Matcher[];
  readonly where: Where;
}

export interface MatrixNode {
  readonly kind: 'matrix';
  readonly selector: SelectorNode;
  readonly range: number;
  readonly where: Where;
}

export interface SubqueryNode extends Shift {
  readonly kind: 'subquery';
  readonly expr: PromExpr;
  readonly range: number;
  /** Absent: the default evaluation interval. */
  readonly step?: number;
  readonly where: Where;
}

export interface CallNode {
  readonly kind: 'call';
  readonly name: string;
  readonly args: readonly PromExpr[];
  readonly where: Where;
}

export interface AggregateNode {
  readonly kind: 'aggregate';
  readonly op: AggregateOperator;
  readonly param?: PromExpr;
  readonly expr: PromExpr;
  readonly grouping: readonly string[];
  readonly without: boolean;
  readonly where: Where;
}

export interface BinaryNode {
  readonly kind: 'binary';
  readonly op: BinaryOperator;
  readonly left: PromExpr;
  readonly right: PromExpr;
  readonly bool: boolean;
  /** Present between two vectors. */
  readonly matching?: Matching;
  readonly where: Where;
}

/** Unary minus; unary plus and parentheses leave no trace. */
export interface NegateNode {
  readonly kind: 'negate';
  readonly expr: PromExpr;
  readonly where: Where;
}

export type ValueType = 'scalar' | 'string' | 'vector' | 'matrix';
