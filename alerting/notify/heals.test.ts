import { describe, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { MemoryState } from '../../core/testing/memory-state.ts';
import { Heals } from './heals.ts';

/** What is told of a heal at once, by its records in order: `phase` or `phase:reason`. */
const cases: readonly { what: string; story: string; told: string }[] = [
  {
    what: 'its end, and not its way there',
    story: 'decided started done verified',
    told: 'verified',
  },
  {
    what: 'that it did not help',
    story: 'decided started done unverified exhausted',
    told: 'exhausted',
  },
  { what: 'that the call failed', story: 'decided started failed', told: 'failed' },
  {
    what: 'a refusal once, however often it is said of new starts',
    story: `refused:engine_acts${' refused:changed refused:engine_acts'.repeat(20)}`,
    told: 'refused:engine_acts refused:changed',
  },
  {
    what: 'that its attempts are used up, once, and no other wait',
    story: 'waiting:cooldown waiting:attempts decided waiting:attempts',
    told: 'waiting:attempts',
  },
  {
    what: 'a refusal again when something was done in between',
    story: 'refused:changed decided started done verified refused:changed',
    told: 'refused:changed verified refused:changed',
  },
  {
    what: 'a refusal again when it fires anew',
    story: 'refused:x fires refused:x',
    told: 'refused:x refused:x',
  },
];

describe('what is told of a heal at once', () => {
  it.each(cases)('$what', async ({ story, told }) => {
    const clock = new ManualClock();
    const heals = new Heals(new MemoryState(clock));
    const got: string[] = [];
    let since = clock.now();
    for (const word of story.split(' ')) {
      await clock.advance(1000);
      if (word === 'fires') {
        since = clock.now();
        continue;
      }
      const [phase, reason] = word.split(':');
      const heal = await heals.take(
        {
          id: word,
          case: 'c',
          phase,
          ...(reason === undefined ? {} : { reason }),
          message: `at ${clock.now()}`,
          timestamp: clock.now(),
          remediation: 'r',
          alert: { fingerprint: 'f', name: 'A', labels: {} },
          dryRun: false,
        } as ActionRecord,
        since,
      );
      if (heal?.tell === true) got.push(word);
    }
    expect(got.join(' ')).toBe(told);
  });
});
