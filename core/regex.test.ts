import { describe, expect, it } from 'vitest';
import { compileMatchers } from './labels.ts';
import { compileRegex } from './regex.ts';

describe('expand', () => {
  it.each([
    ['(a)(b)?', 'ac', '$1-$2|', 'a-|'],
    ['(?P<x>a)', 'a', '$x${x}$1$$', 'aaa$'],
    ['(a)', 'a', '$1x', ''],
    ['(a)', 'a', '${1}x', 'ax'],
    ['(a)', 'a', '$9$nosuch.', '.'],
    ['(a)', 'b', '$1', undefined],
  ])('%s on %s by %s', (regex, text, template, expected) =>
    expect(compileRegex(regex).expand(text, template)).toBe(expected),
  );
});

describe('replaceAll', () => {
  it.each([
    ['(a)(.)', 'abac', '$2$1', 'baca'],
    ['x*', 'ab', '-', '-a-b-'],
    ['z', 'ab', '-', 'ab'],
  ])('%s on %s by %s', (regex, text, template, expected) =>
    expect(compileRegex(regex).replaceAll(text, template)).toBe(expected),
  );
});

it('a label named as a member of every object is absent', () => {
  for (const name of ['constructor', 'toString', '__proto__']) {
    expect(compileMatchers([{ name, op: '=', value: '' }])({})).toBe(true);
    expect(compileMatchers([{ name, op: '=~', value: '.+' }])({})).toBe(false);
  }
});
