import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../core/testing/clock.ts';
import type { Embedded } from '../open.ts';
import { makeFolder, openIn } from '../testing.ts';

const TTL = 9000;

let folder: Awaited<ReturnType<typeof makeFolder>>;
let clock: ManualClock;
let metrics: Registry;
let embedded: Embedded;

beforeEach(async () => {
  folder = await makeFolder();
  clock = new ManualClock();
  metrics = new Registry();
  embedded = await openIn(folder.path, { clock, metrics });
});
afterEach(async () => {
  await embedded.close();
  await folder.remove();
});

it('is free as soon as the process that held it is gone', async () => {
  const first = (await embedded.state.acquire('leader', 'a', TTL))!;
  await embedded.close();
  expect(first.signal.aborted).toBe(true);
  expect(await first.held()).toBe(false);
  embedded = await openIn(folder.path, { clock, metrics });
  const second = (await embedded.state.acquire('leader', 'b', TTL))!;
  expect([first.fence, second.fence]).toEqual([1, 2]);
});

it("passes from a holder's last life to its next one", async () => {
  const first = (await embedded.state.acquire('leader', 'a', TTL))!;
  const second = (await embedded.state.acquire('leader', 'a', TTL))!;
  expect(first.signal.reason).toMatchObject({ code: 'lease_lost' });
  expect(await first.held()).toBe(false);
  expect(await second.held()).toBe(true);
  expect(second.fence).toBe(first.fence + 1);
});

it('lasts to the millisecond when nothing renews it', async () => {
  const lease = (await embedded.state.acquire('leader', 'a', TTL))!;
  clock.jump(TTL - 1);
  expect(await lease.held()).toBe(true);
  clock.jump(1);
  expect(await embedded.state.acquire('leader', 'b', TTL)).toMatchObject({ holder: 'b' });
  expect(lease.signal.aborted).toBe(true);
  expect(await metrics.metrics()).toContain('reflexarc_state_leases_total{outcome="lost"} 1');
});

it('sets no timers for what is over', async () => {
  const before = clock.pending;
  const lease = (await embedded.state.acquire('leader', 'a', TTL))!;
  expect(clock.pending).toBe(before + 1);
  await lease.release();
  await vi.waitFor(() => expect(clock.pending).toBe(before));
});

it.each([0, -1, Number.NaN])('refuses %s as a time to live', async (ttl) => {
  const call = embedded.state.acquire('leader', 'a', ttl);
  await expect(call).rejects.toMatchObject({ code: 'bad_request' });
});
