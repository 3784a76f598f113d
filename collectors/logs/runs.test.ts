import { describe, expect, it } from 'vitest';
import type { Instance } from '../../core/contracts/runtime.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { instanceOf } from '../testing/runtime.ts';
import { Runs } from './runs.ts';

const at = (seconds: string): string => `2026-01-01T00:00:${seconds.padEnd(12, '0')}Z`;
const run = (start: string, finish?: string, state: Instance['state'] = 'running'): Instance =>
  instanceOf({
    state,
    startedAt: at(start),
    ...(finish === undefined ? {} : { finishedAt: at(finish) }),
  });

function runs(): { runs: Runs; clock: ManualClock; woken: () => number } {
  const clock = new ManualClock();
  let woken = 0;
  return { runs: new Runs(clock, () => woken++), clock, woken: () => woken };
}

describe('the run that wrote a line', () => {
  it.each<[string, (runs: Runs) => void, string, string | undefined]>([
    ['the only one', (one) => one.learn(run('05.0')), '06.0', '05.0'],
    ['noted after it had begun to write', (one) => one.learn(run('05.0')), '04.9', '05.0'],
    [
      'of an earlier run that nobody saw',
      (one) => one.learn(run('05.0', '03.0')),
      '02.0',
      undefined,
    ],
    [
      'just before the start, after the end before',
      (one) => one.learn(run('05.0', '03.0')),
      '04.95',
      '05.0',
    ],
    [
      'the last words of a run',
      (one) => {
        one.learn(run('01.0'));
        one.ended(at('01.0'), at('04.95'));
        one.started(at('05.0'));
      },
      '04.94',
      '01.0',
    ],
    [
      'after a list that came late',
      (one) => {
        one.learn(run('01.0'));
        one.learn(run('05.0', '03.0'));
      },
      '02.0',
      '01.0',
    ],
    [
      'an ended one, whose output was stamped late',
      (one) => one.learn(run('01.0', '03.0', 'exited')),
      '03.5',
      '01.0',
    ],
  ])('%s', (_name, learn, line, expected) => {
    const { runs: one } = runs();
    learn(one);
    const found = one.at(at(line));
    expect(found).toBe(expected === undefined ? undefined : at(expected));
  });

  it('waits for the first start', async () => {
    const { runs: one, clock } = runs();
    expect(one.at(at('01.0'))).toBe('wait');
    one.started(at('01.05'));
    expect(one.at(at('01.0'))).toBe(at('01.05'));
    await clock.advance(5000);
    expect(clock.pending).toBe(0);
  });

  it('waits for a run not known yet, but not for ever', async () => {
    const { runs: one, clock, woken } = runs();
    one.learn(run('01.0'));
    one.ended(undefined, at('03.0'));
    const before = woken();
    expect(one.at(at('04.0'))).toBe('wait');
    await clock.advance(1000);
    expect(woken()).toBe(before + 1);
    expect(one.at(at('04.0'))).toBeUndefined();
    expect(one.at(at('04.1'))).toBeUndefined();
    one.started(at('04.05'));
    expect(one.at(at('04.1'))).toBe(at('04.05'));
    expect(clock.pending).toBe(0);
  });
});
