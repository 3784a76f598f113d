import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../core/clock.ts';
import type { LogQueryable, SampleQueryable } from '../core/contracts/queryable.ts';
import type { Labels } from '../core/labels.ts';
import type { ActionRecord } from '../core/records/action.ts';
import type { AlertRecord } from '../core/records/alert.ts';
import {
  decodeAlerts,
  decodeSamples,
  encodeLogs,
  encodeRecords,
  encodeSamples,
  lineId,
} from '../core/records/codec.ts';
import { isStale, type Origin, type Sample } from '../core/records/metric.ts';
import { formatRfc3339 } from '../core/time.ts';
import { makeFolder, openIn } from '../engines/embedded/testing.ts';
import { startAlerting } from './alert.ts';

const emptyStore: LogQueryable & SampleQueryable = {
  async *selectLogs() {},
  countLogs: () => Promise.resolve([]),
  selectSamples: () => Promise.resolve([]),
};

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Payload {
  status: string;
  receiver: string;
  alerts: {
    status: string;
    labels: Labels;
    annotations: Labels;
    startsAt: string;
    endsAt: string;
    fingerprint: string;
  }[];
}

/** A receiver that keeps what it gets, and answers what it is told to. */
async function receiver() {
  const got: Payload[] = [];
  const answers: number[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      const status = answers.shift() ?? 200;
      if (status === 200) {
        got.push(JSON.parse(body) as Payload);
      }
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  return { got, answers, url: `http://127.0.0.1:${port}/hook` };
}

const waitFor = (check: () => unknown): Promise<void> =>
  vi.waitFor(async () => expect(await check()).toBeTruthy(), { timeout: 15_000, interval: 5 });

async function setUp(files: Record<string, string>) {
  const folder = await makeFolder();
  cleanups.push(() => folder.remove());
  const dir = join(folder.path, 'config');
  mkdirSync(join(dir, 'rules'), { recursive: true });
  const write = (name: string, text: string): void => {
    // As editors do: a new file takes the old one's place.
    writeFileSync(join(dir, `${name}.new`), text);
    renameSync(join(dir, `${name}.new`), join(dir, name));
  };
  for (const [name, text] of Object.entries(files)) write(name, text);

  let engine = await openIn(join(folder.path, 'data'));
  const alerts: AlertRecord[] = [];
  const samples: Sample[] = [];
  const listen = async (): Promise<void> => {
    await engine.bus.subscribe(
      'alerts',
      'test',
      ({ messages }) => {
        for (const { value } of messages) alerts.push(...decodeAlerts(value).records);
        return Promise.resolve(undefined);
      },
      { ephemeral: true, start: 'latest' },
    );
    await engine.bus.subscribe(
      'metrics',
      'test',
      ({ messages }) => {
        for (const { value } of messages) samples.push(...decodeSamples(value).records);
        return Promise.resolve(undefined);
      },
      { ephemeral: true, start: 'latest' },
    );
  };
  await listen();
  const registry = () => new Registry();
  let metrics = registry();
  const start = async () => {
    metrics = registry();
    const alerting = await startAlerting({
      telemetry: {
        log: pino({ level: process.env['TEST_LOG'] ?? 'silent' }),
        metrics,
        clock: systemClock,
      },
      dir,
      env: {},
      bus: engine.bus,
      state: engine.state,
      store: emptyStore,
      externalUrl: 'http://reflexarc.test',
    });
    cleanups.push(() => alerting.stop());
    await waitFor(() => alerting.ready().ok);
    await waitFor(async () => (await value('reflexarc_alerting_leading')) === 1);
    return alerting;
  };
  const value = async (name: string): Promise<number | undefined> =>
    (await metrics.getSingleMetric(name)?.get())?.values[0]?.value;
  cleanups.push(() => engine.close());

  let position = 0;
  const log = async (
    line: string,
    {
      container = 'c1',
      labels = {},
      ago = 0,
    }: { container?: string; labels?: Labels; ago?: number } = {},
  ): Promise<number> => {
    const now = Date.now() - ago;
    await engine.bus.publish('logs', [
      {
        key: container,
        records: 1,
        value: encodeLogs([
          {
            timestamp: formatRfc3339(BigInt(now) * 1_000_000n),
            id: lineId(container, ++position),
            position,
            line,
            stream: {
              labels: { service: 'web', stream: 'stdout', ...labels },
              resource: {
                'container.id': container,
                'reflexarc.source': `docker:${container}`,
                'reflexarc.start': '2026-01-01T00:00:00Z',
              },
            },
          },
        ]),
      },
    ]);
    return now;
  };
  const sample = (labels: Labels, v: number, origin?: Origin): Promise<void> =>
    engine.bus.publish('metrics', [
      {
        key: 'host',
        records: 1,
        value: encodeSamples([
          { labels, value: v, timestamp: Date.now(), ...(origin === undefined ? {} : { origin }) },
        ]),
      },
    ]);
  const act = (action: Partial<ActionRecord>, alert: AlertRecord): Promise<void> => {
    const record: ActionRecord = {
      id: `a${++position}`,
      timestamp: Date.now(),
      case: 'case-1',
      phase: 'started',
      message: 'restarting web',
      remediation: 'restart-crashed',
      alert: {
        fingerprint: alert.fingerprint,
        name: alert.labels['alertname'] ?? '',
        labels: alert.labels,
      },
      dryRun: false,
      ...action,
    };
    return engine.bus.publish('actions', [
      { key: record.case, value: encodeRecords([record]), records: 1 },
    ]);
  };
  const reopen = async (): Promise<void> => {
    await engine.close();
    engine = await openIn(join(folder.path, 'data'));
    await listen();
  };
  return {
    dir,
    write,
    remove: (name: string) => rmSync(join(dir, name)),
    alerts,
    samples,
    start,
    value,
    log,
    sample,
    act,
    reopen,
    bus: () => engine.bus,
    state: () => engine.state,
  };
}

const refused = (interval: string, more = ''): string => `
groups:
  - name: web
    type: logql
    interval: ${interval}
    rules:
      - alert: Refused
        expr: sum by (service) (count_over_time({stream="stdout"} |= "refused" [1s])) > 0
        labels: { severity: critical }
        annotations: { summary: '{{ $labels.service }} has {{ $value }} refusals' }
${more}`;

const notify = (url: string, more = ''): string => `
route: { receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 200ms, ${more} }
receivers:
  - name: hook
    webhook_configs: [{ url: '${url}' }]
  - name: on-call
    webhook_configs: [{ url: '${url}' }]
`;

describe('a rule on log lines', () => {
  it('fires before the next tick, tells evidence, receiver and store, and resolves at a tick', async () => {
    const hook = await receiver();
    const arc = await setUp({ 'rules/web.yaml': refused('1s'), 'notify.yaml': notify(hook.url) });
    await arc.start();
    await arc.log('fine');
    const written = await arc.log('connection refused');
    await waitFor(() => hook.got.length > 0 && arc.alerts.length > 0);
    expect(arc.alerts.map(({ state, cause }) => [state, cause])).toContainEqual([
      'firing',
      'transition',
    ]);
    const [firing] = arc.alerts;
    expect(firing).toMatchObject({
      labels: { alertname: 'Refused', service: 'web', severity: 'critical' },
      annotations: { summary: 'web has 1 refusals' },
      value: 1,
      rule: { file: 'rules/web.yaml', group: 'web', name: 'Refused', kind: 'logql', for: 0 },
      evidence: [
        { text: 'connection refused', origin: { id: 'c1', startedAt: '2026-01-01T00:00:00Z' } },
      ],
      silencedBy: [],
      inhibitedBy: [],
    });
    expect(firing?.startsAt).toBeGreaterThanOrEqual(written);
    await waitFor(() => hook.got.length > 1);
    expect(hook.got.map(({ status }) => status)).toEqual(['firing', 'resolved']);
    await waitFor(() => arc.alerts.at(-1)?.state === 'resolved');
    expect(new Set(arc.alerts.map(({ id }) => id)).size).toBe(arc.alerts.length);
  });

  it('tells news about a firing alert: a new container at once, the rest once a second', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    await arc.start();
    await arc.log('refused 1');
    await waitFor(() => arc.alerts.length === 1);
    await arc.log('refused 2', { container: 'c2' });
    await waitFor(() => arc.alerts.length === 2);
    expect(arc.alerts[1]).toMatchObject({ cause: 'evidence', state: 'firing' });
    expect(arc.alerts[1]?.evidence.map(({ origin }) => origin?.id)).toEqual(['c2', 'c1']);
    for (let n = 3; n < 10; n++) await arc.log(`refused ${n}`, { container: 'c2' });
    await waitFor(() => arc.alerts.at(-1)?.evidence[0]?.text === 'refused 9');
    expect(arc.alerts.length).toBeLessThan(6);
    expect(arc.alerts.at(-1)?.evidence.map(({ text }) => text)).toEqual(
      [9, 8, 7, 6, 5, 4, 3, 2, 1].map((n) => `refused ${n}`),
    );
    const [first, second] = arc.alerts;
    expect((second?.timestamp ?? 0) - (first?.timestamp ?? 0)).toBeLessThan(1000);
    expect(new Set(arc.alerts.map(({ id }) => id)).size).toBe(arc.alerts.length);
  });

  it('names every container, however late its line comes', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    await arc.start();
    await arc.log('refused 1');
    await waitFor(() => arc.alerts.length === 1);
    // Other tails are behind: the newest line stays the newest.
    await arc.log('refused 2', { container: 'c2', ago: 2000 });
    await waitFor(() => arc.alerts.length === 2);
    await arc.log('refused 3', { container: 'c3', ago: 3000 });
    await waitFor(() => arc.alerts.length === 3);
    expect(arc.alerts[2]?.evidence.map(({ origin }) => origin?.id)).toEqual(['c1', 'c2', 'c3']);
    expect(new Set(arc.alerts.map(({ id }) => id)).size).toBe(3);
  });

  it('names every container, however many there are, and however much one of them says', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    await arc.start();
    const all = Array.from({ length: 25 }, (_, n) => `c${n}`);
    const of = (container: string) => ({ container, labels: { container } });
    await Promise.all(all.map((name) => arc.log('refused', { ...of(name), ago: 1000 })));
    for (let n = 0; n < 20; n++) await arc.log('refused again', of('c0'));
    await waitFor(() => {
      const named = arc.alerts.flatMap(({ evidence }) => evidence.map(({ origin }) => origin?.id));
      return new Set(named).size === all.length;
    });
    expect(new Set(arc.alerts.map(({ id }) => id)).size).toBe(arc.alerts.length);
  });

  it('tells what passed while nobody evaluated, about what fired before', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    const first = await arc.start();
    await arc.log('refused');
    await waitFor(() => arc.alerts.length === 1);
    await first.stop();
    await arc.log('refused', { container: 'c2' });
    await arc.start();
    await waitFor(() => arc.alerts.length === 2);
    expect(arc.alerts[1]).toMatchObject({ cause: 'evidence', state: 'firing' });
    expect(arc.alerts[1]?.evidence.map(({ origin }) => origin?.id)).toContain('c2');
  });

  it('does not take its own start for the absence of lines', async () => {
    const arc = await setUp({
      'rules/web.yaml': `
groups:
  - name: web
    type: logql
    interval: 1h
    rules:
      - alert: Quiet
        expr: absent_over_time({service="db"} [1h])
      - alert: Refused
        expr: count_over_time({service="web"} |= "refused" [1h]) > 0
`,
    });
    await arc.log('refused');
    await arc.start();
    await waitFor(() => arc.alerts.length > 0);
    expect(arc.alerts.map(({ labels }) => labels['alertname'])).toEqual(['Refused']);
  });

  it('holds through a restart: nothing is told twice, nothing is forgotten', async () => {
    const hook = await receiver();
    const arc = await setUp({ 'rules/web.yaml': refused('1s'), 'notify.yaml': notify(hook.url) });
    const first = await arc.start();
    await arc.log('refused');
    await waitFor(() => hook.got.length === 1 && arc.alerts.length === 1);
    await first.stop();
    await arc.reopen();
    await arc.start();
    await waitFor(() => hook.got.length === 2 && arc.alerts.length === 2);
    expect(hook.got.map(({ status }) => status)).toEqual(['firing', 'resolved']);
    expect(arc.alerts.map(({ state }) => state)).toEqual(['firing', 'resolved']);
    expect(arc.alerts[1]?.startsAt).toBe(arc.alerts[0]?.startsAt);
  });

  it('does not count a line that comes again', async () => {
    const arc = await setUp({
      'rules/web.yaml': refused('1h').replace('> 0', '> 1').replace('[1s]', '[1h]'),
    });
    await arc.start();
    const value = encodeLogs([
      {
        timestamp: formatRfc3339(BigInt(Date.now()) * 1_000_000n),
        id: 'x',
        position: 7,
        line: 'refused',
        stream: { labels: { stream: 'stdout' }, resource: { 'reflexarc.source': 's' } },
      },
    ]);
    for (let n = 0; n < 3; n++) await arc.bus().publish('logs', [{ key: 'c', records: 1, value }]);
    await waitFor(async () => (await arc.value('reflexarc_alerting_window_repeats_total')) === 2);
    await arc.log('refused');
    await arc.log('refused');
    await waitFor(() => arc.alerts.length > 0);
    expect(arc.alerts[0]?.labels).toMatchObject({ service: 'web' });
  });
});

