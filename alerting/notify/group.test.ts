import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { State } from '../../core/contracts/state.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { deliveryMetrics, Sender } from './deliver.ts';
import { AlertGroup } from './group.ts';
import { NotificationLog } from './log.ts';
import type { NotifyAlert } from './message.ts';
import type { Route } from './route.ts';
import { webhookPayload } from './webhook.ts';

/** Group times against a manual clock, and a real server for what is sent. */
interface Answer {
  status: number;
  headers?: Record<string, string>;
}

let clock: ManualClock;
let server: Server;
let sent: string[];
let answers: Answer[];
let attempts: number;
let emptied: number;
const memory = new Map<string, unknown>();

const state = {
  list: (prefix: string) =>
    Promise.resolve(
      [...memory]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]) => ({ key, value, version: '1' })),
    ),
  put: (entries: { key: string; value: unknown }[]) => {
    for (const { key, value } of entries) memory.set(key, value);
    return Promise.resolve();
  },
  delete: (key: string) => Promise.resolve(void memory.delete(key)),
} as unknown as State;

beforeEach(async () => {
  clock = new ManualClock();
  sent = [];
  answers = [];
  attempts = 0;
  emptied = 0;
  memory.clear();
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      attempts++;
      const { status, headers = {} } = answers.shift() ?? { status: 200 };
      if (status === 200) {
        const { alerts } = JSON.parse(body) as {
          alerts: { status: string; labels: { id: string } }[];
        };
        sent.push(alerts.map((a) => `${a.labels.id}${a.status === 'firing' ? '!' : ''}`).join(' '));
      }
      response.writeHead(status, headers).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(
  () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
);

const route: Route = {
  key: '{}',
  receiver: 'r',
  groupBy: [],
  groupWait: 30_000,
  groupInterval: 300_000,
  repeatInterval: 14_400_000,
  continue: false,
  matches: () => true,
  routes: [],
};

async function makeGroup(changes: { route?: Partial<Route>; sendResolved?: boolean } = {}) {
  const log = new NotificationLog(state);
  await log.restore();
  const telemetry = { clock, log: pino({ level: 'silent' }), metrics: new Registry() };
  const { port } = server.address() as AddressInfo;
  const sender = new Sender(
    'r',
    {
      name: 'webhook[0]',
      sendResolved: changes.sendResolved ?? true,
      target: {
        url: () => `http://127.0.0.1:${port}/`,
        headers: () => ({}),
        followRedirects: true,
        timeout: 10_000,
      },
      payload: (message) => webhookPayload(message, 0),
    },
    telemetry,
    deliveryMetrics(telemetry),
  );
  return new AlertGroup('{}:{}', { ...route, ...changes.route }, {}, [sender], {
    telemetry,
    log,
    externalUrl: '',
    signal: new AbortController().signal,
    decorate: (alert) => alert,
    onEmpty: () => emptied++,
  });
}

const alert = (id: string, more: Partial<NotifyAlert> = {}): NotifyAlert => ({
  fingerprint: id,
  labels: { id },
  annotations: {},
  startsAt: clock.now(),
  generatorUrl: '',
  ...more,
});
const ended = (id: string): NotifyAlert =>
  alert(id, { startsAt: clock.now() - 60_000, endsAt: clock.now() });

/** Moves the clock, and lets what is on its way to the server arrive. */
async function after(ms: number, group: AlertGroup): Promise<string[]> {
  await clock.advance(ms);
  await group.settled();
  return sent.splice(0);
}

describe('a group', () => {
  it('waits group_wait, then tells all that came meanwhile', async () => {
    const group = await makeGroup();
    group.put(alert('a'));
    expect(await after(29_999, group)).toEqual([]);
    group.put(alert('b'));
    expect(await after(1, group)).toEqual(['a! b!']);
    group.stop();
  });

  it('tells what is new at the next interval, and nothing when nothing is', async () => {
    const group = await makeGroup();
    group.put(alert('a'));
    expect(await after(30_000, group)).toEqual(['a!']);
    group.put(alert('b'));
    expect(await after(299_999, group)).toEqual([]);
    expect(await after(1, group)).toEqual(['a! b!']);
    expect(await after(3_000_000, group)).toEqual([]);
    group.stop();
  });

  it('does not wait with group_wait 0s, nor for an alert that has waited already', async () => {
    const eager = await makeGroup({ route: { groupWait: 0 } });
    eager.put(alert('a'));
    expect(await after(0, eager)).toEqual(['a!']);
    eager.stop();
    memory.clear();
    const late = await makeGroup();
    late.put(alert('a', { startsAt: clock.now() - 30_000 }));
    expect(await after(0, late)).toEqual(['a!']);
    late.stop();
  });

  it('repeats after repeat_interval', async () => {
    const group = await makeGroup({ route: { repeatInterval: 600_000 } });
    group.put(alert('a'));
    expect(await after(30_000, group)).toEqual(['a!']);
    expect(await after(599_999, group)).toEqual([]);
    expect(await after(1, group)).toEqual(['a!']);
    group.stop();
  });

  it('tells of an end once, and is gone then', async () => {
    const group = await makeGroup();
    group.put(alert('a'));
    group.put(alert('b'));
    expect(await after(30_000, group)).toEqual(['a! b!']);
    group.put(ended('a'));
    expect(await after(300_000, group)).toEqual(['a b!']);
    group.put(ended('b'));
    expect(await after(300_000, group)).toEqual(['b']);
    expect(emptied).toBe(1);
    expect(await after(3_000_000, group)).toEqual([]);
  });

  it('says nothing of an alert that ended before anybody heard of it', async () => {
    const group = await makeGroup();
    group.put(alert('a'));
    await after(10_000, group);
    group.put(alert('a', { startsAt: clock.now() - 10_000, endsAt: clock.now() }));
    expect(await after(20_000, group)).toEqual([]);
    expect(emptied).toBe(1);
  });

  it('without send_resolved keeps ends to itself, and tells a new beginning', async () => {
    const group = await makeGroup({ sendResolved: false });
    group.put(alert('a'));
    expect(await after(30_000, group)).toEqual(['a!']);
    group.put(ended('a'));
    expect(await after(300_000, group)).toEqual([]);
    expect(emptied).toBe(1);
    const next = await makeGroup({ sendResolved: false });
    next.put(alert('a'));
    expect(await after(30_000, next)).toEqual(['a!']);
    next.stop();
  });

  it('after a restart tells only what is not known yet', async () => {
    const group = await makeGroup();
    group.put(alert('a', { startsAt: 0 }));
    expect(await after(0, group)).toEqual(['a!']);
    group.stop();
    const same = await makeGroup();
    same.put(alert('a', { startsAt: 0 }));
    expect(await after(0, same)).toEqual([]);
    same.stop();
    const gone = await makeGroup();
    gone.put(alert('a', { startsAt: 0, endsAt: 1 }));
    expect(await after(0, gone)).toEqual(['a']);
  });

  it('tells news about a heal at once, to those who know of the alert', async () => {
    const group = await makeGroup();
    group.put(alert('a'));
    group.update('a');
    expect(await after(0, group)).toEqual([]);
    expect(await after(30_000, group)).toEqual(['a!']);
    group.update('b');
    expect(await after(0, group)).toEqual([]);
    group.update('a');
    expect(await after(0, group)).toEqual(['a!']);
    expect(await after(600_000, group)).toEqual([]);
    group.stop();
  });

  it('tells news about a heal that came while the alert was on its way', async () => {
    const group = await makeGroup({ route: { groupWait: 0 } });
    server.once('request', () => group.update('a'));
    group.put(alert('a'));
    expect(await after(0, group)).toEqual(['a!', 'a!']);
    expect(await after(600_000, group)).toEqual([]);
    group.stop();
  });
});

describe('delivery', () => {
  /** Server answers and manual pauses alternate: moves on whenever an attempt is answered. */
  const attempted = (count: number): Promise<void> =>
    vi.waitFor(() => expect(attempts).toBe(count), { timeout: 10_000, interval: 2 });

  const paused = async (): Promise<void> =>
    vi.waitFor(() => expect(clock.pending).toBe(2), { timeout: 10_000, interval: 2 });

  it('tries again with growing pauses, and waits as long as Retry-After says', async () => {
    answers.push(
      { status: 500 },
      { status: 503 },
      { status: 429, headers: { 'retry-after': '20' } },
    );
    const group = await makeGroup({ route: { groupWait: 0 } });
    group.put(alert('a'));
    await attempted(1);
    await paused();
    await clock.advance(499);
    expect(attempts).toBe(1);
    await clock.advance(1);
    await attempted(2);
    await paused();
    await clock.advance(1000);
    await attempted(3);
    await paused();
    await clock.advance(19_999);
    expect(attempts).toBe(3);
    await clock.advance(1);
    await attempted(4);
    await group.settled();
    expect(sent).toEqual(['a!']);
    group.stop();
  });

  it('does not try again what is refused, until the next interval', async () => {
    answers.push({ status: 400 });
    const group = await makeGroup({ route: { groupWait: 0 } });
    group.put(alert('a'));
    await attempted(1);
    await group.settled();
    await clock.advance(299_999);
    expect(attempts).toBe(1);
    expect(await after(1, group)).toEqual(['a!']);
    group.stop();
  });

  it('sends what is true at the time of the attempt', async () => {
    answers.push({ status: 500 });
    const group = await makeGroup({ route: { groupWait: 0 } });
    group.put(alert('a'));
    await attempted(1);
    await paused();
    group.put(alert('b'));
    await clock.advance(500);
    await group.settled();
    expect(sent).toEqual(['a! b!']);
    group.stop();
  });
});
