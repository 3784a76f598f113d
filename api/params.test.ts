import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  durationParam,
  integerParam,
  Params,
  parseLokiTime,
  parsePrometheusTime,
  parseSecondsOrDuration,
} from './params.ts';

describe('parseLokiTime', () => {
  it.each([
    ['1767225600000000000', 1767225600000000000n],
    ['1767225600', 1767225600000000000n],
    ['4000000000', 4000000000000000000n],
    ['1767225600.5', 1767225600500000000n],
    ['1767225600.123456', 1767225600123000000n],
    ['1.767225600e9', 1767225600000000000n],
    ['2026-01-01T00:00:00Z', 1767225600000000000n],
    ['2026-01-01T00:00:00.000000001Z', 1767225600000000001n],
    ['2026-01-01T01:00:00+01:00', 1767225600000000000n],
    ['0', 0n],
    ['-5', -5000000000n],
    ['yesterday', undefined],
    ['NaN', undefined],
    ['Inf', undefined],
    ['0x10', undefined],
    ['1e400', undefined],
    ['9223372036854775808', undefined],
    ['99999999999999999999999', undefined],
    ['9999-01-01T00:00:00Z', undefined],
    ['', undefined],
  ])('%s', (text, nanos) => expect(parseLokiTime(text)).toBe(nanos));

  it('reads back any nanosecond that is no second', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 10_000_000_001n, max: 2n ** 63n - 1n }), (nanos) => {
        expect(parseLokiTime(String(nanos))).toBe(nanos);
      }),
    );
  });
});

describe('parsePrometheusTime', () => {
  it.each([
    ['1767225600', 1767225600000],
    ['1767225600.123', 1767225600123],
    ['1767225600.1234', 1767225600123],
    ['2026-01-01T00:00:00.5Z', 1767225600500],
    ['4000000000', 4000000000000],
    ['1767225600000000000', undefined],
    ['now', undefined],
    ['+Inf', undefined],
  ])('%s', (text, ms) => expect(parsePrometheusTime(text)).toBe(ms));
});

describe('parseSecondsOrDuration', () => {
  it.each([
    ['15', 15_000],
    ['0.5', 500],
    ['1m30s', 90_000],
    ['500ms', 500],
    ['-1', -1000],
    ['-5m', -300_000],
    ['0', 0],
    ['1e99', undefined],
    ['5 m', undefined],
    ['', undefined],
  ])('%s', (text, ms) => expect(parseSecondsOrDuration(text)).toBe(ms));
});

describe('Params', () => {
  it('takes the form before the URL, and an empty value for none', () => {
    const params = new Params('a=1&b=&match[]=x', 'a=2&match[]=y');
    expect(params.get('a')).toBe('2');
    expect(params.get('b')).toBeUndefined();
    expect(params.get('c')).toBeUndefined();
    expect(params.all('match[]', 'match')).toEqual(['y', 'x']);
  });

  it.each([
    ['integer', () => integerParam('limit', '1.5'), "'limit'"],
    ['integer', () => integerParam('limit', '1e3'), "'limit'"],
    ['duration', () => durationParam('since', '5 minutes'), "'since'"],
  ])('%s: the message names the parameter', (_kind, read, name) => {
    expect(read).toThrow(name);
  });

  it('reads any text without failing in other ways than its own', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseLokiTime(text);
        parsePrometheusTime(text);
        parseSecondsOrDuration(text);
        new Params(text, text).names();
      }),
    );
  });
});