describe('rule files while running', () => {
  it('an invalid edit keeps what runs; a good one takes over; removed rules end', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    await arc.start();
    await arc.log('refused');
    await waitFor(() => arc.alerts.length === 1);
    expect(await arc.value('reflexarc_alerting_config_last_reload_successful')).toBe(1);

    arc.write('rules/web.yaml', 'groups: [{ name: web, rulez: [] }]');
    await waitFor(
      async () => (await arc.value('reflexarc_alerting_config_last_reload_successful')) === 0,
    );
    await arc.log('refused again', { container: 'c9' });
    await waitFor(() => arc.alerts.length === 2);
    expect(arc.alerts[1]).toMatchObject({ state: 'firing', cause: 'evidence' });

    // The rule stays and keeps its alert, and another one comes.
    arc.write(
      'rules/web.yaml',
      refused(
        '1h',
        `      - alert: Gone
        expr: count_over_time({stream="stdout"} |= "gone" [1h]) > 0`,
      ).replace('[1s]', '[1h]'),
    );
    await waitFor(
      async () => (await arc.value('reflexarc_alerting_config_last_reload_successful')) === 1,
    );
    await arc.log('gone');
    await waitFor(() => arc.alerts.some(({ labels }) => labels['alertname'] === 'Gone'));
    expect(arc.alerts.filter(({ state }) => state === 'resolved')).toEqual([]);

    arc.remove('rules/web.yaml');
    await waitFor(() => arc.alerts.filter(({ state }) => state === 'resolved').length === 2);
    const transitions = arc.alerts.filter(({ cause }) => cause === 'transition');
    expect(
      transitions.map(({ labels, state }) => `${labels['alertname']} ${state}`).sort(),
    ).toEqual(['Gone firing', 'Gone resolved', 'Refused firing', 'Refused resolved']);
  });

  it('starts with the files that are right', async () => {
    const arc = await setUp({
      'rules/a.yaml': 'groups: [{ nam: x }]',
      'rules/b.yaml': refused('1h').replace('[1s]', '[1h]'),
    });
    await arc.start();
    expect(await arc.value('reflexarc_alerting_config_last_reload_successful')).toBe(0);
    await arc.log('refused');
    await waitFor(() => arc.alerts.length === 1);
  });

  it('ends, at the start, what was raised by rules that are gone', async () => {
    const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
    const first = await arc.start();
    await arc.log('refused');
    await waitFor(() => arc.alerts.length === 1);
    await first.stop();
    arc.remove('rules/web.yaml');
    await arc.start();
    await waitFor(() => arc.alerts.length === 2);
    expect(arc.alerts[1]).toMatchObject({ state: 'resolved', rule: { name: 'Refused' } });
  });
});

