import { describe, expect, it } from 'vitest';
import { compileMatchers, fingerprint, formatLabels, labelsKey, type MatchOp } from './labels.ts';

describe('identity', () => {
  it('does not depend on the order of names', () => {
    expect(fingerprint({ a: '1', b: '2' })).toBe(fingerprint({ b: '2', a: '1' }));
  });

  it('takes an empty value for an absent label', () => {
    expect(labelsKey({ a: '1', b: '' })).toBe(labelsKey({ a: '1' }));
  });

  it('keeps names and values apart', () => {
    expect(labelsKey({ a: 'b', c: 'd' })).not.toBe(labelsKey({ ab: 'c', d: '' }));
  });
});

describe('compileMatchers', () => {
  const labels = { service: 'web', host: 'a\nb' };
  it.each<[string, MatchOp, string, boolean]>([
    ['service', '=', 'web', true],
    ['service', '!=', 'web', false],
    ['service', '=~', 'we', false],
    ['service', '=~', 'we.', true],
    ['service', '=~', 'api|web', true],
    ['service', '!~', 'api|web', false],
    ['absent', '=', '', true],
    ['absent', '!=', '', false],
    ['absent', '=~', '.*', true],
    ['absent', '=~', '.+', false],
    ['host', '=~', 'a.b', true],
  ])('%s %s %j: %s', (name, op, value, expected) => {
    expect(compileMatchers([{ name, op, value }])(labels)).toBe(expected);
  });

  it('refuses a pattern that is not RE2', () => {
    expect(() => compileMatchers([{ name: 'a', op: '=~', value: '(?=x)' }])).toThrow(
      /invalid regular expression/,
    );
  });

  it('stays linear on a hostile pattern', () => {
    const test = compileMatchers([{ name: 'a', op: '=~', value: '(a+)+$' }]);
    expect(test({ a: `${'a'.repeat(5000)}!` })).toBe(false);
  });
});

it('formatLabels sorts and quotes', () => {
  expect(formatLabels({ b: 'x"y', a: '1' })).toBe('{a="1", b="x\\"y"}');
});
