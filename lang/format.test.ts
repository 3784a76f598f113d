import { expect, it } from 'vitest';
import { formatValue } from './format.ts';

// Golden values from Go's strconv.FormatFloat(v, 'f', -1, 64).
it.each([
  [0, '0'],
  [-0, '-0'],
  [1, '1'],
  [0.1, '0.1'],
  [1.5e-7, '0.00000015'],
  [1e-7, '0.0000001'],
  [5e-324, `0.${'0'.repeat(323)}5`],
  [1e21, '1000000000000000000000'],
  [1.2345e22, '12345000000000000000000'],
  [123_456_789.125, '123456789.125'],
  [Number.NaN, 'NaN'],
  [Infinity, '+Inf'],
  [-Infinity, '-Inf'],
])('%d is %s', (value, expected) => expect(formatValue(value)).toBe(expected));
