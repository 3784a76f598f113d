import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isReflexarcError, type ReflexarcError } from '../../core/errors.ts';
import { formatMatcher } from '../../core/labels.ts';
import type { LabelFilter, LogExpr, LogSelectorExpr, Stage } from './ast.ts';
import { parseLogQL } from './parse.ts';
import { logSelections } from './select.ts';

/** The tree as LogQL again, every operator in parentheses. */
function show(expr: LogExpr): string {
  switch (expr.kind) {
    case 'logs':
      return showLogs(expr);
    case 'number':
      return String(expr.value);
    case 'vector':
      return `vector(${expr.value})`;
    case 'range': {
      const offset = expr.offset === 0 ? '' : ` offset ${expr.offset}ms`;
      return `${expr.op}(${showLogs(expr.logs)}[${expr.range}ms]${offset})`;
    }
    case 'aggregate': {
      const grouping = `${expr.without ? 'without' : 'by'} (${expr.grouping.join(', ')})`;
      const param = expr.param === undefined ? '' : `${expr.param}, `;
      return `${expr.op} ${grouping} (${param}${show(expr.expr)})`;
    }
    default: {
      const { matching: m } = expr;
      const labels = m === undefined ? '' : ` ${m.on ? 'on' : 'ignoring'} (${m.labels.join(', ')})`;
      const group =
        m === undefined || m.many === 'none' ? '' : ` group_${m.many} (${m.include.join(', ')})`;
      const bool = expr.bool ? ' bool' : '';
      return `(${show(expr.left)} ${expr.op}${bool}${labels}${group} ${show(expr.right)})`;
    }
  }
}

function showLogs({ matchers, stages }: LogSelectorExpr): string {
  return `{${matchers.map(formatMatcher).join(', ')}}${stages.map((s) => ` ${showStage(s)}`).join('')}`;
}

