import type { Clock } from '../../core/clock.ts';
import type { ActionPhase, ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';

export interface Break {
  readonly service: string;
  readonly how: string;
  readonly title: string;
}

/** What the terminal shows: one line a step, with the time since the service broke. */
export interface Story {
  begin(url: string): void;
  breaks(brk: Break): void;
  alert(alert: AlertRecord): void;
  action(action: ActionRecord): void;
  notified(service: string, status: string): void;
  /** Resolves to whether the service that broke last was verified, within `ms`. */
  ended(ms: number): Promise<boolean>;
  sum(healed: number, all: number, keep: boolean): void;
}

const WORDS: Partial<Record<ActionPhase, string>> = {
  decided: 'decided',
  refused: 'refused',
  waiting: 'waiting',
  started: 'acting',
  done: 'restarted',
  failed: 'failed',
  verified: 'verified',
  unverified: 'unverified',
  exhausted: 'gave up',
};

export function createStory(clock: Clock, print: (line: string) => void, json: boolean): Story {
  let current: Break | undefined;
  let since = 0;
  let end: (healed: boolean) => void = () => undefined;
  let over: Promise<boolean> = Promise.resolve(false);
  const said = new Set<string>();
  let early: { service: string; text: string } | undefined;

  const step = (service: string | undefined, what: string, text: string): void => {
    // What is still heard of a service that broke earlier is no part of this one's story.
    if (current === undefined || service !== current.service || said.has(what)) return;
    said.add(what);
    const seconds = (clock.monotonic() - since) / 1000;
    if (json)
      print(JSON.stringify({ service, step: what, seconds: Number(seconds.toFixed(4)), text }));
    else print(`  ${`+${seconds.toFixed(3)} s`.padStart(11)}  ${what.padEnd(10)} ${text}`);
  };

  return {
    begin(url) {
      if (!json) print(`Reflexarc watches three services as local processes; its API is on ${url}`);
    },
    breaks(brk) {
      current = brk;
      since = clock.monotonic();
      said.clear();
      early = undefined;
      over = new Promise((resolve) => {
        end = resolve;
      });
      if (json)
        print(
          JSON.stringify({ service: brk.service, step: 'breaks', seconds: 0, text: brk.title }),
        );
      else print(`\n${brk.title}`);
    },
    alert(alert) {
      if (alert.state !== 'firing') return;
      const summary = alert.annotations['summary'] ?? '';
      step(alert.labels['service'], 'detected', `${alert.rule.name}: ${summary}`);
      if (early !== undefined) step(early.service, 'notified', early.text);
      early = undefined;
    },
    action(action) {
      const word = WORDS[action.phase];
      const service = action.target?.service ?? action.alert.labels['service'];
      if (word !== undefined) step(service, word, action.message);
      if (service !== current?.service) return;
      if (action.phase === 'verified') end(true);
      if (action.phase === 'exhausted' || action.phase === 'failed') end(false);
    },
    notified(service, status) {
      const text = `the webhook got it, ${status}`;
      // The webhook may be here before the same alert has come by the bus.
      if (said.has('detected')) step(service, 'notified', text);
      else if (service === current?.service) early = { service, text };
    },
    async ended(ms) {
      const limit = clock.after(ms, () => end(false));
      const healed = await over;
      limit.cancel();
      return healed;
    },
    sum(healed, all, keep) {
      if (json) {
        print(JSON.stringify({ step: 'end', healed, all }));
        return;
      }
      print(`\n${healed} of ${all} healed.`);
      if (keep)
        print('It stays up until Ctrl-C: ask it with `npx reflexarc query` and the API above.');
    },
  };
}
