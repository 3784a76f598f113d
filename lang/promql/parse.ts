import type { SyntaxNode, Tree } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import type { Where } from '../../core/errors.ts';
import type { Matcher, MatchOp } from '../../core/labels.ts';
import { AGGREGATE_OPERATORS, type AggregateOperator } from '../series/aggregate.ts';
import type { BinaryOperator, Matching } from '../series/binary.ts';
import { badQuery, notSupported, Places, unquote } from '../text.ts';
import type { PromExpr, SelectorNode, Shift } from './ast.ts';
import { checkPromQL } from './check.ts';
import { parsePromDuration, parsePromNumber } from './numbers.ts';
import { refuseErrors } from './syntax-errors.ts';

/** Longer texts and deeper nesting are nobody's query. */
const MAX_LENGTH = 64 * 1024;
const MAX_DEPTH = 400;

/**
 * The text as a tree, type-checked.
 *
 * @throws bad_query with line and column; not_supported for what Prometheus knows and we do not
 */
export function parsePromQL(text: string): PromExpr {
  if (text.length > MAX_LENGTH) {
    badQuery(text, 0, `the query is longer than ${MAX_LENGTH} characters`);
  }
  const tree = parseStrictly(text);
  const top = tree.topNode.firstChild;
  const first = top?.name === 'LineComment' ? siblings(top)[0] : top;
  if (first === null || first === undefined) badQuery(text, 0, 'the query is empty');
  const expr = new Builder(text).expression(first);
  checkPromQL(text, expr);
  return expr;
}

const strict = parser.configure({ strict: true });

/**
 * Stops at the first error; what was expected there is seen by parsing what is before it again.
 * The grammar's own recovery takes seconds on long nonsense.
 */
function parseStrictly(text: string): Tree {
  try {
    const tree = strict.parse(text);
    refuseErrors(text, tree);
    return tree;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const offset = Number(/\d+$/.exec(error.message)?.[0] ?? 0);
    refuseErrors(text, parser.parse(text.slice(0, offset + 100)));
    return badQuery(text, Math.min(offset, text.length), 'unexpected text');
  }
}

/** The node and what follows it, comments left out. */
function siblings(node: SyntaxNode | null): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (let next = node; next !== null; next = next.nextSibling) {
    if (next.name !== 'LineComment') found.push(next);
  }
  return found;
}

const childrenOf = (node: SyntaxNode): SyntaxNode[] => siblings(node.firstChild);

/**
 * The grammar gives `offset`, `@`, ranges and signs another precedence than Prometheus does
 * (`a + b @ 5` shifts the sum, `-1 ^ 2` is 1). So its tree of operators is taken apart into what
 * stands in the text, and put together again by precedence.
 */
type Piece =
  | { readonly kind: 'operand'; readonly expr: PromExpr }
  | { readonly kind: 'sign'; readonly negative: boolean; readonly where: Where }
  | {
      readonly kind: 'operator';
      readonly op: BinaryOperator;
      readonly bool: boolean;
      readonly matching: Matching | undefined;
      readonly where: Where;
      readonly from: number;
    };

const PRECEDENCE: Readonly<Record<BinaryOperator, number>> = {
  or: 1,
  and: 2,
  unless: 2,
  '==': 3,
  '!=': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
  atan2: 5,
  '^': 7,
};
const SIGN_PRECEDENCE = 6;

const OPERATORS: Readonly<Record<string, BinaryOperator>> = {
  Pow: '^',
  Mul: '*',
  Div: '/',
  Mod: '%',
  Atan2: 'atan2',
  Add: '+',
  Sub: '-',
  Eql: '==',
  Neq: '!=',
  Gte: '>=',
  Gtr: '>',
  Lte: '<=',
  Lss: '<',
  And: 'and',
  Or: 'or',
  Unless: 'unless',
};