function showStage(stage: Stage): string {
  switch (stage.kind) {
    case 'line':
      return `${stage.op} ${stage.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    case 'logfmt':
      return `| logfmt${stage.strict ? ' --strict' : ''}${stage.keepEmpty ? ' --keep-empty' : ''}`;
    case 'json':
      return '| json';
    default:
      return `| ${showFilter(stage.filter)}`;
  }
}

function showFilter(filter: LabelFilter): string {
  if (filter.kind === 'match') return formatMatcher(filter.matcher);
  if (filter.kind !== 'compare') {
    return `(${showFilter(filter.left)} ${filter.kind} ${showFilter(filter.right)})`;
  }
  const unit = { number: '', duration: 'ns', bytes: 'B' }[filter.unit];
  return `${filter.name} ${filter.op} ${filter.value}${unit}`;
}

function caught(text: string): ReflexarcError {
  try {
    parseLogQL(text);
  } catch (error) {
    if (isReflexarcError(error)) return error;
    throw error;
  }
  throw new Error(`${text} was taken`);
}

const A = 'vector(1)';
const B = 'vector(2)';
const C = 'vector(3)';

describe('precedence', () => {
  it.each([
    ['A / B > 0.05', '((A / B) > 0.05)'],
    ['A > B / C', '(A > (B / C))'],
    ['A + B * C', '(A + (B * C))'],
    ['A * B + C', '((A * B) + C)'],
    ['A - B - C', '((A - B) - C)'],
    ['A / B * C % 2', '(((A / B) * C) % 2)'],
    ['A ^ B ^ C', '(A ^ (B ^ C))'],
    ['A * B ^ C', '(A * (B ^ C))'],
    ['A or B and C', '(A or (B and C))'],
    ['A unless B or C', '((A unless B) or C)'],
    ['A and B unless C', '((A and B) unless C)'],
    ['A or B > C', '(A or (B > C))'],
    ['A == B + C', '(A == (B + C))'],
    ['A > bool 1 == B', '((A > bool 1) == B)'],
    ['(A + B) * C', '((A + B) * C)'],
    ['A and on (x, y) B', '(A and on (x, y) B)'],
    ['A / ignoring (x) group_left (y) B > C', '((A / ignoring (x) group_left (y) B) > C)'],
    ['A / on () group_right B', '(A / on () group_right () B)'],
    ['1 + -2 * 3', '(1 + (-2 * 3))'],
    ['A -1', '(A - 1)'],
  ])('%s', (text, expected) => {
    const fill = (form: string) => form.replaceAll('A', A).replaceAll('B', B).replaceAll('C', C);
    expect(show(parseLogQL(fill(text)))).toBe(fill(expected));
  });
});

describe('forms', () => {
  it.each([
    ['{a="b"}', '{a="b"}'],
    ['{ a = "b" , c!~`d\\d`, }', '{a="b", c!~"d\\\\d"}'],
    ['({a="b"} |= "x")', '{a="b"} |= "x"'],
    ['{a="b"} # comment\n |= "#"', '{a="b"} |= "#"'],
    ['{a="b"}|="x"!="y"|~`z+`!~"w"', '{a="b"} |= "x" != "y" |~ "z+" !~ "w"'],
    ['{a="b"} |= "x" or "y" or "z" != "w" or "v"', '{a="b"} |= "x" or "y" or "z" != "w" or "v"'],
    [
      '{a="b"} | json | logfmt --strict --keep-empty',
      '{a="b"} | json | logfmt --strict --keep-empty',
    ],
    ['{a="b"} | json > 5', '{a="b"} | json > 5'],
    ['{a="b"} | x = "y"', '{a="b"} | x="y"'],
    ['{a="b"} | x = 5', '{a="b"} | x == 5'],
    ['{a="b"} | x > 1.5s', '{a="b"} | x > 1500000000ns'],
    ['{a="b"} | x <= 1h30m', '{a="b"} | x <= 5400000000000ns'],
    ['{a="b"} | x >= 10KB', '{a="b"} | x >= 10000B'],
    ['{a="b"} | x < 1.5MiB', '{a="b"} | x < 1572864B'],
    ['{a="b"} | x != -5', '{a="b"} | x != -5'],
    ['{a="b"} | x="1" or y="2" and z="3"', '{a="b"} | (x="1" or (y="2" and z="3"))'],
    ['{a="b"} | x="1", y="2" z="3"', '{a="b"} | ((x="1" and y="2") and z="3")'],
    ['{a="b"} | (x="1" or y="2") z="3"', '{a="b"} | ((x="1" or y="2") and z="3")'],
    ['rate({a="b"} |= "x" [5m])', 'rate({a="b"} |= "x"[300000ms])'],
    ['rate({a="b"}[5m] |= "x" | json)', 'rate({a="b"} |= "x" | json[300000ms])'],
    ['rate(({a="b"} |= "x")[5m])', 'rate({a="b"} |= "x"[300000ms])'],
    ['rate(({a="b"}[5m]))', 'rate({a="b"}[300000ms])'],
    ['rate({a="b"}[1h30m] offset -5m)', 'rate({a="b"}[5400000ms] offset -300000ms)'],
    ['sum(rate({a="b"}[1m])) by (x)', 'sum by (x) (rate({a="b"}[60000ms]))'],
    ['sum without (x,) (rate({a="b"}[1m]))', 'sum without (x) (rate({a="b"}[60000ms]))'],
    ['topk(3, rate({a="b"}[1m]))', 'topk by () (3, rate({a="b"}[60000ms]))'],
    [
      '{stream="events"} | logfmt | action="die" | exit_code!="0"',
      '{stream="events"} | logfmt | action="die" | exit_code!="0"',
    ],
  ])('%s', (text, expected) => {
    expect(show(parseLogQL(text))).toBe(expected);
    // What show writes is LogQL again, and means the same.
    expect(show(parseLogQL(expected))).toBe(expected);
  });
});

describe('refused', () => {
  it.each([
    ['', 1, 1, 'empty'],
    ['{', 1, 2, 'end of the query'],
    ['{a="b"', 1, 7, 'end of the query'],
    ['{a}', 1, 3, '`}`'],
    ['{a=b}', 1, 4, '`b`'],
    ["{a='b'}", 1, 4, "`'`"],
    ['{a="b', 1, 4, 'not closed'],
    ['{a="\\q"}', 1, 4, 'escape'],
    ['{}', 1, 1, 'at least one matcher'],
    ['{a=~".*"}', 1, 1, 'at least one matcher'],
    ['{a=~"("}', 1, 5, 'regular expression'],
    ['{a=~"\\\\Qx"}', 1, 5, 'regular expression'],
    ['{a="b"}\n|~ "("', 2, 4, 'regular expression'],
    ['{a="b"} |= x', 1, 12, '`x`'],
    ['{a="b"} |', 1, 10, 'end of the query'],
    ['{a="b"} | x', 1, 12, 'end of the query'],
    ['{a="b"} | x >', 1, 14, 'end of the query'],
    ['{a="b"} | x > "5"', 1, 13, 'compares numbers'],
    ['{a="b"} | x =~ 5', 1, 16, '`5`'],
    ['{a="b"} | x > 5parsec', 1, 15, 'neither a duration nor a size'],
    ['{a="b"} | logfmt --loud', 1, 18, '`--loud`'],
    ['{a="b"} x', 1, 9, '`x`'],
    ['{a="b"} + 1', 1, 9, '`+`'],
    ['rate({a="b"})', 1, 13, '`)`'],
    ['rate({a="b"}[5])', 1, 14, '`5`'],
    ['rate({a="b"}[5x])', 1, 14, '`5x`'],
    ['rate({a="b"}[5m]', 1, 17, 'end of the query'],
    ['rate(5)', 1, 6, '`5`'],
    ['rate({a="b"}[5m]) by (x)', 1, 19, 'grouping is not allowed'],
    ['sum({a="b"})', 1, 5, 'cannot stand in a metric query'],
    ['sum(1)', 1, 5, 'not a number'],
    ['topk(rate({a="b"}[1m]))', 1, 6, '`rate`'],
    ['topk(0, rate({a="b"}[1m]))', 1, 6, 'above 0'],
    ['vector(1) and 1', 1, 11, 'both sides'],
    ['vector(1) + on (x) 1', 1, 11, 'only allowed between vectors'],
    ['vector(1) + bool 1', 1, 13, 'bool can only'],
    ['vector(1) and on (x) group_left vector(1)', 1, 11, 'no grouping'],
    ['vector(1) * on (x) group_left (x) vector(1)', 1, 13, 'must not occur'],
    ['vector(1) * group_left vector(1)', 1, 13, 'needs on'],
    ['vector(1) vector(1)', 1, 11, '`vector`'],
    ['cout_over_time({a="b"}[1m])', 1, 1, 'unknown function'],
    ['1 +', 1, 4, 'end of the query'],
    ['1 ? 2', 1, 3, 'unexpected character'],
  ])('%s', (text, line, column, message) => {
    const error = caught(text);
    expect({ code: error.code, where: error.where }).toEqual({
      code: 'bad_query',
      where: { line, column },
    });
    expect(error.message).toContain(message);
  });

  it.each([
    ['{a="b"} | pattern "<x>"', 11, '`pattern`'],
    ['{a="b"} | regexp "x"', 11, '`regexp`'],
    ['{a="b"} | line_format "x"', 11, '`line_format`'],
    ['{a="b"} | label_format x=y', 11, '`label_format`'],
    ['{a="b"} | unpack', 11, '`unpack`'],
    ['{a="b"} | decolorize', 11, '`decolorize`'],
    ['{a="b"} | drop x', 11, '`drop`'],
    ['{a="b"} | keep x', 11, '`keep`'],
    ['{a="b"} | json x="y"', 16, 'json with expressions'],
    ['{a="b"} | logfmt x="y"', 18, 'logfmt with expressions'],
    ['{a="b"} |> "<_>"', 9, 'pattern line filter'],
    ['{a="b"} |= ip("10.0.0.0/8")', 12, '`ip`'],
    ['{a="b"} | x = ip("10.0.0.0/8")', 15, '`ip`'],
    ['sum_over_time({a="b"} | unwrap x [5m])', 1, '`sum_over_time`'],
    ['rate({a="b"} | unwrap x [5m])', 16, '`unwrap`'],
    ['1 + label_replace(vector(1), "a", "b", "c", "d")', 5, '`label_replace`'],
  ])('%s is not supported', (text, column, message) => {
    const error = caught(text);
    expect({ code: error.code, where: error.where }).toEqual({
      code: 'not_supported',
      where: { line: 1, column },
    });
    expect(error.message).toContain(message);
  });

  it('nesting and length have an end', () => {
    expect(caught(`${'('.repeat(5000)}1${')'.repeat(5000)}`).message).toContain('too deeply');
    expect(caught('1 ^ '.repeat(5000)).message).toContain('too deeply');
    expect(caught(`{a="b"} | ${'('.repeat(5000)}`).message).toContain('too deeply');
    expect(caught(`${'('.repeat(5000)}{a="b"}`).message).toContain('too deeply');
    expect(caught(`{a="${'b'.repeat(200_000)}"}`).message).toContain('longer than');
    // A long chain on the left is no nesting.
    expect(parseLogQL(`1${' + 1'.repeat(300)}`).kind).toBe('binary');
  });
});

