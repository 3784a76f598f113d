import { describe, expect, it } from 'vitest';
import { messageOf } from '../../core/errors.ts';
import { Params } from '../params.ts';
import { parseBounds, parseInstant, parseRange, parseSelectors } from './params.ts';

const NOW = 1767225600000000000n;
const SECOND = 1_000_000_000n;
const HOUR = 3600n * SECOND;

describe('bounds', () => {
  it.each([
    ['', NOW - HOUR, NOW],
    ['since=5m', NOW - 300n * SECOND, NOW],
    ['end=1767222000', NOW - 2n * HOUR, NOW - HOUR],
    ['end=4000000000', NOW - HOUR, 4_000_000_000n * SECOND],
    ['end=4000000000&since=1m', NOW - 60n * SECOND, 4_000_000_000n * SECOND],
    ['start=1767222000000000000', NOW - HOUR, NOW],
    ['start=1767222000.0&end=2026-01-01T00:00:00Z', NOW - HOUR, NOW],
    ['start=1767222000&since=1m', NOW - HOUR, NOW],
  ])('%s', (query, start, end) => {
    expect(parseBounds(new Params(query), NOW)).toEqual({ start, end });
  });
});

const range = (query: string) => parseRange(new Params(`query={a="b"}&${query}`), NOW, 5000);

describe('query_range', () => {
  it.each([
    ['', { limit: 100, direction: 'backward', step: 14_000, interval: 0n }],
    ['limit=7&direction=FORWARD', { limit: 7, direction: 'forward' }],
    ['step=15', { step: 15_000 }],
    ['step=0.5', { step: 500 }],
    ['step=1m', { step: 60_000 }],
    ['since=1m', { step: 1000 }],
    ['interval=5s', { interval: 5n * SECOND }],
    ['interval=0.000001', { interval: 1000n }],
  ])('%s', (query, expected) => expect(range(query)).toMatchObject(expected));

  it.each([
    ['start=2&end=1', 'end timestamp must not be before or equal to start time'],
    ['start=tomorrow', "could not parse 'start' parameter"],
    ['end=1e999', "could not parse 'end' parameter"],
    ['since=-5m', "could not parse 'since' parameter"],
    ['limit=0', 'limit must be a positive value'],
    ['limit=-1', 'limit must be a positive value'],
    ['limit=many', "could not parse 'limit' parameter"],
    ['direction=sideways', 'invalid direction "sideways"'],
    ['step=0', 'zero or negative query resolution step widths are not accepted'],
    ['step=-5', 'zero or negative query resolution step widths are not accepted'],
    ['step=soon', 'cannot parse "soon" to a valid duration'],
    ['step=0.1&since=1h', 'exceeded maximum resolution of 11,000 points per time series'],
    ['interval=-1', 'interval must be >= 0'],
    ['interval=x', 'cannot parse "x" to a valid duration'],
  ])('%s is refused', (query, message) => expect(() => range(query)).toThrow(message));

  it('without a limit asks for no more than is allowed', () => {
    expect(parseRange(new Params('query={a="b"}'), NOW, 50).limit).toBe(50);
  });

  it('refuses a missing query', () => {
    expect(() => parseRange(new Params(''), NOW, 5000)).toThrow("'query' is required");
  });
});

it('an instant is now if nothing is said', () => {
  expect(parseInstant(new Params(''), NOW)).toBe(1767225600000);
  expect(parseInstant(new Params('time=1767225599.25'), NOW)).toBe(1767225599250);
});

describe('selectors', () => {
  it.each([
    [[], []],
    [['{}'], []],
    [['{a="b"}', '{ }'], []],
    [['{a="b"}'], [[{ name: 'a', op: '=', value: 'b' }]]],
    [
      ['{a="b"}', '{c!="d", e=~"f"}'],
      [
        [{ name: 'a', op: '=', value: 'b' }],
        [
          { name: 'c', op: '!=', value: 'd' },
          { name: 'e', op: '=~', value: 'f' },
        ],
      ],
    ],
  ])('%j', (texts, matchers) => expect(parseSelectors(texts)).toEqual(matchers));

  it.each(['{a="b"} |= "x"', 'rate({a="b"}[1m])'])('%s is more than a selector', (text) => {
    let message = '';
    try {
      parseSelectors([text]);
    } catch (error) {
      message = messageOf(error);
    }
    expect(message).toContain('only label matchers are supported');
  });
});
