import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isReflexarcError, type ReflexarcError } from '../../core/errors.ts';
import type { PromExpr } from './ast.ts';
import { FUNCTIONS, UNBUILT_FUNCTIONS } from './functions.ts';
import { parsePromQL } from './parse.ts';
import { sampleSelections } from './select.ts';

/** The tree with every operator in parentheses. */
function show(expr: PromExpr): string {
  switch (expr.kind) {
    case 'number':
      return String(expr.value);
    case 'string':
      return JSON.stringify(expr.value);
    case 'selector':
      return `${expr.matchers.map(({ value }) => value).join(',')}${shift(expr)}`;
    case 'matrix':
      return `${expr.selector.matchers.map(({ value }) => value).join(',')}[${expr.range}]${shift(expr.selector)}`;
    case 'subquery':
      return `${show(expr.expr)}[${expr.range}:${expr.step ?? ''}]${shift(expr)}`;
    case 'call':
      return `${expr.name}(${expr.args.map(show).join(', ')})`;
    case 'aggregate':
      return `${expr.op} ${expr.without ? 'without' : 'by'} (${expr.grouping.join(',')}) (${show(expr.expr)})`;
    case 'binary':
      return `(${show(expr.left)} ${expr.op}${expr.bool ? ' bool' : ''} ${show(expr.right)})`;
    default:
      return `-${show(expr.expr)}`;
  }
}

function shift({ offset, at }: { offset: number; at?: unknown }): string {
  return `${at === undefined ? '' : ` @ ${JSON.stringify(at)}`}${offset === 0 ? '' : ` offset ${offset}`}`;
}

function caught(text: string): ReflexarcError {
  try {
    parsePromQL(text);
  } catch (error) {
    if (isReflexarcError(error)) return error;
    throw error;
  }
  throw new Error(`${text} was taken`);
}

describe('precedence', () => {
  it.each([
    ['a + b * c', '(a + (b * c))'],
    ['a / b > 0.05', '((a / b) > 0.05)'],
    ['a - b - c', '((a - b) - c)'],
    ['2 ^ 3 ^ 2', '(2 ^ (3 ^ 2))'],
    ['-1 ^ 2', '-(1 ^ 2)'],
    ['2 ^ -1', '(2 ^ -1)'],
    ['-a ^ b', '-(a ^ b)'],
    ['-a * b', '(-a * b)'],
    ['1 - -1', '(1 - -1)'],
    ['a -1', '(a - 1)'],
    ['a or b and c', '(a or (b and c))'],
    ['a unless b and c', '((a unless b) and c)'],
    ['a == b + c or d', '((a == (b + c)) or d)'],
    ['a % b atan2 c', '((a % b) atan2 c)'],
    ['a + b offset 5m * c', '(a + (b offset 300000 * c))'],
    ['a + b @ 5', '(a + b @ {"time":5000})'],
    ['a + -b @ 5 ^ 2', '(a + -(b @ {"time":5000} ^ 2))'],
    ['-a[5m:1m]', undefined],
    ['rate(a[5m] offset -1m)', 'rate(a[300000] offset -60000)'],
    ['rate(a[5m] @ end() offset 1h30m)', 'rate(a[300000] @ "end" offset 5400000)'],
    ['max_over_time(rate(a[5m])[1h:])', 'max_over_time(rate(a[300000])[3600000:])'],
    ['sum by (x, y) (a)', 'sum by (x,y) (a)'],
    ['SUM(a) WITHOUT (x,)', 'sum without (x) (a)'],
    ['a > bool 1', '(a > bool 1)'],
    ['1h + 90s', '(3600 + 90)'],
    ['a # comment\n + b', '(a + b)'],
    ['# comment\na', 'a'],
    ['{"http.requests", "a.b"=~"x|y"}', 'http.requests,x|y'],
    ["a{b='c\\'d', e=`f\\g`, h=\"\\u00fc\\x41\\101\\n\"}", "a,c'd,f\\g,üAA\n"],
    ['sum{offset="1"}', 'sum,1'],
  ])('%s', (text, expected) => {
    if (expected === undefined) expect(caught(text).code).toBe('bad_query');
    else expect(show(parsePromQL(text))).toBe(expected);
  });
});

