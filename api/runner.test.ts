import { EventEmitter } from 'node:events';
import type { FastifyReply } from 'fastify';
import { Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../core/testing/clock.ts';
import { BusyError } from './errors.ts';
import { createMetrics } from './metrics.ts';
import { Runner } from './runner.ts';

class Raw extends EventEmitter {
  writableFinished = false;
  destroyed = false;
}

let clock: ManualClock;
let runner: Runner;
beforeEach(() => {
  clock = new ManualClock();
  runner = new Runner(
    {
      kind: 'query',
      concurrency: 2,
      waiting: 1,
      timeout: 1000,
      busyHint: 'later',
      timeoutHint: 'shorter',
    },
    clock,
    createMetrics(new Registry()),
  );
});

const reply = (raw = new Raw()) => ({ raw }) as unknown as FastifyReply;

/** Work that ends when it is told to, and notes whether it runs. */
function job() {
  const { promise, resolve } = Promise.withResolvers<string>();
  const state = { running: false, aborted: false };
  const work = async (signal: AbortSignal): Promise<string> => {
    state.running = true;
    signal.addEventListener('abort', () => {
      state.aborted = true;
    });
    return promise;
  };
  return { work, state, end: resolve };
}

describe('places', () => {
  it('so many run, so many wait, the next is refused; a place is handed on', async () => {
    const jobs = [job(), job(), job()];
    const results = jobs.map(({ work }) => runner.run(reply(), work));
    await clock.advance(0);
    expect(jobs.map(({ state }) => state.running)).toEqual([true, true, false]);
    await expect(runner.run(reply(), job().work)).rejects.toThrow(BusyError);
    jobs[0]!.end('a');
    await expect(results[0]).resolves.toBe('a');
    await clock.advance(0);
    expect(jobs[2]!.state.running).toBe(true);
    jobs[1]!.end('b');
    jobs[2]!.end('c');
    await expect(Promise.all(results)).resolves.toEqual(['a', 'b', 'c']);
    const last = job();
    last.end('d');
    await expect(runner.run(reply(), last.work)).resolves.toBe('d');
    expect(clock.pending).toBe(0);
  });

  it('work that goes on after its time keeps its place until it ends', async () => {
    const stuck = [job(), job()];
    const results = stuck.map(({ work }) => runner.run(reply(), work).catch(String));
    await clock.advance(1000);
    expect(await Promise.all(results)).toEqual([
      expect.stringContaining('the query took longer than 1s'),
      expect.stringContaining('the query took longer than 1s'),
    ]);
    const next = job();
    const result = runner.run(reply(), next.work);
    await clock.advance(0);
    expect(next.state.running).toBe(false);
    stuck[0]!.end('late');
    await clock.advance(0);
    expect(next.state.running).toBe(true);
    next.end('now');
    await expect(result).resolves.toBe('now');
  });

  it('a failure gives its place back', async () => {
    for (let time = 0; time < 5; time++) {
      await expect(runner.run(reply(), () => Promise.reject(new Error('broken')))).rejects.toThrow(
        'broken',
      );
    }
  });
});

describe('ends', () => {
  it('the caller may want a shorter time, and no longer one', async () => {
    for (const [timeout, after] of [
      [200, 200],
      [5000, 1000],
    ] as const) {
      const result = runner.run(reply(), job().work, timeout).catch((error: unknown) => error);
      await clock.advance(after);
      expect(await result).toMatchObject({ code: 'timeout' });
    }
  });

  it('half a result is none: work that ends quietly when it is aborted', async () => {
    const raw = new Raw();
    const { work, end, state } = job();
    const result = runner.run(reply(raw), work).catch((error: unknown) => error);
    await clock.advance(0);
    raw.emit('close');
    expect(state.aborted).toBe(true);
    end('half');
    expect(await result).toMatchObject({ code: 'cancelled' });
  });

  it('a waiting query whose client goes never runs', async () => {
    const running = [job(), job()];
    const results = running.map(({ work }) => runner.run(reply(), work));
    const raw = new Raw();
    const waiting = job();
    const result = runner.run(reply(raw), waiting.work).catch((error: unknown) => error);
    await clock.advance(0);
    raw.emit('close');
    expect(await result).toMatchObject({ code: 'cancelled' });
    for (const { end } of running) end('done');
    await Promise.all(results);
    expect(waiting.state.running).toBe(false);
  });

  it('a client that is gone before it begins, and an answer that was sent', async () => {
    const raw = new Raw();
    raw.destroyed = true;
    await expect(runner.run(reply(raw), job().work)).rejects.toMatchObject({ code: 'cancelled' });
    const sent = new Raw();
    const { work, end, state } = job();
    const result = runner.run(reply(sent), work);
    await clock.advance(0);
    sent.writableFinished = true;
    sent.emit('close');
    expect(state.aborted).toBe(false);
    end('fine');
    await expect(result).resolves.toBe('fine');
  });

  it('abortAll gives up everything', async () => {
    const jobs = [job(), job(), job()];
    const results = jobs.map(({ work }) =>
      runner.run(reply(), work).catch((error: unknown) => error),
    );
    await clock.advance(0);
    runner.abortAll();
    for (const result of results) expect(await result).toMatchObject({ code: 'unavailable' });
  });
});
