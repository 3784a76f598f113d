import type { LineFilter } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Matcher, MatchOp } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import type { Comparison, LabelFilter, Stage } from './ast.ts';
import type { Cursor } from './cursor.ts';
import type { Token } from './lex.ts';
import { parseByteSize, parseGoDuration } from './units.ts';

const MATCH_OPS: readonly string[] = ['=', '!=', '=~', '!~'] satisfies MatchOp[];
const LINE_OPS: readonly string[] = ['|=', '!=', '|~', '!~'] satisfies LineFilter['op'][];
const COMPARISONS: readonly string[] = ['==', '!=', '>', '>=', '<', '<='] satisfies Comparison[];

/** Stages that Loki has and we do not evaluate yet. */
const UNBUILT_STAGES: readonly string[] = [
  'decolorize',
  'distinct',
  'drop',
  'keep',
  'label_format',
  'line_format',
  'pattern',
  'regexp',
  'unpack',
  'unwrap',
];

/** `{a="b", c=~"d"}` */
export function parseSelector(cursor: Cursor): Matcher[] {
  const open = cursor.expect('{');
  const matchers: Matcher[] = [];
  while (!cursor.is('}')) {
    const name = cursor.identifier('a label name, or `}`');
    const op = cursor.peek();
    if (!MATCH_OPS.includes(op.text)) cursor.unexpected('=, !=, =~ or !~');
    cursor.take();
    const token = cursor.peek();
    const value = cursor.string('a quoted string');
    if (op.text.endsWith('~')) checkRegex(cursor, value, token, true);
    matchers.push({ name, op: op.text as MatchOp, value });
    if (!cursor.accept(',') && !cursor.is('}')) cursor.unexpected('a comma, or `}`');
  }
  cursor.expect('}');
  if (!matchers.some(selects)) {
    cursor.refuse(
      'a stream selector must contain at least one matcher that does not match the empty string',
      open,
      'write a matcher such as {service="api"}',
    );
  }
  return matchers;
}

/** Whether a stream without the label is left out. */
function selects({ op, value }: Matcher): boolean {
  if (op === '=') return value !== '';
  if (op === '!=') return value === '';
  const matchesEmpty = compileRegex(value, { anchored: true }).test('');
  return op === '=~' ? !matchesEmpty : matchesEmpty;
}