describe('rules on metrics', () => {
  it('records, alerts, and publishes ALERTS with staleness markers', async () => {
    const arc = await setUp({
      'rules/up.yaml': `
groups:
  - name: up
    interval: 500ms
    rules:
      - record: service:up:min
        expr: min by (service) (up)
        labels: { by: rule }
      - alert: Down
        expr: service:up:min{by="rule"} == 0
        annotations: { summary: '{{ $labels.service }} is down' }
`,
    });
    await arc.start();
    const origin = { id: 'c1', startedAt: '2026-01-01T00:00:00Z' };
    await arc.sample({ __name__: 'up', service: 'web', container: 'a' }, 0, origin);
    await waitFor(() => arc.alerts.length > 0);
    expect(arc.alerts[0]).toMatchObject({
      state: 'firing',
      labels: { alertname: 'Down', service: 'web', by: 'rule' },
      annotations: { summary: 'web is down' },
    });
    const named = (name: string): Sample[] =>
      arc.samples.filter(({ labels }) => labels['__name__'] === name);
    await waitFor(() => named('ALERTS').length > 0);
    expect(named('ALERTS')[0]).toMatchObject({
      labels: { alertname: 'Down', alertstate: 'firing', service: 'web', by: 'rule' },
      value: 1,
    });
    expect(named('ALERTS_FOR_STATE')[0]?.value).toBe((arc.alerts[0]?.activeAt ?? 0) / 1000);
    expect(named('service:up:min')[0]).toMatchObject({
      labels: { service: 'web', by: 'rule' },
      value: 0,
    });
    await arc.sample({ __name__: 'up', service: 'web', container: 'a' }, 1, origin);
    await waitFor(() => arc.alerts.at(-1)?.state === 'resolved');
    await waitFor(() => named('ALERTS').some(({ value }) => isStale(value)));
  });

  it('gives the newest samples and their containers as evidence', async () => {
    const arc = await setUp({
      'rules/up.yaml': `
groups:
  - name: up
    interval: 1h
    rules:
      - alert: Down
        expr: up == 0
`,
    });
    await arc.start();
    const origin = { id: 'c1', startedAt: '2026-01-01T00:00:00Z' };
    await arc.sample({ __name__: 'up', service: 'db' }, 0);
    await arc.sample({ __name__: 'up', service: 'web' }, 0, origin);
    await waitFor(() => arc.alerts.length > 1);
    const web = arc.alerts.find(({ labels }) => labels['service'] === 'web');
    expect(web?.evidence).toMatchObject([{ text: 'up{service="web"} 0', origin }]);
    await arc.sample({ __name__: 'up', service: 'web' }, 0, { ...origin, id: 'c2' });
    await waitFor(() => arc.alerts.some(({ cause }) => cause === 'evidence'));
    expect(arc.alerts.at(-1)).toMatchObject({
      labels: { service: 'web' },
      evidence: [{ origin: { id: 'c2' } }],
    });
  });
});

