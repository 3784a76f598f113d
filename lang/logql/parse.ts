import { nearest } from '../../core/config/nearest.ts';
import { parseDuration } from '../../core/durations.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { AGGREGATE_OPERATORS, type AggregateOperator } from '../series/aggregate.ts';
import {
  type BinaryOperator,
  isComparison,
  isSetOperator,
  type Matching,
} from '../series/binary.ts';
import {
  type LogExpr,
  type LogMetricExpr,
  type LogRangeNode,
  type LogSelectorExpr,
  RANGE_OPERATIONS,
  type RangeOperation,
} from './ast.ts';
import { Cursor } from './cursor.ts';
import type { Token } from './lex.ts';
import { parseSelector, parseStages, startsStage } from './parse-pipeline.ts';

/** From loosest to tightest: or < and, unless < comparison < + - < * / % < ^, which is right-associative. */
const PRECEDENCE: Readonly<Record<string, number>> = {
  or: 1,
  and: 2,
  unless: 2,
  '==': 3,
  '!=': 3,
  '>': 3,
  '>=': 3,
  '<': 3,
  '<=': 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
  '^': 6,
};

const AGGREGATIONS: readonly AggregateOperator[] = AGGREGATE_OPERATORS.filter(
  (op) => op !== 'group' && op !== 'quantile' && op !== 'count_values',
);

/** Loki has them; they are not built yet. */
const UNBUILT: readonly string[] = [
  'approx_topk',
  'avg_over_time',
  'first_over_time',
  'label_replace',
  'last_over_time',
  'max_over_time',
  'min_over_time',
  'quantile_over_time',
  'rate_counter',
  'sort',
  'sort_desc',
  'stddev_over_time',
  'stdvar_over_time',
  'sum_over_time',
];

/**
 * A log query (`kind: 'logs'`) or a metric query.
 *
 * @throws bad_query with line and column and what was expected; not_supported, by its name, for
 * what Loki has and we do not evaluate yet
 */
export function parseLogQL(text: string): LogExpr {
  const parser = new Parser(new Cursor(text));
  return parser.query();
}

