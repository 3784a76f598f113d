import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Labels } from '../../core/labels.ts';
import { readLogfmt } from './logfmt.ts';
import { parseLogQL } from './parse.ts';
import { compilePipeline, type Pipeline } from './pipeline.ts';

function pipeline(stages: string): Pipeline {
  const expr = parseLogQL(`{service="api"} ${stages}`);
  if (expr.kind !== 'logs') throw new Error(stages);
  return compilePipeline(expr);
}

const STREAM: Labels = { service: 'api', level: 'info' };

/** The labels that are added to the stream's. */
function added(stages: string, line: string): Labels | undefined {
  const found = pipeline(stages).process(line, STREAM);
  if (found === undefined) return undefined;
  const { service, level, ...rest } = found.labels;
  expect({ service, level }).toEqual(STREAM);
  return rest;
}

describe('line filters', () => {
  it.each([
    ['|= "err"', 'an error', true],
    ['|= "Err"', 'an error', false],
    ['|~ "(?i)ERR"', 'an error', true],
    ['|~ "^an e.*r$"', 'an error', true],
    ['!= "err"', 'an error', false],
    ['!~ "e[a-z]+r"', 'an error', false],
    ['|= "x" or "err"', 'an error', true],
    ['|= "x" or "y"', 'an error', false],
    ['!= "x" or "err"', 'an error', false],
    ['!= "x" or "y"', 'an error', true],
    ['|~ "x+" or "r$"', 'an error', true],
    ['!~ "x+" or "r$"', 'an error', false],
    ['|= "an" |= "err" != "warn"', 'an error', true],
    ['|= ""', '', true],
    ['|= "\\u0000"', 'a\u0000b', true],
  ])('%s on %j', (stages, line, expected) => {
    const compiled = pipeline(stages);
    expect(compiled.process(line, STREAM) !== undefined).toBe(expected);
    expect(compiled.pushable).toBe(true);
    // What is pushed down means the same.
    const pushed = compiled.filters.map(({ op, value }) => `${op} ${JSON.stringify(value)}`);
    expect(pipeline(pushed.join(' ')).process(line, STREAM) !== undefined).toBe(expected);
  });

  it('are all pushed down, from behind a parser too', () => {
    const compiled = pipeline('|= "a" | json |~ "b" | x="1" != "c" or "d" |= "e.f" or "g"');
    expect(compiled.pushable).toBe(false);
    expect(compiled.filters).toEqual([
      { op: '|=', value: 'a' },
      { op: '|~', value: 'b' },
      { op: '!=', value: 'c' },
      { op: '!=', value: 'd' },
      { op: '|~', value: '(?:e\\.f)|(?:g)' },
    ]);
  });

  it('take time in proportion to the line', () => {
    const compiled = pipeline('|~ "(a+)+$" !~ "(x*)*y"');
    expect(compiled.process(`${'a'.repeat(20_000)}b`, STREAM)).toBeUndefined();
  });

  it('change neither line nor labels', () => {
    const found = pipeline('|= "a"').process('a', STREAM);
    expect(found?.labels).toBe(STREAM);
  });
});

describe('streams', () => {
  it('are matched', () => {
    const expr = parseLogQL('{service=~"a|b", level!="debug", job=""}');
    if (expr.kind !== 'logs') throw new Error('logs');
    const compiled = compilePipeline(expr);
    expect(compiled.matches({ service: 'a' })).toBe(true);
    expect(compiled.matches({ service: 'ab' })).toBe(false);
    expect(compiled.matches({ service: 'a', level: 'debug' })).toBe(false);
    expect(compiled.matches({ service: 'a', job: 'x' })).toBe(false);
  });
});

