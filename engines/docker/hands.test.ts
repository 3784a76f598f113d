import { describe, expect, it } from 'vitest';
import { formatRfc3339 } from '../../core/time.ts';
import type { EngineEvent } from './events.ts';
import { Hands, type OwnCall } from './hands.ts';
import { describeGone } from './identity.ts';

const SECOND = 1_000_000_000n;

/** What happened, one word each: an event, `own:<kind>` before a call of ours, `gap`. */
interface Case {
  readonly what: string;
  readonly story: string;
  readonly died?: Record<string, string>;
  readonly byHand: boolean | 'unknown';
  readonly stopSignal?: string;
}

const cases: readonly Case[] = [
  { what: 'a crash', story: 'start die', died: { by_hand: 'false' }, byHand: false },
  {
    what: 'docker stop',
    story: 'start kill:TERM die stop',
    died: { by_hand: 'true' },
    byHand: true,
  },
  { what: 'docker kill', story: 'start kill:KILL die', died: { by_hand: 'true' }, byHand: true },
  { what: 'a reload by HUP, and a crash', story: 'start kill:HUP die', byHand: false },
  {
    what: 'its own signal to stop',
    story: 'start kill:USR1 die stop',
    stopSignal: 'SIGUSR1',
    byHand: true,
  },
  {
    what: 'its own signal as a number',
    story: 'start kill:USR1 die',
    stopSignal: '10',
    byHand: true,
  },
  {
    what: 'a restart by hand, then a crash',
    story: 'start kill:TERM die stop start restart die',
    byHand: false,
  },
  {
    what: 'our restart, then a crash',
    story: 'start own:restart kill:TERM die stop start die restart',
    died: { by_hand: 'false' },
    byHand: false,
  },
  {
    what: 'our stop',
    story: 'start own:stop kill:TERM die stop',
    died: { by_hand: 'false', by: 'reflexarc' },
    byHand: false,
  },
  {
    what: 'our start of what someone stopped',
    story: 'start kill:TERM die stop own:start start die',
    byHand: false,
  },
  {
    what: 'our start, then a stop by hand',
    story: 'own:start start kill:TERM die stop',
    byHand: true,
  },
  {
    what: 'our restart, then a stop by hand',
    story: 'start own:restart kill:TERM die stop start restart kill:TERM die stop',
    byHand: true,
  },
  {
    what: 'out of memory',
    story: 'start oom die',
    died: { by_hand: 'false', oom: 'true' },
    byHand: false,
  },
  { what: 'a death that was never seen', story: '', byHand: 'unknown' },
  { what: 'a death after events were missed', story: 'start kill:TERM gap', byHand: 'unknown' },
  { what: 'a death seen, its start not', story: 'gap die', byHand: 'unknown' },
  { what: 'a death long after what is known', story: 'gap later die', byHand: false },
  {
    what: 'a death of another run than the one seen',
    story: 'start die gap missed',
    byHand: 'unknown',
  },
  { what: 'an end by QUIT', story: 'start kill:QUIT die', died: { by_hand: 'true' }, byHand: true },
  {
    what: 'a dump by QUIT, and a crash long after',
    story: 'start kill:QUIT later die',
    died: { by_hand: 'false' },
    byHand: false,
  },
  {
    what: 'QUIT as its own signal to stop, heeded late',
    story: 'start kill:QUIT later die stop',
    stopSignal: 'SIGQUIT',
    byHand: true,
  },
  { what: 'a pause and its end', story: 'start pause unpause die', byHand: false },
];

describe('who ended a run', () => {
  it.each(cases)('$what', ({ story, died, byHand, stopSignal }) => {
    const hands = new Hands();
    let time = 1_000n * SECOND;
    let finishedAt = time;
    let last: Readonly<Record<string, string>> = {};
    for (const word of story.split(' ').filter((one) => one !== '')) {
      time += SECOND;
      finishedAt = time;
      const [action = '', detail] = word.split(':');
      if (action === 'gap') hands.knownSince(time);
      else if (action === 'later') time += 60n * SECOND;
      else if (action === 'missed') finishedAt = time;
      else if (action === 'own') hands.begin('a', detail as OwnCall['kind']);
      else {
        const attributes: Record<string, string> =
          detail === undefined ? {} : { signal: `SIG${detail}` };
        const event: EngineEvent = {
          time,
          action,
          id: 'a',
          raw: {},
          attributes,
          key: String(time),
        };
        const verdict = hands.see(event, stopSignal).attributes;
        if (action === 'die') {
          last = verdict;
          finishedAt = time - 1n;
        }
      }
    }
    const lastDie = story.lastIndexOf('die');
    if (!story.includes('missed') && lastDie !== -1) {
      // `stop` and `restart` come after the death, and change no time.
      const after = story.slice(lastDie).split(' ').length - 1;
      finishedAt = time - BigInt(after) * SECOND - 1n;
    }
    if (died !== undefined) expect(last).toEqual(died);
    const gone = describeGone('docker', 'a', {}).instance;
    expect(
      hands.stoppedByHand({ ...gone, state: 'exited', finishedAt: formatRfc3339(finishedAt) }),
    ).toBe(byHand);
  });

  it.each(['die', 'kill'])(
    'a run that began after the last thing seen (%s) is a new one',
    (last) => {
      const hands = new Hands();
      const see = (time: bigint, action: string): unknown =>
        hands.see({ time, action, id: 'a', raw: {}, attributes: {}, key: String(time) }, undefined);
      see(10n, 'start');
      see(20n, 'kill');
      if (last === 'die') see(30n, 'die');
      const { instance } = describeGone('docker', 'a', {});
      const running = { ...instance, state: 'running' as const };
      expect(hands.stoppedByHand({ ...running, startedAt: formatRfc3339(9n) })).toBe(true);
      expect(hands.stoppedByHand({ ...running, startedAt: formatRfc3339(31n) })).toBe(false);
    },
  );

  it('a paused one was paused by someone, and a running one may be asked to end', () => {
    const hands = new Hands();
    const { instance } = describeGone('docker', 'a', {});
    expect(hands.stoppedByHand({ ...instance, state: 'paused' })).toBe(true);
    expect(hands.stoppedByHand({ ...instance, state: 'running' })).toBe(false);
    expect(hands.stoppedByHand({ ...instance, state: 'created' })).toBe(false);
    const kill = { time: 1n, action: 'kill', id: 'a', raw: {}, attributes: {}, key: '1' };
    hands.see(kill, undefined);
    expect(hands.stoppedByHand({ ...instance, state: 'running' })).toBe(true);
  });
});