class Parser {
  readonly #cursor: Cursor;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  query(): LogExpr {
    const cursor = this.#cursor;
    if (cursor.peek().kind === 'end') cursor.refuse('the query is empty');
    let open = 0;
    while (cursor.is('(', open)) open++;
    const isLogs = cursor.is('{', open);
    const expr = isLogs ? this.#logs() : this.#metric(0);
    if (cursor.peek().kind !== 'end') {
      cursor.unexpected(
        isLogs
          ? 'a pipeline stage, or the end of the query'
          : 'an operator, or the end of the query',
      );
    }
    return expr;
  }

  #logs(): LogSelectorExpr {
    const cursor = this.#cursor;
    if (cursor.accept('(')) {
      const inner = cursor.nested(() => this.#logs());
      cursor.expect(')');
      return { ...inner, stages: [...inner.stages, ...parseStages(cursor)] };
    }
    const where = cursor.where();
    const matchers = parseSelector(cursor);
    return { kind: 'logs', matchers, stages: parseStages(cursor), where };
  }

  #metric(least: number): LogMetricExpr {
    const cursor = this.#cursor;
    let left = cursor.nested(() => this.#operand());
    for (;;) {
      const token = cursor.peek();
      const precedence = token.kind === 'string' ? undefined : PRECEDENCE[token.text];
      if (precedence === undefined || precedence < least) return left;
      cursor.take();
      const op = token.text as BinaryOperator;
      const bool = cursor.is('bool') ? this.#bool(op) : false;
      const matching = this.#matching(op);
      const right = cursor.nested(() => this.#metric(op === '^' ? precedence : precedence + 1));
      left = this.#binary(token, { op, left, right, bool, matching });
    }
  }

  #bool(op: BinaryOperator): true {
    const token = this.#cursor.take();
    if (!isComparison(op)) {
      this.#cursor.refuse(`bool can only be used with comparisons, not with \`${op}\``, token);
    }
    return true;
  }

  #binary(
    token: Token,
    parts: {
      op: BinaryOperator;
      left: LogMetricExpr;
      right: LogMetricExpr;
      bool: boolean;
      matching: Matching | undefined;
    },
  ): LogMetricExpr {
    const cursor = this.#cursor;
    const { op, left, right, bool, matching } = parts;
    const scalar = isScalar(left) || isScalar(right);
    if (scalar && isSetOperator(op)) {
      cursor.refuse(`\`${op}\` needs a vector on both sides, not a number`, token);
    }
    if (scalar && matching !== undefined) {
      cursor.refuse('on, ignoring and grouping are only allowed between vectors', token);
    }
    if (matching !== undefined && matching.many !== 'none' && isSetOperator(op)) {
      cursor.refuse(`no grouping (group_left, group_right) is allowed for \`${op}\``, token);
    }
    const rest = matching === undefined ? {} : { matching };
    return { kind: 'binary', op, left, right, bool, ...rest, where: cursor.where(token) };
  }

  #matching(op: BinaryOperator): Matching | undefined {
    const cursor = this.#cursor;
    if (!cursor.is('on') && !cursor.is('ignoring')) {
      if (cursor.is('group_left') || cursor.is('group_right')) {
        cursor.refuse(`\`${cursor.peek().text}\` needs on(…) or ignoring(…) before it`);
      }
      return undefined;
    }
    const start = cursor.take();
    const on = start.text === 'on';
    const labels = this.#names();
    let many: Matching['many'] = 'none';
    let include: string[] = [];
    if (cursor.is('group_left') || cursor.is('group_right')) {
      many = cursor.take().text === 'group_left' ? 'left' : 'right';
      if (cursor.is('(')) include = this.#names();
    }
    const both = on ? include.find((label) => labels.includes(label)) : undefined;
    if (both !== undefined) {
      cursor.refuse(
        `label ${both} must not occur in on and group clause of \`${op}\` at once`,
        start,
      );
    }
    return { on, labels, many, include };
  }

  #names(): string[] {
    const cursor = this.#cursor;
    cursor.expect('(');
    const names: string[] = [];
    while (!cursor.is(')')) {
      names.push(cursor.identifier('a label name, or `)`'));
      if (!cursor.accept(',') && !cursor.is(')')) cursor.unexpected('a comma, or `)`');
    }
    cursor.expect(')');
    return names;
  }

  #operand(): LogMetricExpr {
    const cursor = this.#cursor;
    const token = cursor.peek();
    if (token.kind === 'number' || cursor.is('-') || cursor.is('+')) {
      return { kind: 'number', value: this.#number(), where: cursor.where(token) };
    }
    if (cursor.accept('(')) {
      const inner = cursor.nested(() => this.#metric(0));
      cursor.expect(')');
      return inner;
    }
    if (cursor.is('{')) {
      cursor.refuse(
        'a log query cannot stand in a metric query',
        token,
        'put a function around it, as in count_over_time({…}[5m])',
      );
    }
    if (token.kind !== 'identifier') {
      return cursor.unexpected('an aggregation, a function such as rate, or a number');
    }
    if (isRangeOperation(token.text)) return this.#range(token.text);
    if ((AGGREGATIONS as readonly string[]).includes(token.text)) {
      return this.#aggregate(token.text as AggregateOperator);
    }
    if (token.text === 'vector') {
      cursor.take();
      cursor.expect('(');
      const value = this.#number();
      cursor.expect(')');
      return { kind: 'vector', value, where: cursor.where(token) };
    }
    if (UNBUILT.includes(token.text)) cursor.unbuilt(`the function \`${token.text}\``);
    const near = nearest(token.text, [...RANGE_OPERATIONS, ...AGGREGATIONS, ...UNBUILT, 'vector']);
    return cursor.refuse(
      `unknown function \`${token.text}\``,
      token,
      near === undefined ? undefined : `did you mean \`${near}\`?`,
    );
  }

  #number(): number {
    const cursor = this.#cursor;
    const sign = cursor.accept('-') ? -1 : 1;
    if (sign === 1) cursor.accept('+');
    if (cursor.peek().kind !== 'number') return cursor.unexpected('a number');
    return sign * Number(cursor.take().text);
  }

  #range(op: RangeOperation): LogRangeNode {
    const cursor = this.#cursor;
    const where = cursor.where();
    cursor.take();
    if (cursor.is('by') || cursor.is('without')) this.#noGrouping(op);
    cursor.expect('(');
    const inner = cursor.nested(() => this.#logRange());
    cursor.expect(')');
    if (cursor.is('by') || cursor.is('without')) this.#noGrouping(op);
    return { kind: 'range', op, ...inner, where };
  }

  #noGrouping(op: string): never {
    return this.#cursor.refuse(
      `grouping is not allowed for \`${op}\``,
      this.#cursor.peek(),
      `put an aggregation around it, as in sum by (…) (${op}(…))`,
    );
  }

  /** The stages may stand before or behind the range. */
  #logRange(): { logs: LogSelectorExpr; range: number; offset: number } {
    const cursor = this.#cursor;
    if (cursor.is('(')) {
      let open = 0;
      while (cursor.is('(', open)) open++;
      if (cursor.is('{', open)) return this.#parenthesized();
    }
    if (!cursor.is('{')) cursor.unexpected('a stream selector such as {service="api"}');
    const logs = this.#logs();
    return this.#withRange(logs);
  }

  #parenthesized(): { logs: LogSelectorExpr; range: number; offset: number } {
    const cursor = this.#cursor;
    const where = cursor.where();
    cursor.expect('(');
    const logs = cursor.is('(')
      ? cursor.nested(() => this.#logs())
      : {
          kind: 'logs' as const,
          matchers: parseSelector(cursor),
          stages: parseStages(cursor),
          where,
        };
    if (cursor.accept(')')) {
      return this.#withRange({ ...logs, stages: [...logs.stages, ...parseStages(cursor)] });
    }
    const inner = this.#withRange(logs);
    cursor.expect(')');
    return inner;
  }

  #withRange(logs: LogSelectorExpr): { logs: LogSelectorExpr; range: number; offset: number } {
    const cursor = this.#cursor;
    if (!cursor.is('[')) cursor.unexpected('a range such as [5m]');
    cursor.take();
    const range = this.#duration();
    if (range <= 0) cursor.refuse('the range must be greater than 0');
    cursor.expect(']');
    let offset = this.#offset();
    const stages = startsStage(cursor) ? parseStages(cursor) : [];
    offset ??= this.#offset();
    return { logs: { ...logs, stages: [...logs.stages, ...stages] }, range, offset: offset ?? 0 };
  }

  #offset(): number | undefined {
    const cursor = this.#cursor;
    if (!cursor.accept('offset')) return undefined;
    const sign = cursor.accept('-') ? -1 : 1;
    return sign * this.#duration();
  }

  /** @returns milliseconds */
  #duration(): number {
    const cursor = this.#cursor;
    const token = cursor.peek();
    if (token.kind !== 'unit') return cursor.unexpected('a duration such as 5m');
    try {
      const value = parseDuration(token.text);
      cursor.take();
      return value;
    } catch (error) {
      if (!(error instanceof ReflexarcError)) throw error;
      return cursor.unexpected('a duration such as 30s, 5m or 1h30m');
    }
  }

  #aggregate(op: AggregateOperator): LogMetricExpr {
    const cursor = this.#cursor;
    const token = cursor.take();
    const where = cursor.where(token);
    const before = this.#grouping();
    cursor.expect('(');
    let param: number | undefined;
    if (op === 'topk' || op === 'bottomk') {
      const at = cursor.peek();
      param = this.#number();
      if (!Number.isInteger(param) || param < 1) {
        cursor.refuse(`the parameter of \`${op}\` must be a whole number above 0`, at);
      }
      cursor.expect(',');
    }
    const start = cursor.peek();
    const expr = cursor.nested(() => this.#metric(0));
    if (isScalar(expr)) cursor.refuse(`\`${op}\` aggregates a vector, not a number`, start);
    cursor.expect(')');
    const after = before === undefined ? this.#grouping() : undefined;
    const grouping = before ?? after ?? { grouping: [], without: false };
    return {
      kind: 'aggregate',
      op,
      ...(param === undefined ? {} : { param }),
      expr,
      ...grouping,
      where,
    };
  }

  #grouping(): { grouping: string[]; without: boolean } | undefined {
    const cursor = this.#cursor;
    if (!cursor.is('by') && !cursor.is('without')) return undefined;
    const without = cursor.take().text === 'without';
    return { grouping: this.#names(), without };
  }
}

const isRangeOperation = (name: string): name is RangeOperation =>
  (RANGE_OPERATIONS as readonly string[]).includes(name);

function isScalar(expr: LogMetricExpr): boolean {
  return (
    expr.kind === 'number' ||
    (expr.kind === 'binary' && isScalar(expr.left) && isScalar(expr.right))
  );
}