describe('logfmt', () => {
  it.each([
    ['a=1 b="two words" c', { a: '1', b: 'two words' }],
    ['action=die exit_code=137', { action: 'die', exit_code: '137' }],
    ['a="q\\"\\n\\u00fc"', { a: 'q"\nü' }],
    ['a= b=""', {}],
    ['a.b-c=1 0x=2', { a_b_c: '1', _0x: '2' }],
    ['service=db level=warn', { service_extracted: 'db', level_extracted: 'warn' }],
    ['a=1 a=2', { a: '2' }],
    ['url=x?y=1 ok=1', { ok: '1' }],
    ['a"b=1 ok=1', { ok: '1' }],
    ['=1 ok=1', { ok: '1' }],
    ['a="open ok=1', {}],
    ['plain text', {}],
    ['', {}],
    ['__proto__=1 constructor=2', { constructor: '2' }],
    ['ü=1', { _: '1' }],
  ])('%s', (line, expected) => expect(added('| logfmt', line)).toEqual(expected));

  it('keeps empty values when told', () => {
    expect(pipeline('| logfmt --keep-empty | a=""').process('a= b=1', STREAM)).toBeDefined();
  });

  it('strict: fails at the first error', () => {
    expect(added('| logfmt --strict', 'a=1 url=x?y=1 b=2')).toEqual({
      a: '1',
      __error__: 'LogfmtParserErr',
      __error_details__: "logfmt syntax error at pos 12 : unexpected '='",
    });
    expect(added('| logfmt --strict', 'a=1 b="x"')).toEqual({ a: '1', b: 'x' });
  });

  it('ends on any line', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '=', '"', ' ', '\\', 'ü', '\t', 'b') });
    fc.assert(
      fc.property(text, fc.boolean(), (line, strict) => {
        readLogfmt(line, strict, (key) => expect(key).not.toBe(''));
      }),
    );
  });
});

describe('json', () => {
  it.each([
    ['{"a":"x","b":1.50,"c":true,"d":null}', { a: 'x', b: '1.50', c: 'true' }],
    ['{"big":12345678901234567890,"e":1e5}', { big: '12345678901234567890', e: '1e5' }],
    ['{"a":{"b":{"c":"x"},"d e":1}}', { a_b_c: 'x', a_d_e: '1' }],
    ['{"list":[1,{"a":1}],"a":1}', { a: '1' }],
    ['{"9a":1,"a.b":2}', { _9a: '1', a_b: '2' }],
    ['{"a":{"9":1}}', { a_9: '1' }],
    ['{"level":"warn","a":1}', { level_extracted: 'warn', a: '1' }],
    ['{"a":"q\\"\\u00fc"}', { a: 'q"ü' }],
    ['{"__proto__":"x","toString":"y"}', { toString: 'y' }],
    ['{}', {}],
  ])('%s', (line, expected) => expect(added('| json', line)).toEqual(expected));

  it.each([
    '',
    'text',
    '[1]',
    '"x"',
    '5',
    '{"a":1',
    'null',
    `${'{"a":'.repeat(70)}1${'}'.repeat(70)}`,
  ])('marks %s', (line) =>
    expect(added('| json', line)).toMatchObject({ __error__: 'JSONParserErr' }),
  );
});

describe('label filters', () => {
  const line = 'status=503 took=1.5s size=10KiB name=x.y bad=abc';
  it.each([
    ['status >= 500', true],
    ['status > 503', false],
    ['status == 503', true],
    ['status = 503', true],
    ['status != 503', false],
    ['status = "503"', true],
    ['status =~ "5.."', true],
    ['status =~ "5."', false],
    ['status !~ "5.."', false],
    ['took > 1s', true],
    ['took < 1s500ms', false],
    ['size == 10240B', true],
    ['size > 10KB', true],
    ['missing > 0', false],
    ['missing = ""', true],
    ['missing != "x"', true],
    ['level = "info"', true],
    ['status >= 500 and took > 2s', false],
    ['status >= 500 or took > 2s', true],
    ['status < 500 or took > 2s and name = "x.y"', false],
    ['(status >= 500 or took > 2s) and name = "x.y"', true],
    ['status >= 500, name = "x.y"', true],
    ['constructor = ""', true],
  ])('%s', (filter, expected) =>
    expect(pipeline(`| logfmt | ${filter}`).process(line, STREAM) !== undefined).toBe(expected),
  );

  it('what cannot be read passes, marked', () => {
    expect(added('| logfmt | bad > 5', line)).toMatchObject({ __error__: 'LabelFilterErr' });
    expect(added('| logfmt | bad > 5s', line)).toMatchObject({ __error__: 'LabelFilterErr' });
    expect(added('| logfmt | status > 5s', line)).toMatchObject({ __error__: 'LabelFilterErr' });
    expect(added('| json | status > 5', 'text')).toMatchObject({ __error__: 'JSONParserErr' });
  });

  it('errors are labels', () => {
    expect(added('| json | __error__=""', 'text')).toBeUndefined();
    expect(added('| json | __error__=""', '{"a":1}')).toEqual({ a: '1' });
    expect(added('| json | __error__="JSONParserErr"', 'text')).toBeDefined();
    expect(added('| json | __error_details__=~".*JSON.*"', 'text')).toBeDefined();
  });
});
