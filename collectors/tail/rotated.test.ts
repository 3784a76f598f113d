import { expect, it } from 'vitest';
import { orderRotated } from './rotated.ts';

it.each([
  [
    'numbers, oldest first',
    'a.log',
    ['a.log.1', 'a.log.10', 'a.log.2.gz'],
    ['a.log.10', 'a.log.2.gz', 'a.log.1'],
  ],
  [
    'dates',
    'a.log',
    ['a.log-20260102', 'a.log-20260101.gz'],
    ['a.log-20260101.gz', 'a.log-20260102'],
  ],
  [
    'a number behind a date counts up',
    'a.log',
    ['a.log.2026-01-02.2', 'a.log.2026-01-02.1'],
    ['a.log.2026-01-02.1', 'a.log.2026-01-02.2'],
  ],
  [
    'before the ending',
    'a.log',
    ['a-2026-01-02.log', 'a.1.log', 'a.log.old'],
    ['a.1.log', 'a.log.old', 'a-2026-01-02.log'],
  ],
  [
    'others are no part of it',
    'a.log',
    ['a.log', 'a.log.err', 'ab.log.1', 'a.log.json', 'a.log.1.swp'],
    [],
  ],
] as const)('%s', (_name, base, names, expected) => {
  expect(orderRotated(base, names)).toEqual(expected);
});
