import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isReflexarcError, type ReflexarcError } from '../core/errors.ts';
import { formatMatcher, type Matcher } from '../core/labels.ts';
import { parseMatcher, parseMatchers } from './matchers.ts';

const short = (matchers: readonly Matcher[]) =>
  matchers.map(({ name, op, value }) => [name, op, value].join(' '));

describe('matchers', () => {
  it.each([
    ['alertname="X"', ['alertname = X']],
    ['severity=~"a|b"', ['severity =~ a|b']],
    ['severity =~ a|b', ['severity =~ a|b']],
    ['service!=""', ['service != ']],
    ['team=core', ['team = core']],
    ['path!~"^/a,b=}"', ['path !~ ^/a,b=}']],
    ['{a="b",c!="d"}', ['a = b', 'c != d']],
    ['{ a = "b" , c != d , }', ['a = b', 'c != d']],
    ['a="b",c="d"', ['a = b', 'c = d']],
    ['{}', []],
    ['"with space"="a\\"b"', ['with space = a"b']],
    ['"{x}"="{y}"', ['{x} = {y}']],
    ['a="}"', ['a = }']],
    ['unicode="ü"', ['unicode = ü']],
  ])('%s', (text, expected) => expect(short(parseMatchers(text))).toEqual(expected));

  it('a single one', () => {
    expect(parseMatcher(' a = "b" ')).toEqual({ name: 'a', op: '=', value: 'b' });
    expect(() => parseMatcher('a="b",c="d"')).toThrow(/one matcher, found 2/);
    expect(() => parseMatcher('{}')).toThrow(/one matcher, found 0/);
  });

  it.each([
    ['', 1],
    ['a', 2],
    ['a=', 3],
    ['="b"', 1],
    ['a=="b"', 3],
    ['a>"b"', 3],
    ['{a="b"', 7],
    ['a="b"}', 6],
    ['a="b" c="d"', 7],
    ['a="b",,c="d"', 7],
    ['a="b', 3],
    ['a=~"("', 4],
    ['a="\\q"', 3],
  ])('refuses %s', (text, column) => {
    let error: unknown;
    try {
      parseMatchers(text);
    } catch (caught) {
      error = caught;
    }
    expect(isReflexarcError(error, 'bad_config')).toBe(true);
    expect((error as ReflexarcError).where).toEqual({ line: 1, column });
    expect((error as ReflexarcError).hint).toContain('alertname="X"');
  });

  it('reads what formatMatcher writes', () => {
    const matcher = fc.record({
      name: fc.stringMatching(/^[a-zA-Z_]\w{0,8}$/),
      op: fc.constantFrom('=' as const, '!=' as const),
      value: fc.string({ unit: 'grapheme' }),
    });
    fc.assert(
      fc.property(fc.array(matcher, { minLength: 1, maxLength: 4 }), (matchers) => {
        expect(parseMatchers(`{${matchers.map(formatMatcher).join(', ')}}`)).toEqual(matchers);
      }),
    );
  });

  it('is never anything but matchers or a positioned error', () => {
    const part = fc.constantFrom(
      '{',
      '}',
      'a',
      '=',
      '!=',
      '=~',
      '"',
      '"b"',
      ',',
      ' ',
      '\\',
      '(',
      'ü',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        try {
          parseMatchers(parts.join(''));
        } catch (error) {
          expect(isReflexarcError(error, 'bad_config')).toBe(true);
          expect((error as ReflexarcError).where?.column).toBeGreaterThan(0);
        }
      }),
    );
  });
});