describe('a rule that cannot be evaluated', () => {
  it('is counted, keeps its alerts, and hinders no other', async () => {
    const arc = await setUp({
      'rules/up.yaml': `
groups:
  - name: up
    interval: 200ms
    rules:
      - alert: Joined
        expr: a * on (service) b > 0
      - alert: Down
        expr: up == 0
  - name: few
    interval: 200ms
    limit: 1
    rules:
      - alert: TooMany
        expr: c > 0
`,
    });
    await arc.start();
    const named = (name: string): string[] =>
      arc.alerts
        .filter(({ labels, cause }) => labels['alertname'] === name && cause === 'transition')
        .map(({ state }) => state);
    await arc.sample({ __name__: 'a', service: 'web' }, 1);
    await arc.sample({ __name__: 'b', service: 'web' }, 1);
    await arc.sample({ __name__: 'c', n: '1' }, 1);
    await waitFor(() => named('Joined').length === 1 && named('TooMany').length === 1);
    // Now the right side has two: many-to-one matching was not asked for.
    await arc.sample({ __name__: 'b', service: 'web', n: '2' }, 1);
    await arc.sample({ __name__: 'c', n: '2' }, 1);
    await waitFor(
      async () => ((await arc.value('reflexarc_alerting_rule_evaluation_failures_total')) ?? 0) > 1,
    );
    await arc.sample({ __name__: 'up', service: 'web' }, 0);
    await waitFor(() => named('Down').length === 1);
    expect(named('Joined')).toEqual(['firing']);
    // Beyond the limit a rule's alerts are cleared, as Prometheus does.
    await waitFor(() => named('TooMany').length === 2);
    expect(named('TooMany')).toEqual(['firing', 'resolved']);
  });
});

