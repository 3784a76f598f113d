import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Instance, Runtime, RuntimeEvent, RuntimeNews } from '../../core/contracts/runtime.ts';
import { nanosToMillis, parseRfc3339 } from '../../core/time.ts';
import { until } from '../support/wait.ts';

/** An instance that a test wants. */
export interface Wanted {
  readonly name: string;
  /** For `sh -c`; its folder is its own, and `$PWD/<word>` appears when the test says the word. */
  readonly script: string;
  readonly restart?: 'no' | 'on-failure' | 'always';
  /** Healthy while this command succeeds; asked every 100 ms, unhealthy at the first failure. */
  readonly health?: string;
}

/** The engine under test with the wanted instances started. */
export interface OpenRuntime {
  readonly runtime: Runtime;
  id(name: string): string;
  /** Makes the file `<word>` in the instance's folder. */
  say(name: string, word: string): Promise<void>;
  /** As a person would, by the engine's own means. */
  stopByHand(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Runs until it is told to end with 7; ends with 0 when it is asked to. */
const SERVE =
  'trap "exit 0" TERM; while true; do [ -e crash ] && rm -f crash && exit 7; sleep 0.05; done';
/** Does not end for a mere request. */
const STUBBORN = 'trap "" TERM; while true; do sleep 0.05; done';

/** What every runtime must do, whatever it runs on. */
export function runtimeConformance(
  engine: string,
  open: (wanted: readonly Wanted[]) => Promise<OpenRuntime>,
): void {
  describe(`runtime: ${engine}`, () => {
    let opened: OpenRuntime;
    let stop: AbortController;

    beforeEach(() => {
      stop = new AbortController();
    });
    afterEach(async () => {
      stop.abort();
      await opened.close();
    });

    const start = async (...wanted: Wanted[]): Promise<Runtime> => {
      opened = await open(wanted);
      return opened.runtime;
    };
    const inspect = async (name: string): Promise<Instance> => {
      const found = await opened.runtime.inspect(opened.id(name));
      expect(found).toBeDefined();
      return found!;
    };

    /** Watches until the test ends; the first list has come when it resolves. */
    const watch = async (since?: bigint): Promise<Watched> => {
      const watched = new Watched();
      const options = since === undefined ? {} : { since };
      void (async () => {
        for await (const news of opened.runtime.watch(options, stop.signal)) watched.add(news);
        watched.ended = true;
      })();
      await until('the first list', () => watched.lists.length > 0);
      return watched;
    };

    it('lists and inspects what runs', async () => {
      const runtime = await start(
        { name: 'web', script: SERVE },
        { name: 'job', script: 'sleep 0.2; exit 3' },
      );
      const job = await until('the job to end', async () => {
        const one = await inspect('job');
        return one.state === 'exited' && one;
      });
      const web = await inspect('web');
      expect(web).toMatchObject({
        runtime: runtime.name,
        id: opened.id('web'),
        state: 'running',
        health: 'none',
        oomKilled: false,
        restarts: 0,
        restartPolicy: 'no',
        stoppedByHand: false,
      });
      expect(parseRfc3339(web.startedAt!)).toBeDefined();
      expect(web.exitCode).toBeUndefined();
      expect(job).toMatchObject({ exitCode: 3, stoppedByHand: false });
      expect(parseRfc3339(job.finishedAt!)! > parseRfc3339(job.startedAt!)!).toBe(true);
      const listed = await runtime.list();
      expect(listed.find(({ id }) => id === web.id)).toEqual(web);
      expect(listed.find(({ id }) => id === job.id)).toEqual(job);
      expect(await runtime.inspect('not-there')).toBeUndefined();
    });

    it('tells a crash with its exit code, its run, and that nobody asked for it', async () => {
      await start({ name: 'web', script: SERVE });
      const before = await inspect('web');
      const watched = await watch();
      expect(watched.lists[0]?.map(({ id }) => id)).toContain(before.id);
      await opened.say('web', 'crash');
      const died = await watched.event('die', opened.id('web'));
      expect(died.attributes).toMatchObject({ exit_code: '7', by_hand: 'false' });
      expect(died.attributes['by']).toBeUndefined();
      expect(died.startedAt).toBe(before.startedAt);
      expect(died.instance).toMatchObject({ state: 'exited', exitCode: 7, stoppedByHand: false });
      expect(nanosToMillis(died.time)).toBeGreaterThan(
        nanosToMillis(parseRfc3339(before.startedAt!)!),
      );
      const after = await inspect('web');
      expect(after).toMatchObject({ state: 'exited', exitCode: 7, stoppedByHand: false });
      expect(after.startedAt).toBe(before.startedAt);
    });

    it('starts what is not running, and leaves what is', async () => {
      const runtime = await start({ name: 'web', script: SERVE });
      const first = await inspect('web');
      await runtime.start(first.id);
      expect((await inspect('web')).startedAt).toBe(first.startedAt);
      const watched = await watch();
      await opened.say('web', 'crash');
      await watched.event('die', first.id);
      await runtime.start(first.id);
      const second = await inspect('web');
      expect(second.state).toBe('running');
      expect(second.startedAt! > first.startedAt!).toBe(true);
      const started = await watched.event('start', first.id);
      expect(started.startedAt).toBe(second.startedAt);
      expect(started.attributes).toMatchObject({ by: 'reflexarc' });
    });

    it('restarts, and the death is known to be our own', async () => {
      const runtime = await start({ name: 'web', script: SERVE });
      const first = await inspect('web');
      const watched = await watch();
      await runtime.restart(first.id, { grace: 5000 });
      const second = await inspect('web');
      expect(second).toMatchObject({ state: 'running', stoppedByHand: false });
      expect(second.startedAt! > first.startedAt!).toBe(true);
      await watched.event('restart', first.id);
      expect(watched.actions(first.id)).toEqual(['kill', 'die', 'stop', 'start', 'restart']);
      const died = await watched.event('die', first.id);
      expect(died.attributes).toMatchObject({ exit_code: '0', by: 'reflexarc', by_hand: 'false' });
      expect(died.startedAt).toBe(first.startedAt);
      expect((await watched.event('start', first.id)).startedAt).toBe(second.startedAt);
    });

    it('kills what does not end within its grace', async () => {
      const runtime = await start({ name: 'deaf', script: STUBBORN });
      const first = await inspect('deaf');
      const watched = await watch();
      await runtime.restart(first.id, { grace: 0 });
      expect((await inspect('deaf')).startedAt! > first.startedAt!).toBe(true);
      const died = await watched.event('die', first.id);
      expect(died.attributes).toMatchObject({ exit_code: '137', by: 'reflexarc' });
    });

    it('knows a crash right after our own restart for what it is', async () => {
      const runtime = await start({
        name: 'web',
        script:
          '[ -e again ] && exit 9; touch again; trap "exit 0" TERM; while true; do sleep 0.05; done',
      });
      const watched = await watch();
      const id = opened.id('web');
      await until('its first run', () => opened.say('web', 'again').then(() => true));
      await runtime.restart(id, { grace: 5000 });
      const deaths = await until('two deaths', () => {
        const all = watched.all('die', opened.id('web'));
        return all.length === 2 && all;
      });
      expect(deaths[0]?.attributes).toMatchObject({ by: 'reflexarc', by_hand: 'false' });
      expect(deaths[1]?.attributes).toMatchObject({ exit_code: '9', by_hand: 'false' });
      expect(deaths[1]?.attributes['by']).toBeUndefined();
      expect((await inspect('web')).stoppedByHand).toBe(false);
    });

    it('knows that a person stopped it, until it is started again', async () => {
      const runtime = await start({ name: 'web', script: SERVE, restart: 'always' });
      const first = await inspect('web');
      const watched = await watch();
      await opened.stopByHand('web');
      expect(await inspect('web')).toMatchObject({ state: 'exited', stoppedByHand: true });
      expect((await runtime.list()).find(({ id }) => id === first.id)?.stoppedByHand).toBe(true);
      const died = await watched.event('die', first.id);
      expect(died.attributes).toMatchObject({ by_hand: 'true' });
      expect(died.instance.stoppedByHand).toBe(true);
      await runtime.start(first.id);
      expect(await inspect('web')).toMatchObject({ state: 'running', stoppedByHand: false });
    });

    it.each(['on-failure', 'always'] as const)(
      'restart policy %s: every death has the start of its own run',
      async (restart) => {
        await start({ name: 'web', script: SERVE, restart });
        const first = await inspect('web');
        expect(first.restartPolicy).toBe(restart);
        const watched = await watch();
        await opened.say('web', 'crash');
        const second = await until('the engine to restart it', async () => {
          const one = await inspect('web');
          return one.state === 'running' && one.startedAt !== first.startedAt && one;
        });
        expect(second.restarts).toBe(1);
        await opened.say('web', 'crash');
        const deaths = await until('two deaths', () => {
          const all = watched.all('die', opened.id('web'));
          return all.length === 2 && all;
        });
        expect(deaths.map((event) => event.startedAt)).toEqual([first.startedAt, second.startedAt]);
        for (const death of deaths) {
          expect(death.attributes).toMatchObject({ exit_code: '7', by_hand: 'false' });
          expect(death.attributes['by']).toBeUndefined();
        }
      },
    );

    it('tells health when it changes', async () => {
      await start({ name: 'web', script: SERVE, health: '[ ! -e sick ]' });
      const watched = await watch();
      await until('it to be healthy', async () => (await inspect('web')).health === 'healthy');
      await opened.say('web', 'sick');
      const sick = await until('the event', () =>
        watched
          .all('health_status', opened.id('web'))
          .find((event) => event.attributes['health_status'] === 'unhealthy'),
      );
      expect(sick.action).toBe('health_status');
      expect(sick.instance.health).toBe('unhealthy');
      const now = await inspect('web');
      expect(now).toMatchObject({ state: 'running', health: 'unhealthy' });
      expect(sick.startedAt).toBe(now.startedAt);
    });

    it('refuses what is not there', async () => {
      const runtime = await start({ name: 'web', script: SERVE });
      await expect(runtime.start('not-there')).rejects.toMatchObject({ code: 'not_found' });
      await expect(runtime.stop('not-there', {})).rejects.toMatchObject({ code: 'not_found' });
      await expect(runtime.restart('not-there', {})).rejects.toMatchObject({ code: 'not_found' });
      expect(await runtime.stats('not-there')).toBeUndefined();
    });

    it('gives up waiting when asked to', async () => {
      const runtime = await start({ name: 'deaf', script: STUBBORN });
      const abort = new AbortController();
      const stopping = runtime.stop(opened.id('deaf'), { grace: 1000 }, abort.signal);
      abort.abort();
      await expect(stopping).rejects.toMatchObject({ code: 'cancelled' });
    });

    it('gives each watcher each event once, and from the past to who asks', async () => {
      await start({ name: 'web', script: SERVE });
      const { startedAt, id } = await inspect('web');
      const one = await watch();
      const two = await watch();
      await opened.say('web', 'crash');
      await one.event('die', id);
      await two.event('die', id);
      const late = await watch(parseRfc3339(startedAt!)! - 1n);
      await late.event('die', id);
      expect(late.actions(id).filter((action) => action !== 'create')).toEqual(['start', 'die']);
      expect(one.actions(id)).toEqual(['die']);
      expect(two.actions(id)).toEqual(['die']);
      const death = late.all('die', id)[0]!;
      const later = await watch(death.time + 1n);
      expect(later.actions(id)).toEqual([]);
    });

    it('measures what runs', async () => {
      const runtime = await start({ name: 'busy', script: 'while true; do :; done' });
      const id = opened.id('busy');
      const stats = await until('some CPU time', async () => {
        const read = await runtime.stats(id);
        return (read?.cpuSeconds ?? 0) > 0.2 && read;
      });
      expect(stats.memoryWorkingSet).toBeGreaterThan(0);
      expect(stats.memoryUsage).toBeGreaterThanOrEqual(stats.memoryWorkingSet!);
      expect(stats.processes).toBeGreaterThanOrEqual(1);
      expect(stats.memoryLimit).toBeUndefined();
      await runtime.stop(id, { grace: 0 });
      expect(await runtime.stats(id)).toBeUndefined();
    });

    it('ends watching with the signal, and with the runtime', async () => {
      const runtime = await start({ name: 'web', script: SERVE });
      const watched = await watch();
      const own = new AbortController();
      const seen: RuntimeNews[] = [];
      const ended = (async () => {
        for await (const news of runtime.watch({}, own.signal)) seen.push(news);
      })();
      await until('the list', () => seen.length > 0);
      own.abort();
      await ended;
      expect(watched.ended).toBe(false);
      await runtime.close();
      await runtime.close();
      await until('the watch to end', () => watched.ended);
    });
  });
}

/** Everything that one watch has yielded. */
class Watched {
  readonly lists: (readonly Instance[])[] = [];
  readonly events: RuntimeEvent[] = [];
  ended = false;

  add(news: RuntimeNews): void {
    if (news.kind === 'list') this.lists.push(news.instances);
    else this.events.push(news.event);
  }

  actions(id: string): string[] {
    return this.events.filter(({ instance }) => instance.id === id).map(({ action }) => action);
  }

  /** Others use the engine at the same time: only those of one instance. */
  all(action: string, id: string): RuntimeEvent[] {
    return this.events.filter((event) => event.action === action && event.instance.id === id);
  }

  event(action: string, id: string): Promise<RuntimeEvent> {
    return until(`the event ${action}`, () => this.all(action, id)[0]);
  }
}