const PARTS = [
  '{a="b"}',
  '{',
  '}',
  'a',
  '=',
  '"b"',
  '=~',
  '"("',
  '|=',
  '!=',
  '|~',
  '|',
  'json',
  'logfmt',
  'or',
  'and',
  'unless',
  '(',
  ')',
  '[5m]',
  '[',
  ']',
  ',',
  'rate',
  'sum',
  'by',
  'topk',
  '5m',
  '1',
  '-',
  '+',
  '^',
  '>',
  '==',
  'bool',
  'on',
  'group_left',
  'offset',
  'vector',
  '10KB',
  '#',
  '\n',
  '`',
  '"',
  'ü',
  '\u0000',
  '--strict',
  '.',
  '\\',
  'unwrap',
  'x',
];

describe('any text', () => {
  const check = (text: string) => {
    try {
      logSelections(parseLogQL(text));
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
        check(`{a="b"} ${parts.join(' ')}`);
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
    ['{a="b"} |= "x"', [0]],
    ['rate({a="b"}[5m])', [300_000]],
    ['rate({a="b"}[5m] offset 1m) / sum(rate({c="d"}[1m])) > 2', [360_000, 60_000]],
    ['rate({a="b"}[5m] offset -10m)', [0]],
    ['vector(1)', []],
  ])('%s', (text, expected) =>
    expect(logSelections(parseLogQL(text)).map(({ lookback }) => lookback)).toEqual(expected),
  );
});
