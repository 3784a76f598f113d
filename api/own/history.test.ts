import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
const MINUTE = 60_000;

beforeAll(async () => {
  server = await startTestServer({ config: { query: { max_lines: 500 } } });
  const now = server.clock.now();
  const alert = (index: number, service: string, value: number): AlertRecord => ({
    id: `alert-${index}`,
    timestamp: now - index * MINUTE,
    fingerprint: `f-${service}`,
    state: 'firing',
    cause: 'transition',
    labels: { alertname: 'Broken', service },
    annotations: {},
    activeAt: now,
    value,
    rule: { file: 'a.yaml', group: 'g', name: 'Broken', kind: 'logql', expr: 'x', for: 0 },
    evidence: [],
    silencedBy: [],
    inhibitedBy: [],
  });
  const action = (index: number, service: string, id: string): ActionRecord => ({
    id: `action-${index}`,
    timestamp: now - index * MINUTE,
    case: id,
    phase: 'decided',
    message: 'restart',
    remediation: 'restart-crashed',
    alert: { fingerprint: `f-${service}`, name: 'Broken', labels: {} },
    target: { runtime: 'local', service },
    dryRun: false,
  });
  server.store.alertRecords = [
    alert(3, 'web', 1),
    alert(1, 'db', Number.NaN),
    alert(2, 'web', Number.POSITIVE_INFINITY),
    alert(6000, 'web', 5),
  ];
  server.store.actionRecords = [
    action(2, 'web', 'c1'),
    action(1, 'web', 'c2'),
    action(3, 'db', 'c3'),
  ];
});
afterAll(() => server.api.stop());

const ids = async (path: string) => {
  const response = await server.get(path);
  expect(response.status).toBe(200);
  const body = (await response.json()) as {
    alerts?: { id: string }[];
    actions?: { id: string }[];
    more: boolean;
  };
  return [...(body.alerts ?? body.actions ?? []).map(({ id }) => id), ...(body.more ? ['…'] : [])];
};

describe('newest first', () => {
  it.each([
    ['/api/alerts', ['alert-1', 'alert-2', 'alert-3', 'alert-6000']],
    ['/api/alerts?service=web&since=1h', ['alert-2', 'alert-3']],
    ['/api/alerts?service=web&limit=1', ['alert-2', '…']],
    ['/api/alerts?fingerprint=f-db', ['alert-1']],
    ['/api/alerts?since=2025-12-31T23:57:30Z&until=90s', ['alert-2']],
    ['/api/alerts?since=1767225480', ['alert-1', 'alert-2']],
    ['/api/alerts?service=none', []],
    ['/api/actions', ['action-1', 'action-2', 'action-3']],
    ['/api/actions?case=c1', ['action-2']],
    ['/api/actions?fingerprint=f-web&until=1m30s', ['action-2']],
    ['/api/actions?limit=2', ['action-1', 'action-2', '…']],
  ])('%s', async (path, expected) => expect(await ids(path)).toEqual(expected));
});

it('numbers that JSON does not have keep their names', async () => {
  const response = await server.get('/api/alerts?limit=3');
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  const { alerts } = (await response.json()) as { alerts: { value: unknown }[] };
  expect(alerts.map(({ value }) => value)).toEqual(['NaN', '+Inf', 1]);
});

describe('refusals', () => {
  it.each([
    ['/api/alerts?servce=web', 400, 'bad_request', 'did you mean service?'],
    ['/api/alerts?case=c1', 400, 'bad_request', 'known here: '],
    ['/api/alerts?since=soon', 400, 'bad_request', 'RFC 3339'],
    ['/api/alerts?since=5m1h', 400, 'bad_request', undefined],
    ['/api/alerts?since=1m&until=1h', 400, 'bad_request', undefined],
    ['/api/alerts?limit=0', 400, 'bad_request', undefined],
    ['/api/actions?limit=501', 422, 'limit_exceeded', 'query.max_lines'],
  ])('%s', async (path, status, code, hint) => {
    const response = await server.get(path);
    const body = (await response.json()) as { error: { code: string; hint?: string } };
    expect(response.status).toBe(status);
    expect(body.error.code).toBe(code);
    if (hint !== undefined) expect(body.error.hint).toContain(hint);
  });
});

it('status tells of the services and the store', async () => {
  const other = await startTestServer({
    services: [
      { name: 'collect', ready: () => ({ ok: true }), stop: async () => undefined },
      {
        name: 'ingest',
        ready: () => ({ ok: false, reason: 'behind' }),
        stop: async () => undefined,
      },
    ],
  });
  const response = await other.get('/api/status');
  expect(await response.json()).toEqual({
    version: expect.any(String),
    services: [
      { name: 'collect', ready: true },
      { name: 'ingest', ready: false, reason: 'behind' },
    ],
    store: { bytes: 1024, logs: 0, samples: 0 },
  });
  for (const [path, body] of [
    ['/readyz', 'ingest: behind\n'],
    ['/ready', 'ingest: behind\n'],
  ] as const) {
    const probe = await other.get(path);
    expect([probe.status, await probe.text()]).toEqual([503, body]);
  }
  expect((await other.get('/healthz')).status).toBe(200);
  await other.api.stop();
});