function checkRegex(cursor: Cursor, regex: string, token: Token, anchored: boolean): void {
  try {
    compileRegex(regex, { anchored });
  } catch (error) {
    if (!(error instanceof ReflexarcError)) throw error;
    throw new ReflexarcError('bad_query', error.message, {
      cause: error,
      where: cursor.where(token),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

export const startsStage = (cursor: Cursor): boolean =>
  cursor.is('|') ||
  cursor.is('|>') ||
  cursor.is('!>') ||
  (cursor.peek().kind === 'symbol' && LINE_OPS.includes(cursor.peek().text));

export function parseStages(cursor: Cursor): Stage[] {
  const stages: Stage[] = [];
  while (startsStage(cursor)) stages.push(parseStage(cursor));
  return stages;
}

function parseStage(cursor: Cursor): Stage {
  const first = cursor.peek();
  if (cursor.is('|>') || cursor.is('!>')) cursor.unbuilt('the pattern line filter');
  if (LINE_OPS.includes(first.text)) return lineFilter(cursor);
  cursor.expect('|');
  const name = cursor.peek();
  const where = cursor.where(name);
  const filters =
    MATCH_OPS.includes(cursor.peek(1).text) || COMPARISONS.includes(cursor.peek(1).text);
  if (name.kind === 'identifier' && !filters) {
    if (name.text === 'logfmt') {
      cursor.take();
      return logfmt(cursor, where);
    }
    if (name.text === 'json') {
      cursor.take();
      if (cursor.peek().kind === 'identifier' && cursor.is('=', 1)) {
        cursor.unbuilt('json with expressions');
      }
      return { kind: 'json', where };
    }
    if (UNBUILT_STAGES.includes(name.text)) cursor.unbuilt(`the stage \`${name.text}\``);
  }
  if (name.kind !== 'identifier' && !cursor.is('(')) {
    cursor.unexpected('a parser such as json or logfmt, or a label filter such as level="error"');
  }
  return { kind: 'label', filter: labelFilter(cursor), where };
}

function logfmt(cursor: Cursor, where: Stage['where']): Stage {
  const flags = new Set<string>();
  while (cursor.peek().kind === 'flag') {
    const flag = cursor.take();
    if (flag.text !== '--strict' && flag.text !== '--keep-empty') {
      cursor.unexpected('--strict or --keep-empty', flag);
    }
    flags.add(flag.text);
  }
  if (cursor.peek().kind === 'identifier' && cursor.is('=', 1)) {
    cursor.unbuilt('logfmt with expressions');
  }
  return {
    kind: 'logfmt',
    strict: flags.has('--strict'),
    keepEmpty: flags.has('--keep-empty'),
    where,
  };
}

function lineFilter(cursor: Cursor): Stage {
  const op = cursor.take();
  const values: string[] = [];
  do {
    if (cursor.is('ip')) cursor.unbuilt('the line filter `ip`');
    const token = cursor.peek();
    const value = cursor.string('a quoted string');
    if (op.text.endsWith('~')) checkRegex(cursor, value, token, false);
    values.push(value);
  } while (cursor.accept('or'));
  return { kind: 'line', op: op.text as LineFilter['op'], values, where: cursor.where(op) };
}

/** `or` binds least; `and`, a comma, or nothing in between are the same. */
function labelFilter(cursor: Cursor): LabelFilter {
  let left = conjunction(cursor);
  while (cursor.accept('or')) left = { kind: 'or', left, right: conjunction(cursor) };
  return left;
}

function conjunction(cursor: Cursor): LabelFilter {
  let left = labelAtom(cursor);
  for (;;) {
    const joined = cursor.accept('and') || cursor.accept(',');
    const more = cursor.is('(') || (cursor.peek().kind === 'identifier' && !cursor.is('or'));
    if (!joined && !more) return left;
    left = { kind: 'and', left, right: labelAtom(cursor) };
  }
}

function labelAtom(cursor: Cursor): LabelFilter {
  if (cursor.accept('(')) {
    const inner = cursor.nested(() => labelFilter(cursor));
    cursor.expect(')');
    return inner;
  }
  const name = cursor.identifier('a label name');
  const op = cursor.peek();
  if (!MATCH_OPS.includes(op.text) && !COMPARISONS.includes(op.text)) {
    cursor.unexpected('one of = != =~ !~ == > >= < <=');
  }
  cursor.take();
  const token = cursor.peek();
  if (cursor.is('ip')) cursor.unbuilt('the label filter `ip`');
  if (token.kind === 'string') {
    if (!MATCH_OPS.includes(op.text)) {
      cursor.refuse(`\`${op.text}\` compares numbers, durations and sizes, not strings`, op);
    }
    cursor.take();
    if (op.text.endsWith('~')) checkRegex(cursor, token.value, token, true);
    return { kind: 'match', matcher: { name, op: op.text as MatchOp, value: token.value } };
  }
  const comparison = op.text === '=' ? '==' : op.text;
  if (!COMPARISONS.includes(comparison)) cursor.unexpected('a quoted string', token);
  return { kind: 'compare', name, op: comparison as Comparison, ...quantity(cursor) };
}

function quantity(cursor: Cursor): { value: number; unit: 'number' | 'duration' | 'bytes' } {
  const sign = cursor.accept('-') ? -1 : cursor.accept('+') ? 1 : 1;
  const token = cursor.peek();
  if (token.kind === 'number') {
    cursor.take();
    return { value: sign * Number(token.text), unit: 'number' };
  }
  if (token.kind !== 'unit')
    return cursor.unexpected('a quoted string, a number, a duration or a size');
  cursor.take();
  const duration = parseGoDuration(token.text);
  if (duration !== undefined) return { value: sign * duration, unit: 'duration' };
  const bytes = parseByteSize(token.text);
  if (bytes !== undefined) return { value: sign * bytes, unit: 'bytes' };
  return cursor.refuse(
    `neither a duration nor a size: ${token.text}`,
    token,
    'write it like 500ms, 1.5s, 10KB or 1MiB',
  );
}
