import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReflexarcError } from '../core/errors.ts';
import type { ActionRecord } from '../core/records/action.ts';
import type { AlertRecord } from '../core/records/alert.ts';
import type { LedgerEntry } from './ledger.ts';
import { Harness } from './testing/harness.ts';
import { Life } from './testing/mortal.ts';

/**
 * Anything may happen in any order: crashes, hangs, people, alerts told twice and late, an engine
 * that does not answer, and our own death at any border between two calls. Whatever happens, the
 * promises hold.
 */

const COOLDOWN = 40_000;
const ATTEMPTS = 3;
const WINDOW = 200_000;
const file = (steps: number): string => `
remediations:
  - name: heal
    match: ['alertname=~"Died|Sick"']
    target: '{{ $labels.service }}'
    steps: [${Array(steps).fill('{ restart: {}, verify: { within: 20s, healthy_for: 5s } }').join(', ')}]
    limits: { cooldown: 40s, attempts: ${ATTEMPTS}, window: 200s, keep_up: 0 }
`;

const IDS = ['a', 'b', 'c'] as const;
type Id = (typeof IDS)[number];

const id = fc.constantFrom(...IDS);
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('crash' as const), id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hang' as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stopByHand' as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('startByHand' as const), id }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('alert' as const), id }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('again' as const), nth: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resolve' as const), id }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.constantFrom(0, 1, 500, 4000, 5000, 12_000, 41_000, 90_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('killAfter' as const),
      n: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('revive' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unreadable' as const), on: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      code: fc.constantFrom('unavailable' as const, 'conflict' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('takes' as const), ms: fc.constantFrom(0, 3000) }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

class World {
  readonly harness: Harness;
  readonly told: AlertRecord[] = [];
  readonly byHand = new Set<string>();
  killed = false;
  #life: Life | undefined;
  #stop: (() => void) | undefined;

  constructor(steps: number) {
    this.harness = new Harness(file(steps));
    // Two replicas of one service, and another service.
    this.harness.runtime.add('a', { service: 'web', health: 'healthy' });
    this.harness.runtime.add('b', { service: 'web', health: 'healthy' });
    this.harness.runtime.add('c', { service: 'db', health: 'healthy' });
  }

  async do(step: Command): Promise<void> {
    const { harness } = this;
    const { runtime } = harness;
    switch (step.do) {
      case 'crash':
        if (runtime.get(step.id).state === 'running') runtime.crash(step.id);
        break;
      case 'hang':
        if (runtime.get(step.id).state === 'running') runtime.health(step.id, 'unhealthy');
        break;
      case 'stopByHand':
        if (runtime.get(step.id).state === 'running') runtime.stopByHand(step.id);
        break;
      case 'startByHand':
        if (runtime.get(step.id).state === 'exited') {
          runtime.startByHand(step.id);
          this.byHand.add(runtime.get(step.id).startedAt ?? '');
        }
        break;
      case 'alert':
        await this.#tell(step.id, 'firing');
        return;
      case 'resolve':
        await this.#tell(step.id, 'resolved');
        return;
      case 'again': {
        const record = this.told[step.nth % Math.max(1, this.told.length)];
        if (record !== undefined) await harness.publish(record);
        return;
      }
      case 'advance':
        await harness.clock.advance(step.ms);
        break;
      case 'kill':
        await this.kill();
        break;
      case 'killAfter':
        this.#life?.killAfter(step.n);
        break;
      case 'revive':
        await this.revive();
        break;
      case 'unreadable':
        runtime.unreadable = step.on
          ? new ReflexarcError('unavailable', 'the engine is away')
          : undefined;
        break;
      case 'fail':
        runtime.failNext = new ReflexarcError(step.code, 'not now');
        break;
      case 'takes':
        runtime.takes = step.ms;
        break;
    }
    await harness.settle();
  }

  async #tell(which: Id, state: 'firing' | 'resolved'): Promise<void> {
    const on = this.harness.runtime.get(which);
    const name = on.state === 'running' ? 'Sick' : 'Died';
    const record = this.harness.alert({ name, on: [on], state, cause: 'evidence' });
    this.told.push(record);
    await this.harness.publish(record);
  }

  async kill(): Promise<void> {
    this.killed = true;
    this.#life?.kill();
    this.#life = undefined;
    this.#stop?.();
    this.harness.state.revoke('remediation');
    await this.harness.settle();
  }

  async revive(): Promise<void> {
    if (this.#life !== undefined && !this.#life.dead) return;
    await this.kill();
    const life = new Life();
    this.#life = life;
    const { harness } = this;
    void harness.start({
      bus: life.bus(harness.bus),
      state: life.state(harness.state),
      runtimes: [life.runtime(harness.runtime)],
    });
    await harness.settle();
    // A life that ends while it starts has no service yet.
    const service = harness.service;
    this.#stop = () => void service?.stop();
  }

  /** Everything works again, for as long as it takes. */
  async calm(): Promise<void> {
    this.harness.runtime.unreadable = undefined;
    this.harness.runtime.failNext = undefined;
    await this.kill();
    await this.revive();
    for (let round = 0; round < 10; round++) await this.harness.clock.advance(60_000);
  }

  async end(): Promise<void> {
    await this.kill();
    this.harness.service = undefined;
    await this.harness.end();
  }
}

async function check(world: World, steps: number): Promise<void> {
  const { harness, told } = world;
  const { calls } = harness.runtime;
  const { actions } = harness;
  const led = new Set(calls.map((call) => call.led));

  for (const call of calls) {
    const what = JSON.stringify(call);
    // Only the very run that an alert named, or, up the ladder, what our own step made of it.
    const named = told.some((record) =>
      record.evidence.some(({ origin }) => origin?.id === call.id && origin.startedAt === call.on),
    );
    // A start in the moment of our own death cannot be told from what we began.
    const doubtful = steps > 1 && world.killed && world.byHand.has(call.on);
    const climbed = steps > 1 && led.has(call.on);
    const effective = call.led !== undefined;
    must(!effective || named || doubtful || climbed, `named: ${what}`);
    must(!effective || call.stoppedByHand !== true, `stopped by hand: ${what}`);
    const started = actions.some(
      ({ phase, target }) =>
        phase === 'started' &&
        target?.origin?.id === call.id &&
        (target.origin.startedAt === call.on || !effective),
    );
    must(started, `has its record: ${what}`);
  }

  // Once for each run, whoever asks how often.
  const effects = calls.filter((call) => call.led !== undefined);
  expect(new Set(effects.map((call) => `${call.id} ${call.hit}`)).size).toBe(effects.length);

  // The limits, over what the ledger says was begun; and it says no less than the engine was asked.
  const entries = (await harness.state.list<LedgerEntry>('remediation/ledger/'))
    .map((entry) => entry.value)
    .filter((entry) => entry.phase !== 'void');
  const begun = entries.flatMap((entry) => entry.tries.map((at) => ({ at, entry })));
  expect(begun.length).toBeGreaterThanOrEqual(calls.length);
  for (const service of ['web', 'db']) {
    const times = begun.filter(({ entry }) => entry.subject.service === service);
    for (const { at } of times) {
      const within = times.filter((other) => other.at >= at && other.at < at + WINDOW);
      must(within.length <= ATTEMPTS, `attempts on ${service}: ${within.length}`);
    }
  }
  for (const one of IDS) {
    const mine = begun.filter(({ entry }) => entry.subject.id === one).sort((x, y) => x.at - y.at);
    for (const [index, { at, entry }] of mine.entries()) {
      const before = mine[index - 1];
      if (before === undefined || before.entry.case === entry.case) continue;
      must(at - before.at >= COOLDOWN, `cooldown of ${one}: ${at - before.at}`);
    }
  }

  // An id is one record, however often it was published.
  const byId = new Map<string, ActionRecord>();
  for (const record of harness.published) {
    const known = byId.get(record.id) ?? record;
    must(known.phase === record.phase, `${record.id} is ${known.phase} and ${record.phase}`);
    byId.set(record.id, record);
  }

  // What an alert that fires on names, and is down, was acted upon, or waits for its turn.
  for (const one of IDS) {
    const { state, stoppedByHand, startedAt } = harness.runtime.get(one);
    if (state !== 'exited' || stoppedByHand === true) continue;
    const isAbout = (record: AlertRecord, index: number): boolean =>
      record.state === 'firing' &&
      record.evidence.some(({ origin }) => origin?.id === one && origin.startedAt === startedAt) &&
      told.slice(index).every((x) => x.fingerprint !== record.fingerprint || x.state === 'firing');
    if (!told.some(isAbout)) continue;
    const mine = actions.filter(
      ({ target }) => target?.origin?.id === one && target.origin.startedAt === startedAt,
    );
    const lasts = [...Map.groupBy(mine, (record) => record.case).values()].map((records) =>
      records.at(-1),
    );
    const answered = lasts.some(
      (last) => last !== undefined && (ANSWERS.has(last.phase) || ANSWERS.has(last.reason ?? '')),
    );
    must(answered, `${one} is left down: ${lasts.map((last) => last?.phase).join(', ')}`);
  }

  // What was begun has an end, or says what it waits for.
  const cases = Map.groupBy(actions, (record) => record.case);
  for (const records of cases.values()) {
    const last = records.at(-1)?.phase ?? 'none';
    const story = records.map(({ phase, reason }) => `${phase} ${reason ?? ''}`).join(', ');
    must(ENDS.has(last), `ends: ${story}`);
  }
}

const ENDS: ReadonlySet<string> = new Set([
  'verified',
  'exhausted',
  'closed',
  'refused',
  'waiting',
]);

/** By phase or reason; `changed` where an act of ours began the start that is down now. */
const ANSWERS: ReadonlySet<string> = new Set([
  'verified',
  'exhausted',
  'waiting',
  'already_done',
  'changed',
]);

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

describe('whatever happens', () => {
  it.each([1, 2])('with a ladder of %i', async (steps) => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
        const world = new World(steps);
        try {
          await world.revive();
          for (const one of commands) await world.do(one);
          await world.calm();
          await check(world, steps);
        } finally {
          await world.end();
        }
      }),
      { numRuns: 60 },
    );
  });

  it('dies at each border of a heal, and acts once', async () => {
    const borders = 40;
    for (const takes of [0, 3000] as const) {
      for (let border = 1; border <= borders; border++) {
        for (const kind of ['crash', 'hang'] as const) {
          const world = new World(1);
          try {
            await world.revive();
            await world.do({ do: 'takes', ms: takes });
            await world.do({ do: 'killAfter', n: border });
            await world.do({ do: kind, id: 'c' });
            await world.do({ do: 'alert', id: 'c' });
            await world.calm();
            await check(world, 1);
            const { runtime, phases } = world.harness;
            const what = `${kind} at border ${border}, taking ${takes}: ${phases.join(' ')}`;
            const effects = runtime.calls.filter((call) => call.led !== undefined);
            must(effects.length === 1, `${effects.length} effects: ${what}`);
            must(runtime.get('c').state === 'running', `it runs: ${what}`);
            must(phases.at(-1) === 'verified', `it is verified: ${what}`);
          } finally {
            await world.end();
          }
        }
      }
    }
  });
});