describe('notifying', () => {
  it('tries again, and a dead receiver holds up no other', async () => {
    const [good, bad] = [await receiver(), await receiver()];
    bad.answers.push(503);
    const arc = await setUp({
      'rules/web.yaml': refused('1h').replace('[1s]', '[1h]'),
      'notify.yaml': `
route: { receiver: both, group_wait: 0s }
receivers:
  - name: both
    webhook_configs:
      - { url: 'http://127.0.0.1:1/dead' }
      - { url: '${bad.url}' }
      - { url: '${good.url}' }
`,
    });
    await arc.start();
    await arc.log('refused');
    await waitFor(() => good.got.length === 1);
    expect(bad.got).toEqual([]);
    await waitFor(() => bad.got.length === 1);
    expect(await arc.value('reflexarc_alerting_notification_retries_total')).toBeGreaterThan(0);
  });

  it('tells how the heal goes on, and sends what a notify step asks for', async () => {
    const hook = await receiver();
    const arc = await setUp({
      'rules/web.yaml': refused('1h').replace('[1s]', '[1h]'),
      'notify.yaml': notify(hook.url).replace('group_interval: 200ms', 'group_interval: 1h'),
    });
    await arc.start();
    await arc.log('refused');
    await waitFor(() => hook.got.length === 1 && arc.alerts.length === 1);
    const alert = arc.alerts[0]!;
    await arc.act({ phase: 'started' }, alert);
    await arc.act({ phase: 'verified', message: 'restarted web, verified after 3.2s' }, alert);
    await waitFor(() => hook.got.length === 2);
    expect(hook.got[1]).toMatchObject({
      status: 'firing',
      receiver: 'hook',
      alerts: [
        {
          status: 'firing',
          annotations: {
            summary: 'web has 1 refusals',
            remediation: 'restart-crashed: restarted web, verified after 3.2s',
          },
        },
      ],
    });
    await arc.act({ phase: 'notified', receiver: 'on-call', message: 'please look' }, alert);
    await waitFor(() => hook.got.length === 3);
    expect(hook.got[2]).toMatchObject({
      status: 'firing',
      receiver: 'on-call',
      alerts: [
        {
          labels: { alertname: 'Refused' },
          annotations: { remediation: 'restart-crashed: please look' },
        },
      ],
    });
  });
});

