import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.ts';
import type { Bus, Message } from '../core/contracts/bus.ts';
import type { LogRow } from '../core/contracts/queryable.ts';
import type { Store } from '../core/contracts/store.ts';
import { ReflexarcError } from '../core/errors.ts';
import { decodeLogs, encodeLogs, encodeRecords, StreamCache } from '../core/records/codec.ts';
import type { LogRecord } from '../core/records/log.ts';
import type { Service } from '../core/service.ts';
import { openStoreIn } from '../engines/embedded/store/testing.ts';
import { makeFolder, openIn } from '../engines/embedded/testing.ts';
import { until } from '../test/support/wait.ts';
import { startIngest } from './ingest.ts';

const stream = {
  labels: { service: 'web' },
  resource: { 'reflexarc.source': 's', 'reflexarc.generation': '1' },
};
const record = (number: number): LogRecord => ({
  timestamp: '2026-01-02T03:04:05.000000000Z',
  id: `i${number}`,
  position: number,
  line: `line ${number}`,
  stream,
});
const message = (...numbers: number[]) => ({
  key: 'k',
  value: encodeLogs(numbers.map(record)),
  records: numbers.length,
});

describe('ingest', () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let storeFolder: Awaited<ReturnType<typeof makeFolder>>;
  let embedded: Awaited<ReturnType<typeof openIn>>;
  let bus: Bus;
  let store: Store;
  let metrics: Registry;
  let ingest: Service | undefined;
  beforeEach(async () => {
    folder = await makeFolder();
    storeFolder = await makeFolder();
    embedded = await openIn(folder.path);
    bus = embedded.bus;
    store = await openStoreIn(storeFolder.path);
    metrics = new Registry();
  });
  afterEach(async () => {
    await ingest?.stop();
    ingest = undefined;
    await store.close();
    await embedded.close();
    await folder.remove();
    await storeFolder.remove();
  });

  const start = async (over: Partial<Store> = {}): Promise<Service> => {
    const given: Store = Object.assign(Object.create(store) as Store, {
      append: store.append.bind(store),
      position: store.position.bind(store),
      retain: store.retain.bind(store),
      ...over,
    });
    const telemetry = { log: pino({ level: 'silent' }), metrics, clock: systemClock };
    ingest = await startIngest({ telemetry, bus, store: given });
    return ingest;
  };
  const rows = async (
    matchers: { name: string; op: '='; value: string }[] = [],
  ): Promise<LogRow[]> => {
    const found: LogRow[] = [];
    const query = {
      start: 0n,
      end: 2n ** 62n,
      matchers,
      filters: [],
      direction: 'forward',
    } as const;
    for await (const part of store.selectLogs(query, new AbortController().signal)) {
      found.push(...part);
    }
    return found;
  };
  const lines = async (): Promise<string[]> => (await rows()).map(({ line }) => line);
  const letters = async (count: number): Promise<LogRecord[]> => {
    const messages: Message[] = [];
    const subscription = await bus.subscribe(
      'dead-letters',
      'test',
      async (delivery) => {
        messages.push(...delivery.messages);
        return undefined;
      },
      { ephemeral: true, start: { time: 0n } },
    );
    await until('dead letters', () => messages.length >= count);
    await subscription.close();
    return messages.flatMap(({ value }) => [...decodeLogs(value, new StreamCache()).records]);
  };

  it('stores what is on the bus, and goes on where it stopped', async () => {
    await bus.publish('logs', [message(1, 2), message(3)]);
    await start();
    await until('lines', async () => (await lines()).length === 3);
    expect(ingest?.ready()).toEqual({ ok: true });
    await ingest?.stop();
    expect(await store.position('ingest', 'logs', 0)).toBe(2);
    await bus.publish('logs', [message(3, 4)]);
    metrics = new Registry();
    await start();
    await until('the new line', async () => (await lines()).length === 4);
    const text = await metrics.metrics();
    expect(text).toContain('reflexarc_ingest_received_total{topic="logs"} 2');
    expect(text).toContain('reflexarc_ingest_stored_total{topic="logs"} 1');
    expect(text).toContain('reflexarc_ingest_repeated_total{topic="logs"} 1');
    expect(text).toContain('reflexarc_ingest_lag_messages{topic="logs"} 0');
  });

  it('sends what cannot be stored to the dead letters, with its bytes', async () => {
    const odd = Buffer.from([0xff, 0xfe, 0x00, 0x41]);
    await bus.publish('logs', [
      message(1),
      { key: 'k', value: Buffer.concat([Buffer.from('{"no":"time"}\n'), odd]), records: 2 },
    ]);
    await start();
    const found = await letters(2);
    expect(found.map(({ line }) => line)).toEqual(['{"no":"time"}', odd.toString()]);
    expect(found[0]).toMatchObject({
      stream: { labels: { stream: 'dead-letters', topic: 'logs' } },
      fields: { 'reflexarc.topic': 'logs', 'reflexarc.offset': 1, 'reflexarc.line': 0 },
    });
    expect(found[1]?.fields?.['reflexarc.original']).toBe(odd.toString('base64'));
    expect(
      (await rows([{ name: 'service', op: '=', value: 'web' }])).map(({ line }) => line),
    ).toEqual(['line 1']);
    await until('its count', async () =>
      (await metrics.metrics()).includes(
        'reflexarc_ingest_rejected_total{topic="logs",reason="not_json"} 1',
      ),
    );
  });

  it('stores dead letters as lines that a query finds, with their reason, once', async () => {
    const own = Buffer.from('{"service.name":"web","host.name":"h","message":"no time"}');
    await bus.publish('logs', [{ key: 'k', value: own, records: 1 }]);
    const letter = encodeLogs([
      {
        ...record(7),
        id: 'letter',
        line: 'no json',
        stream: { labels: { service: 'web', stream: 'dead-letters' }, resource: {} },
      },
    ]);
    await bus.publish('dead-letters', [{ key: 'k', value: letter, records: 1 }]);
    await bus.publish('dead-letters', [{ key: 'k', value: letter, records: 1 }]);
    await start();
    const found = await until('both', async () => {
      const some = await rows([{ name: 'stream', op: '=', value: 'dead-letters' }]);
      return some.length === 2 && some;
    });
    expect(found.map(({ line }) => line)).toEqual(['no json', own.toString()]);
    expect(found[1]).toMatchObject({
      labels: { service: 'web', host: 'h', stream: 'dead-letters', level: 'error' },
      metadata: {
        reason: expect.stringContaining('timestamp') as string,
        topic: 'logs',
        offset: '0',
      },
    });
    await ingest?.stop();
    expect(await store.position('ingest', 'dead-letters', 0)).toBe(3);
  });

  it('makes no dead letter of a dead letter', async () => {
    await bus.publish('dead-letters', [{ key: 'k', value: Buffer.from('bad'), records: 1 }]);
    await start();
    await until('its count', async () =>
      (await metrics.metrics()).includes(
        'reflexarc_ingest_rejected_total{topic="dead-letters",reason="not_json"} 1',
      ),
    );
    await ingest?.stop();
    expect(await store.position('ingest', 'dead-letters', 0)).toBe(1);
    expect(await letters(1)).toEqual([]);
  });

  it('writes no position before the dead letters are on the bus', async () => {
    await bus.publish('logs', [{ key: 'k', value: Buffer.from('bad'), records: 1 }]);
    const publish = bus.publish.bind(bus);
    let refusals = 0;
    bus.publish = async (...args) => {
      if (refusals++ < 2) throw new ReflexarcError('unavailable', 'no bus');
      await publish(...args);
    };
    await start();
    expect((await letters(1)).map(({ line }) => line)).toEqual(['bad']);
    expect(refusals).toBeGreaterThan(2);
    await until('ready', () => ingest?.ready().ok);
    await ingest?.stop();
    expect(await store.position('ingest', 'logs', 0)).toBe(1);
  });

  it('waits while the disk is full, says so, and loses nothing', async () => {
    let full = true;
    await start({
      append: (...args) =>
        full
          ? Promise.reject(new ReflexarcError('disk_full', 'no space left'))
          : store.append(...args),
    });
    await bus.publish('logs', [message(1, 2)]);
    await until('not ready', () => ingest?.ready().ok === false);
    expect(ingest?.ready().reason).toContain('no space left');
    expect(await lines()).toEqual([]);
    full = false;
    await until('lines', async () => (await lines()).length === 2);
    await until('ready', () => ingest?.ready().ok);
    expect(await metrics.metrics()).toContain(
      'reflexarc_ingest_errors_total{topic="logs",code="disk_full"}',
    );
  });

  it('makes alerts and actions visible as lines, once', async () => {
    const alert = {
      id: 'a1',
      timestamp: 1_767_323_045_000,
      fingerprint: 'f',
      state: 'firing',
      cause: 'transition',
      labels: { alertname: 'Down', service: 'web', severity: 'critical' },
      annotations: { summary: 'web is "down"' },
      activeAt: 1_767_323_044_000,
      value: 1,
      rule: { file: 'r.yaml', group: 'g', name: 'Down', kind: 'logql', expr: 'x', for: 0 },
      evidence: [],
      silencedBy: [],
      inhibitedBy: [],
    } as const;
    const action = {
      id: 'x1',
      timestamp: 1_767_323_046_000,
      case: 'c',
      phase: 'verified',
      message: 'web is healthy',
      remediation: 'restart-crashed',
      alert: { fingerprint: 'f', name: 'Down', labels: alert.labels },
      target: { runtime: 'docker', service: 'web' },
      dryRun: false,
    } as const;
    const send = async (): Promise<void> => {
      await bus.publish('alerts', [{ key: 'f', value: encodeRecords([alert]), records: 1 }]);
      await bus.publish('actions', [{ key: 'c', value: encodeRecords([action]), records: 1 }]);
    };
    await send();
    await send();
    await start();
    const range = { start: 0, end: 2e12, limit: 10 };
    const signal = new AbortController().signal;
    await until(
      'both',
      async () =>
        (await store.alerts(range, signal)).length + (await store.actions(range, signal)).length ===
        2,
    );
    expect(await rows()).toMatchObject([
      {
        labels: { stream: 'alerts', service: 'web', alertname: 'Down', level: 'error' },
        line: expect.stringMatching(
          /^state=firing alertname=Down .*summary="web is \\"down\\""$/,
        ) as string,
      },
      {
        labels: { stream: 'actions', service: 'web', alertname: 'Down', level: 'info' },
        line: expect.stringMatching(
          /^phase=verified remediation=restart-crashed .*message="web is healthy"$/,
        ) as string,
      },
    ]);
  });
});