describe('refused', () => {
  it.each([
    ['', 1, 1, 'end of the query'],
    ['  ', 1, 3, 'end of the query'],
    ['a +', 1, 4, 'end of the query'],
    ['a\n  + )', 2, 5, '`)`'],
    ['a{', 1, 3, 'end of the query'],
    ['a{b=c}', 1, 5, '`c`'],
    ['a[5m', 1, 5, 'end of the query'],
    ['a[x]', 1, 3, '`x`'],
    ['sum(', 1, 5, 'end of the query'],
    ['foo bar', 1, 5, '`bar`'],
    ['rrate(a[5m])', 1, 1, 'unknown function `rrate`'],
    ['rate(a)', 1, 6, 'expects a range vector, got an instant vector'],
    ['abs(a[5m])', 1, 5, 'expects an instant vector, got a range vector'],
    ['rate(a[5m], 2)', 1, 1, 'expects 1 argument'],
    ['round(a, 1, 2)', 1, 1, 'expects at most 2 argument'],
    ['label_join(a)', 1, 1, 'expects at least 3 argument'],
    ['a[5m] + 1', 1, 1, 'not a range vector'],
    ['"a" + 1', 1, 1, 'not a string'],
    ['1 > 2', 1, 3, 'must use bool'],
    ['a + bool 1', 1, 3, 'bool can only'],
    ['a and 1', 1, 3, 'instant vector on both sides'],
    ['a and on (x) group_left b', 1, 3, 'no grouping'],
    ['a + on (x) 1', 1, 3, 'only allowed between instant vectors'],
    ['a * on (x) group_left (x) b', 1, 5, 'must not occur'],
    ['{}', 1, 1, 'at least one matcher'],
    ['{a=~".*"}', 1, 1, 'at least one matcher'],
    ['{a=~"("}', 1, 1, 'regular expression'],
    ['label_replace(a, "x", "", "y", "(")', 1, 32, 'regular expression'],
    ['a{__name__="b"}', 1, 3, 'set twice'],
    ['a[0s]', 1, 3, 'greater than 0'],
    ['(a + b)[5m]', 1, 1, 'only allowed for vector selectors'],
    ['sum(a) offset 5m', 1, 1, 'must be preceded'],
    ['a offset 1m offset 2m', 1, 1, 'multiple times'],
    ['a @ NaN', 1, 5, 'not a time'],
    ['topk(a)', 1, 1, 'expected 2, got 1'],
    ['topk(a, a)', 1, 6, 'expects a scalar'],
    ['sum(1)', 1, 5, 'expects an instant vector'],
    ['-"a"', 1, 1, 'unary minus'],
    ['a{b="\\q"}', 1, 5, 'escape'],
  ])('%s', (text, line, column, message) => {
    const error = caught(text);
    expect({ code: error.code, where: error.where }).toEqual({
      code: 'bad_query',
      where: { line, column },
    });
    expect(error.message).toContain(message);
  });

  it.each([
    ['info(a)', 1, '`info`'],
    ['1 + histogram_count(a)', 5, '`histogram_count`'],
    ['limitk(2, a)', 1, '`limitk`'],
    ['a smoothed', 1, '`smoothed`'],
    ['rate(a[5m + 1m])', 8, 'duration'],
    ['a + fill(1) b', 5, '`fill`'],
  ])('%s is not supported', (text, column, message) => {
    const error = caught(text);
    expect(error.code).toBe('not_supported');
    expect(error.where?.column).toBe(column);
    expect(error.message).toContain(message);
  });

  it.each(UNBUILT_FUNCTIONS)('%s is named', (name) => {
    expect(Object.keys(FUNCTIONS)).not.toContain(name);
    expect(caught(`${name}(a)`).message).toContain(name);
  });

  it('suggests the nearest function', () =>
    expect(caught('inrcease(a[5m])').hint).toContain('`increase`'));

  it('nesting and length have an end', () => {
    const deep = [
      `${'('.repeat(450)}a${')'.repeat(450)}`,
      `${'('.repeat(5000)}a`,
      `a${' + a'.repeat(3000)}`,
      `${'-'.repeat(5000)}a`,
      ','.repeat(30_000),
      'sum('.repeat(10_000),
    ];
    for (const text of deep) expect(caught(text).where?.column).toBeGreaterThan(0);
    expect(caught(`${'('.repeat(200)}a${' ^ (a'.repeat(300)}`).where?.column).toBeGreaterThan(0);
    expect(caught(`a${' '.repeat(200_000)}`).message).toContain('longer than');
    expect(parsePromQL(`a${' + a'.repeat(300)}`).kind).toBe('binary');
  });
});

const PARTS = [
  'a',
  'b{',
  '}',
  'x="y"',
  '=~',
  '"(',
  '"',
  '(',
  ')',
  '[5m]',
  '[5m:1m]',
  '[',
  ']',
  ',',
  ' ',

  'sum',
  'by',
  'on',
  'group_left',
  'rate',
  'offset',
  '@',
  '5m',
  '1',
  '-',
  '+',
  '^',
  'and',
  'or',
  'bool',
  '>',
  '==',
  '#',
  '\n',
  '`',
  'ü',
  '\u0000',
  '.',
  ':',
  'start()',
  'without',
  '\\',
  '{}',
];

describe('any text', () => {
  const check = (text: string) => {
    try {
      parsePromQL(text);
    } catch (error) {
      expect(isReflexarcError(error)).toBe(true);
      expect((error as ReflexarcError).where?.line).toBeGreaterThan(0);
      expect((error as ReflexarcError).where?.column).toBeGreaterThan(0);
    }
  };

  it('of tokens parses or is refused at a place', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PARTS), { maxLength: 25 }), (parts) => {
        check(parts.join(''));
        check(parts.join(' '));
      }),
      { numRuns: 1000 },
    );
  });

  it('of characters parses or is refused at a place', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 40 }), check), { numRuns: 50 });
  });
});

describe('selections', () => {
  it.each([
    ['a', [300_000]],
    ['rate(a[10m])', [600_000]],
    ['a offset 1h', [3_900_000]],
    ['a offset -1h', [0]],
    ['rate(a[5m] offset 1m) / b', [360_000, 300_000]],
    ['max_over_time(rate(a[5m])[1h:1m] offset 10m)', [4_500_000]],
    ['a @ 5', [Infinity]],
    ['max_over_time(a[5m:] @ 5)', [Infinity]],
    ['quantile(scalar(a), b)', [300_000, 300_000]],
    ['1', []],
  ])('%s', (text, expected) =>
    expect(sampleSelections(parsePromQL(text)).map(({ lookback }) => lookback)).toEqual(expected),
  );
});
