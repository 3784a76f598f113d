import { describe, expect, it } from 'vitest';
import type { SampleQueryable } from '../../core/contracts/queryable.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { evaluatePromQL } from './evaluate.ts';
import { parsePromQL } from './parse.ts';
import { inMemory, parseScript } from './testing.ts';

const { series } = parseScript('load 15s\n  a{i="1"} 0+1x400\n  a{i="2"} 0+2x400\n');
const signal = new AbortController().signal;
const range = { start: 0, end: 6_000_000, step: 15_000 };

const evaluate = (query: string, queryable: SampleQueryable, limits = DEFAULT_LIMITS) =>
  evaluatePromQL(parsePromQL(query), queryable, range, signal, limits);

describe('evaluation', () => {
  it('reads each selection once for all steps', async () => {
    const queryable = inMemory(series);
    await evaluate('sum(rate(a[5m])) / sum(rate(a[5m])) + on () count(a)', queryable);
    // The instant selector and the 5 m window look back equally far.
    expect(queryable.reads).toBe(1);
  });

  it.each([
    ['maxRows', 'a', { maxRows: 801 }],
    ['maxSeries', 'a', { maxSeries: 1 }],
    ['maxPoints', 'a', { maxPoints: 400 }],
    ['maxCells', 'a + a', { maxCells: 1000 }],
  ])('stops at %s', async (name, query, limits) => {
    const run = evaluate(query, inMemory(series), { ...DEFAULT_LIMITS, ...limits });
    await expect(run).rejects.toMatchObject({
      code: 'limit_exceeded',
      message: expect.stringContaining(name),
      hint: expect.any(String),
    });
  });

  it('stops when the caller gives up', async () => {
    const controller = new AbortController();
    controller.abort();
    const run = evaluatePromQL(parsePromQL('a'), inMemory(series), range, controller.signal);
    await expect(run).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('passes on what the queryable throws', async () => {
    const broken: SampleQueryable = { selectSamples: () => Promise.reject(new Error('down')) };
    await expect(evaluate('a', broken)).rejects.toThrow('down');
  });

  it.each([
    [{ start: 1, end: 0, step: 1 }],
    [{ start: 0, end: 1, step: 0 }],
    [{ start: 0, end: 1, step: Number.NaN }],
    [{ start: 0, end: Number.NaN, step: 1 }],
  ])('refuses the range %j', async (wrong) => {
    const run = evaluatePromQL(parsePromQL('a'), inMemory(series), wrong, signal);
    await expect(run).rejects.toMatchObject({ code: 'bad_query' });
  });

  it.each(['a[5m]', '"x"'])('a range query cannot give %s', async (query) => {
    await expect(evaluate(query, inMemory(series))).rejects.toMatchObject({ code: 'bad_query' });
  });

  it('takes labels with the names of object members as absent', async () => {
    const run = evaluatePromQL(
      parsePromQL('sum by (constructor, toString) (a)'),
      inMemory(series),
      { start: 0, end: 0, step: 1 },
      signal,
    );
    expect(await run).toEqual({
      type: 'vector',
      samples: [{ labels: {}, timestamp: 0, value: 0 }],
    });
  });
});