it('tells how a heal ended that took longer than its alert', async () => {
  const hook = await receiver();
  const arc = await setUp({ 'rules/web.yaml': refused('200ms'), 'notify.yaml': notify(hook.url) });
  await arc.start();
  await arc.log('refused');
  await waitFor(() => hook.got.length === 2 && arc.alerts.length === 2);
  expect(hook.got.map(({ status }) => status)).toEqual(['firing', 'resolved']);
  await arc.act({ phase: 'refused', reason: 'changed' }, arc.alerts[0]!);
  await arc.act({ phase: 'exhausted', message: 'it did not help' }, arc.alerts[0]!);
  await waitFor(() => hook.got.length === 3);
  expect(hook.got[2]).toMatchObject({
    status: 'resolved',
    alerts: [
      { status: 'resolved', annotations: { remediation: 'restart-crashed: it did not help' } },
    ],
  });
});

it('a standby takes over when the leader is gone, and only then', async () => {
  const arc = await setUp({ 'rules/web.yaml': refused('1h').replace('[1s]', '[1h]') });
  const first = await arc.start();
  const metrics = new Registry();
  const standby = await startAlerting({
    telemetry: { log: pino({ level: 'silent' }), metrics, clock: systemClock },
    dir: arc.dir,
    env: {},
    bus: arc.bus(),
    state: arc.state(),
    store: emptyStore,
    externalUrl: '',
  });
  cleanups.push(() => standby.stop());
  await waitFor(() => standby.ready().ok);
  await arc.log('refused');
  await waitFor(() => arc.alerts.length === 1);
  await first.stop();
  await waitFor(
    async () =>
      (await metrics.getSingleMetric('reflexarc_alerting_leading')?.get())?.values[0]?.value === 1,
  );
  await arc.log('refused again', { container: 'c2' });
  await waitFor(() => arc.alerts.length === 2);
  expect(arc.alerts.map(({ cause }) => cause)).toEqual(['transition', 'evidence']);
});
