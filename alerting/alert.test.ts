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
import type { Origin, Sample } from '../core/records/metric.ts';
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
  const arrivals: number[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      const status = answers.shift() ?? 200;
      if (status === 200) {
        got.push(JSON.parse(body) as Payload);
        arrivals.push(Date.now());
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
  return { got, answers, arrivals, url: `http://127.0.0.1:${port}/hook` };
}

const waitFor = (check: () => unknown): Promise<void> =>
  vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 15_000, interval: 5 });

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
    { container = 'c1', labels = {} }: { container?: string; labels?: Labels } = {},
  ): Promise<number> => {
    const now = Date.now();
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
    await waitFor(() => hook.got.length > 0);
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
});