class Builder {
  readonly #text: string;
  readonly #places: Places;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#places = new Places(text);
  }

  expression(node: SyntaxNode): PromExpr {
    if (++this.#depth > MAX_DEPTH)
      badQuery(this.#text, node.from, 'the query is nested too deeply');
    const pieces: Piece[] = [];
    this.#flatten(node, pieces, 0);
    const expr = new Assembler(pieces).expression(0);
    this.#depth--;
    return expr;
  }

  #flatten(node: SyntaxNode, pieces: Piece[], depth: number): void {
    if (depth > MAX_DEPTH) badQuery(this.#text, node.from, 'the query is nested too deeply');
    const children = childrenOf(node);
    const [first] = children;
    switch (node.name) {
      case 'BinaryExpr': {
        const last = children.at(-1);
        if (first === undefined || last === undefined) return;
        this.#flatten(first, pieces, depth + 1);
        pieces.push(this.#operator(children.slice(1, -1)));
        this.#flatten(last, pieces, depth + 1);
        return;
      }
      case 'UnaryExpr': {
        const operand = children[1];
        if (first === undefined || operand === undefined) return;
        pieces.push(this.#sign(first));
        this.#flatten(operand, pieces, depth + 1);
        return;
      }
      case 'NumberDurationLiteral':
        if (/^[+-]/.test(this.#textOf(node))) pieces.push(this.#sign(node));
        pieces.push({ kind: 'operand', expr: this.#number(node) });
        return;
      case 'OffsetExpr':
      case 'StepInvariantExpr':
      case 'MatrixSelector':
      case 'SubqueryExpr': {
        if (first === undefined) return;
        this.#flatten(first, pieces, depth + 1);
        const target = pieces.pop();
        if (target?.kind !== 'operand') return this.#unexpected(node);
        pieces.push({ kind: 'operand', expr: this.#suffix(node, children, target.expr) });
        return;
      }
      default:
        pieces.push({ kind: 'operand', expr: this.#operand(node, children) });
    }
  }

  #operand(node: SyntaxNode, children: readonly SyntaxNode[]): PromExpr {
    const where = this.#where(node);
    switch (node.name) {
      case 'ParenExpr': {
        const [inner] = children;
        return inner === undefined ? this.#unexpected(node) : this.expression(inner);
      }
      case 'StringLiteral':
        return { kind: 'string', value: this.#string(node), where };
      case 'VectorSelector':
        return this.#selector(node, children);
      case 'FunctionCall': {
        const [name, body] = children;
        if (name === undefined || body === undefined) return this.#unexpected(node);
        const args = childrenOf(body).map((arg) => this.expression(arg));
        return { kind: 'call', name: this.#textOf(name), args, where };
      }
      case 'AggregateExpr':
        return this.#aggregate(node, children);
      case 'SmoothedExpr':
        return notSupported(this.#text, node.from, 'the modifier `smoothed`');
      case 'AnchoredExpr':
        return notSupported(this.#text, node.from, 'the modifier `anchored`');
      default:
        return this.#unexpected(node);
    }
  }

  #selector(node: SyntaxNode, children: readonly SyntaxNode[]): SelectorNode {
    const matchers: Matcher[] = [];
    let named = false;
    const name = (value: string, from: number) => {
      if (named) badQuery(this.#text, from, 'the metric name is set twice');
      named = true;
      matchers.unshift({ name: '__name__', op: '=', value });
    };
    for (const child of children) {
      if (child.name === 'Identifier') name(this.#textOf(child), child.from);
      if (child.name !== 'LabelMatchers') continue;
      for (const item of childrenOf(child)) {
        const [left, op, value] = childrenOf(item);
        if (left === undefined) return this.#unexpected(item);
        if (item.name === 'QuotedLabelName') name(this.#string(left), item.from);
        else if (op === undefined || value === undefined) return this.#unexpected(item);
        else {
          const quoted = left.name === 'QuotedLabelName' || left.name === 'StringLiteral';
          const label = quoted ? this.#string(left.firstChild ?? left) : this.#textOf(left);
          if (label === '__name__' && named) {
            badQuery(this.#text, item.from, 'the metric name is set twice');
          }
          matchers.push({
            name: label,
            op: this.#textOf(op) as MatchOp,
            value: this.#string(value),
          });
        }
      }
    }
    return { kind: 'selector', matchers, offset: 0, where: this.#where(node) };
  }

  #aggregate(node: SyntaxNode, children: readonly SyntaxNode[]): PromExpr {
    const find = (name: string) => children.find((child) => child.name === name);
    const [op, body, modifier] = [
      find('AggregateOp'),
      find('FunctionCallBody'),
      find('AggregateModifier'),
    ];
    if (op === undefined || body === undefined) return this.#unexpected(node);
    const name = this.#textOf(op).toLowerCase();
    if (!isAggregate(name))
      return notSupported(this.#text, node.from, `the aggregation \`${name}\``);
    const args = childrenOf(body).map((arg) => this.expression(arg));
    const wantsParam = ['topk', 'bottomk', 'quantile', 'count_values'].includes(name);
    const expected = wantsParam ? 2 : 1;
    const expr = args.at(-1);
    if (args.length !== expected || expr === undefined) {
      badQuery(
        this.#text,
        node.from,
        `wrong number of arguments for \`${name}\`: expected ${expected}, got ${args.length}`,
      );
    }
    const [kind, labels] = modifier === undefined ? [] : childrenOf(modifier);
    return {
      kind: 'aggregate',
      op: name,
      expr,
      ...(wantsParam && args[0] !== undefined ? { param: args[0] } : {}),
      grouping: labels === undefined ? [] : this.#labelNames(labels),
      without: kind?.name === 'Without',
      where: this.#where(node),
    };
  }

  #labelNames(node: SyntaxNode): string[] {
    return childrenOf(node).map((item) =>
      item.name === 'QuotedLabelName' ? this.#string(item.firstChild ?? item) : this.#textOf(item),
    );
  }

  /** What stands between the two sides of a binary expression. */
  #operator(nodes: readonly SyntaxNode[]): Piece {
    const [symbol, ...modifiers] = nodes;
    const op = symbol === undefined ? undefined : OPERATORS[symbol.name];
    if (symbol === undefined || op === undefined) return this.#unexpected(symbol);
    let bool = false;
    let matching: Matching | undefined;
    for (const modifier of modifiers) {
      if (modifier.name === 'BoolModifier') bool = true;
      else if (modifier.name === 'MatchingModifierClause') matching = this.#matching(modifier);
      else return notSupported(this.#text, modifier.from, 'the modifier `fill`');
    }
    return { kind: 'operator', op, bool, matching, where: this.#where(symbol), from: symbol.from };
  }

  #matching(node: SyntaxNode): Matching {
    let on = false;
    let many: Matching['many'] = 'none';
    let labels: string[] = [];
    let include: string[] = [];
    for (const child of childrenOf(node)) {
      if (child.name === 'On') on = true;
      else if (child.name === 'GroupLeft') many = 'left';
      else if (child.name === 'GroupRight') many = 'right';
      else if (child.name === 'GroupingLabels') {
        if (many === 'none') labels = this.#labelNames(child);
        else include = this.#labelNames(child);
      }
    }
    const both = on ? include.find((label) => labels.includes(label)) : undefined;
    if (both !== undefined) {
      badQuery(
        this.#text,
        node.from,
        `label ${both} must not occur in on and group clause at once`,
      );
    }
    return { on, labels, many, include };
  }

  #sign(node: SyntaxNode): Piece {
    const negative = this.#text[node.from] === '-';
    return { kind: 'sign', negative, where: this.#where(node) };
  }

  #number(node: SyntaxNode): PromExpr {
    const text = this.#textOf(node).replace(/^[+-]/, '');
    const value = parsePromNumber(text);
    if (value === undefined) badQuery(this.#text, node.from, `not a number or duration: ${text}`);
    return { kind: 'number', value, where: this.#where(node) };
  }

  /** A range, a subquery, `offset` or `@` behind an operand. */
  #suffix(node: SyntaxNode, children: readonly SyntaxNode[], target: PromExpr): PromExpr {
    const where = target.where;
    const last = children.at(-1);
    if (last === undefined) return this.#unexpected(node);
    if (node.name === 'MatrixSelector') {
      if (target.kind !== 'selector') {
        badQuery(this.#text, node.from, 'ranges are only allowed for vector selectors');
      }
      if (target.offset !== 0 || target.at !== undefined) {
        badQuery(this.#text, node.from, 'offset and @ belong after the range, not before it');
      }
      return { kind: 'matrix', selector: target, range: this.#duration(last), where };
    }
    if (node.name === 'SubqueryExpr') {
      const [range, step] = children.slice(1);
      if (range === undefined) return this.#unexpected(node);
      return {
        kind: 'subquery',
        expr: target,
        range: this.#duration(range),
        ...(step === undefined ? {} : { step: this.#duration(step) }),
        offset: 0,
        where,
      };
    }
    const shift = (old: Shift): Shift => {
      if (node.name === 'OffsetExpr') {
        if (old.offset !== 0)
          badQuery(this.#text, node.from, 'offset may not be set multiple times');
        return { offset: this.#offset(last) };
      }
      if (old.at !== undefined) badQuery(this.#text, node.from, '@ may not be set multiple times');
      return { offset: old.offset, at: this.#at(last) };
    };
    if (target.kind === 'selector' || target.kind === 'subquery') {
      return { ...target, ...shift(target) };
    }
    if (target.kind === 'matrix') {
      return { ...target, selector: { ...target.selector, ...shift(target.selector) } };
    }
    const what = node.name === 'OffsetExpr' ? 'offset' : '@';
    return badQuery(
      this.#text,
      node.from,
      `${what} must be preceded by a selector, a range or a subquery`,
    );
  }

  #at(node: SyntaxNode): NonNullable<Shift['at']> {
    if (node.name === 'AtModifierPreprocessors') {
      return node.firstChild?.name === 'AtStart' ? 'start' : 'end';
    }
    const text = this.#textOf(node);
    const value = parsePromNumber(text.replace(/^[+-]/, ''));
    if (value === undefined || !Number.isFinite(value)) {
      badQuery(this.#text, node.from, `not a time: ${text}`, '@ takes seconds since the epoch');
    }
    return { time: Math.round(value * 1000) * (text.startsWith('-') ? -1 : 1) };
  }

  #offset(node: SyntaxNode): number {
    const children = childrenOf(node);
    const [first, second] = children;
    if (first?.name === 'UnaryOp' && second !== undefined) {
      return (this.#textOf(first) === '-' ? -1 : 1) * this.#offset(second);
    }
    return this.#literalDuration(first ?? node, children.length > 1 ? node : undefined);
  }

  #duration(node: SyntaxNode): number {
    const children = childrenOf(node);
    const value = this.#literalDuration(
      children[0] ?? node,
      children.length > 1 ? node : undefined,
    );
    if (value <= 0) badQuery(this.#text, node.from, 'duration must be greater than 0');
    return value;
  }

  #literalDuration(node: SyntaxNode, compound: SyntaxNode | undefined): number {
    if (compound !== undefined || node.name !== 'NumberDurationLiteralInDurationContext') {
      return notSupported(this.#text, node.from, 'an expression as a duration');
    }
    const text = this.#textOf(node);
    const sign = text.startsWith('-') ? -1 : 1;
    const value = parsePromDuration(text.replace(/^[+-]/, ''));
    if (value === undefined) {
      badQuery(this.#text, node.from, `not a duration: ${text}`, 'write it like 30s, 5m or 1h30m');
    }
    return sign * value;
  }

  #string(node: SyntaxNode): string {
    const value = unquote(this.#textOf(node));
    if (value === undefined) badQuery(this.#text, node.from, 'the string has an unknown escape');
    return value;
  }

  #textOf(node: SyntaxNode): string {
    return this.#text.slice(node.from, node.to);
  }

  #where(node: SyntaxNode): Where {
    return this.#places.where(node.from);
  }

  #unexpected(node: SyntaxNode | undefined): never {
    const what = node === undefined ? 'nothing' : `\`${this.#textOf(node)}\``;
    return badQuery(this.#text, node?.from ?? 0, `unexpected ${what}`);
  }
}

const isAggregate = (name: string): name is AggregateOperator =>
  (AGGREGATE_OPERATORS as readonly string[]).includes(name);

/** Precedence climbing over the pieces. */
class Assembler {
  readonly #pieces: readonly Piece[];
  #next = 0;

  constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces;
  }

  expression(least: number): PromExpr {
    let left = this.#prefix();
    for (;;) {
      const piece = this.#pieces[this.#next];
      if (piece?.kind !== 'operator') return left;
      const precedence = PRECEDENCE[piece.op];
      if (precedence < least) return left;
      this.#next++;
      const right = this.expression(piece.op === '^' ? precedence : precedence + 1);
      left = {
        kind: 'binary',
        op: piece.op,
        left,
        right,
        bool: piece.bool,
        ...(piece.matching === undefined ? {} : { matching: piece.matching }),
        where: piece.where,
      };
    }
  }

  #prefix(): PromExpr {
    const piece = this.#pieces[this.#next++];
    if (piece?.kind === 'operand') return piece.expr;
    if (piece?.kind !== 'sign') throw new TypeError('an operator without an operand');
    const expr = this.expression(SIGN_PRECEDENCE);
    if (!piece.negative) return expr;
    if (expr.kind === 'number') return { ...expr, value: -expr.value, where: piece.where };
    return { kind: 'negate', expr, where: piece.where };
  }
}
