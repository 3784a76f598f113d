import { ReflexarcError, type Where } from '../../core/errors.ts';
import { compileRegex } from '../../core/regex.ts';
import { isComparison, isSetOperator } from '../series/binary.ts';
import type { BinaryNode, CallNode, PromExpr, SelectorNode, ValueType } from './ast.ts';
import { FUNCTIONS } from './functions.ts';

const NAMES: Readonly<Record<ValueType, string>> = {
  scalar: 'a scalar',
  string: 'a string',
  vector: 'an instant vector',
  matrix: 'a range vector',
};

/**
 * The expression's type.
 *
 * @throws bad_query where types do not fit; not_supported for functions not built yet
 */
export function checkPromQL(text: string, expr: PromExpr): ValueType {
  switch (expr.kind) {
    case 'number':
      return 'scalar';
    case 'string':
      return 'string';
    case 'selector':
      checkSelector(expr);
      return 'vector';
    case 'matrix':
      checkSelector(expr.selector);
      return 'matrix';
    case 'subquery':
      expect(text, expr.expr, 'vector', 'a subquery');
      return 'matrix';
    case 'negate': {
      const type = checkPromQL(text, expr.expr);
      if (type === 'scalar' || type === 'vector') return type;
      return refuse(
        expr.where,
        `unary minus takes a scalar or an instant vector, not ${NAMES[type]}`,
      );
    }
    case 'aggregate':
      if (expr.param !== undefined) {
        const wanted = expr.op === 'count_values' ? 'string' : 'scalar';
        expect(text, expr.param, wanted, `the parameter of ${expr.op}`);
      }
      expect(text, expr.expr, 'vector', `the aggregation ${expr.op}`);
      return 'vector';
    case 'call':
      return checkCall(text, expr);
    default:
      return checkBinary(text, expr);
  }
}

function refuse(where: Where, message: string, hint?: string): never {
  throw new ReflexarcError('bad_query', message, {
    where,
    ...(hint === undefined ? {} : { hint }),
  });
}

function expect(text: string, expr: PromExpr, wanted: ValueType, what: string): void {
  const type = checkPromQL(text, expr);
  if (type === wanted) return;
  const hint =
    wanted === 'matrix' && type === 'vector'
      ? 'add a range, as in metric[5m]'
      : wanted === 'vector' && type === 'matrix'
        ? 'leave out the range, or put a function such as rate() around it'
        : undefined;
  refuse(expr.where, `${what} expects ${NAMES[wanted]}, got ${NAMES[type]}`, hint);
}

function checkSelector({ matchers, where }: SelectorNode): void {
  let nonEmpty = false;
  for (const { op, value } of matchers) {
    if (op === '=') nonEmpty ||= value !== '';
    else if (op === '!=') nonEmpty ||= value === '';
    else {
      const matchesEmpty = compiled(value, where).test('');
      nonEmpty ||= op === '=~' ? !matchesEmpty : matchesEmpty;
    }
  }
  if (nonEmpty) return;
  refuse(
    where,
    'a selector must contain at least one matcher that does not match the empty string',
    'name a metric, or write a matcher such as job="x"',
  );
}

function compiled(regex: string, where: Where): ReturnType<typeof compileRegex> {
  try {
    return compileRegex(regex, { anchored: true });
  } catch (error) {
    if (!(error instanceof ReflexarcError)) throw error;
    throw new ReflexarcError('bad_query', error.message, {
      cause: error,
      where,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

function checkCall(text: string, { name, args, where }: CallNode): ValueType {
  const signature = FUNCTIONS[name];
  if (signature === undefined) {
    throw new ReflexarcError('not_supported', `the function \`${name}\` is not supported yet`, {
      where,
    });
  }
  const most = signature.variadic === true ? Infinity : signature.args.length;
  const least = signature.args.length - (signature.optional ?? 0);
  if (args.length < least || args.length > most) {
    const count = least === most ? `${least}` : `at least ${least}`;
    const wanted = args.length > most && least !== most ? `at most ${most}` : count;
    refuse(where, `\`${name}\` expects ${wanted} argument(s), got ${args.length}`);
  }
  for (const [index, arg] of args.entries()) {
    const wanted = signature.args[index] ?? signature.args.at(-1) ?? 'vector';
    expect(text, arg, wanted, `argument ${index + 1} of \`${name}\``);
  }
  const regex = name === 'label_replace' ? args[4] : undefined;
  if (regex?.kind === 'string') compiled(regex.value, regex.where);
  return signature.returns;
}

function checkBinary(text: string, expr: BinaryNode): ValueType {
  const { op, where } = expr;
  const left = checkPromQL(text, expr.left);
  const right = checkPromQL(text, expr.right);
  for (const [type, side] of [
    [left, expr.left],
    [right, expr.right],
  ] as const) {
    if (type === 'scalar' || type === 'vector') continue;
    refuse(side.where, `\`${op}\` takes scalars and instant vectors, not ${NAMES[type]}`);
  }
  const vectors = left === 'vector' && right === 'vector';
  if (expr.bool && !isComparison(op)) {
    refuse(where, `bool can only be used with comparisons, not with \`${op}\``);
  }
  if (isSetOperator(op)) {
    if (!vectors) refuse(where, `\`${op}\` needs an instant vector on both sides`);
    if (expr.matching !== undefined && expr.matching.many !== 'none') {
      refuse(where, `no grouping (group_left, group_right) is allowed for \`${op}\``);
    }
  }
  if (expr.matching !== undefined && !vectors) {
    refuse(where, 'on, ignoring and grouping are only allowed between instant vectors');
  }
  if (left === 'scalar' && right === 'scalar') {
    if (isComparison(op) && !expr.bool) {
      refuse(where, 'comparisons between scalars must use bool', `write \`${op} bool\``);
    }
    return 'scalar';
  }
  return 'vector';
}
