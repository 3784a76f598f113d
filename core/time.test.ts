import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatRfc3339, normalizeRfc3339, parseRfc3339 } from './time.ts';

describe('parseRfc3339', () => {
  it.each([
    ['1970-01-01T00:00:00Z', 0n],
    ['1970-01-01T00:00:01.5Z', 1_500_000_000n],
    ['1970-01-01T00:00:00.000000001Z', 1n],
    ['1970-01-01T01:00:00+01:00', 0n],
    ['1970-01-01 00:00:00', 0n],
    ['2026-11-23T16:04:47.123456789Z', 1_795_449_887_123_456_789n],
  ])('%s', (text, nanos) => expect(parseRfc3339(text)).toBe(nanos));

  it.each(['', 'now', '2026-13-01T00:00:00Z', '2026-01-01', '2026-01-01T25:00:00Z', '12:00'])(
    'refuses %j',
    (text) => expect(parseRfc3339(text)).toBeUndefined(),
  );
});

it('formats with nine digits, also before 1970', () => {
  expect(formatRfc3339(1n)).toBe('1970-01-01T00:00:00.000000001Z');
  expect(formatRfc3339(-1n)).toBe('1969-12-31T23:59:59.999999999Z');
});

it('comes back as it went', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (nanos) => {
      const text = formatRfc3339(nanos);
      expect(parseRfc3339(text)).toBe(nanos);
      expect(normalizeRfc3339(text)).toBe(text);
    }),
  );
});

it('normalises what engines write', () => {
  // Docker drops zeros at the end of the fraction.
  expect(normalizeRfc3339('2026-01-02T03:04:05.12Z')).toBe('2026-01-02T03:04:05.120000000Z');
  expect(normalizeRfc3339('2026-01-02T05:04:05+02:00')).toBe('2026-01-02T03:04:05.000000000Z');
  expect(normalizeRfc3339('yesterday')).toBeUndefined();
});
