import { deflateSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReflexarcError } from '../../core/errors.ts';
import { contentId, decodeLogs, metadataOf, StreamCache } from '../../core/records/codec.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer({ config: { sources: { max_line: '16B' } } });
});
afterEach(() => server.api.stop());

const NOW = '1767225600000000000';
const STREAM = { service: 'web', env: 'prod' };
const json = { 'Content-Type': 'application/json' };

const push = (body: unknown, headers: Record<string, string> = {}) =>
  server.get('/loki/api/v1/push', {
    method: 'POST',
    headers: { ...json, ...headers },
    body:
      body instanceof Uint8Array
        ? new Uint8Array(body)
        : typeof body === 'string'
          ? body
          : JSON.stringify(body),
  });

const records = () =>
  server.bus.published.flatMap(
    ({ message }) => decodeLogs(message.value, new StreamCache()).records,
  );

const one = (value: unknown[], stream: unknown = STREAM) => ({
  streams: [{ stream, values: [value] }],
});

describe('what is pushed is on the bus', () => {
  it('with exactly its labels, its time, its metadata, and an id made of them', async () => {
    const response = await push({
      streams: [
        {
          stream: STREAM,
          values: [
            [NOW, 'one'],
            ['1767225599999999999', 'two', { 'trace.id': 't' }],
          ],
        },
        { stream: { service: 'db' }, values: [[NOW, '']] },
      ],
    });
    expect(response.status).toBe(204);
    expect(await response.text()).toBe('');
    expect(
      server.bus.published.map(({ topic, message }) => [topic, message.key, message.records]),
    ).toEqual([
      ['logs', '{env="prod", service="web"}', 2],
      ['logs', '{service="db"}', 1],
    ]);
    const stream = { labels: STREAM, resource: {} };
    const time = '2026-01-01T00:00:00.000000000Z';
    expect(records()).toMatchObject([
      { timestamp: time, line: 'one', stream, id: contentId(time, 'one', stream) },
      { timestamp: '2025-12-31T23:59:59.999999999Z', line: 'two', stream },
      { timestamp: time, line: '', stream: { labels: { service: 'db' }, resource: {} } },
    ]);
    expect(records().map(metadataOf)).toEqual([undefined, { trace_id: 't' }, undefined]);
  });

  it.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
  ])('packed with %s', async (encoding, pack) => {
    const response = await push(pack(JSON.stringify(one([NOW, 'packed']))), {
      'Content-Encoding': encoding,
    });
    expect(response.status).toBe(204);
    expect(records().map(({ line }) => line)).toEqual(['packed']);
  });

  it('the answer waits for the bus', async () => {
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    server.bus.onPublish = () => {
      reached.resolve();
      return gate.promise;
    };
    let answered = false;
    const answer = push(one([NOW, 'x'])).then((response) => {
      answered = true;
      return response.status;
    });
    await reached.promise;
    expect(answered).toBe(false);
    gate.resolve();
    expect(await answer).toBe(204);
  });

  it('the same push again has the same ids', async () => {
    for (let time = 0; time < 2; time++) await push(one([NOW, 'same']));
    const [first, second] = records();
    expect(first?.id).toBe(second?.id);
  });

  it('lines over the limit are cut at a character, marked, counted, and keep ids of their own', async () => {
    await push({
      streams: [
        {
          stream: STREAM,
          values: [
            [NOW, `${'é'.repeat(8)}a`],
            [NOW, `${'é'.repeat(8)}b`],
            [NOW, `123456789012345é`],
          ],
        },
      ],
    });
    expect(records().map(({ line, fields }) => [line, fields])).toEqual([
      ['é'.repeat(8), { 'reflexarc.truncated_bytes': 1 }],
      ['é'.repeat(8), { 'reflexarc.truncated_bytes': 1 }],
      ['123456789012345', { 'reflexarc.truncated_bytes': 2 }],
    ]);
    expect(new Set(records().map(({ id }) => id)).size).toBe(3);
    expect(await server.metrics.metrics()).toContain('reflexarc_api_truncated_entries_total 3');
  });

  it('a large stream becomes messages of a bounded size, in order', async () => {
    const values = Array.from({ length: 5000 }, (_, index) => [NOW, `line ${index}`]);
    expect((await push({ streams: [{ stream: STREAM, values }] })).status).toBe(204);
    expect(server.bus.published.length).toBeGreaterThan(1);
    for (const { message } of server.bus.published) {
      expect(message.value.length).toBeLessThan(1_000_000);
    }
    expect(records().map(({ line }) => line)).toEqual(values.map(([, line]) => line));
  });

  it('nothing to push is fine', async () => {
    expect((await push({ streams: [] })).status).toBe(204);
    expect(server.bus.published).toEqual([]);
  });
});

describe('a bad entry is named, and nothing of the request is taken', () => {
  const good = { stream: STREAM, values: [[NOW, 'good']] };
  const many = Object.fromEntries(Array.from({ length: 31 }, (_, index) => [`l${index}`, 'x']));
  const metadata = Object.fromEntries(
    Array.from({ length: 129 }, (_, index) => [`m${index}`, 'x']),
  );
  it.each([
    [[], 'no `streams`'],
    [null, 'no `streams`'],
    [{ streams: {} }, 'no `streams`'],
    [{ streams: [good, 7] }, 'streams[1]: is no object'],
    [
      { streams: [good, { labels: '{a="b"}', entries: [] }] },
      'streams[1].stream: is no object of labels (the old form',
    ],
    [{ streams: [good, { stream: {}, values: [] }] }, 'streams[1].stream: has no label'],
    [{ streams: [good, { stream: { a: '' }, values: [] }] }, 'streams[1].stream: has no label'],
    [
      { streams: [good, { stream: { 'a-b': 'x' }, values: [] }] },
      'streams[1].stream: "a-b" is no label name',
    ],
    [
      { streams: [good, { stream: { a: 1 }, values: [] }] },
      'streams[1].stream: the value of a is no string',
    ],
    [
      { streams: [good, { stream: { a: 'x'.repeat(2049) }, values: [] }] },
      'longer than 2048 bytes',
    ],
    [{ streams: [good, { stream: many, values: [] }] }, 'has 31 labels, more than 30'],
    [{ streams: [good, { stream: STREAM }] }, 'streams[1].values: is no array'],
    [
      { streams: [good, { stream: STREAM, values: [[NOW, 'x'], 'y'] }] },
      'streams[1].values[1]: is not ["<nanoseconds>", "<line>"]',
    ],
    [one([NOW]), 'streams[0].values[0]: is not'],
    [one([NOW, 'x', {}, 4]), 'streams[0].values[0]: is not'],
    [one([Number(NOW), 'x']), 'is no time (nanoseconds since the epoch, as a string)'],
    [one(['2026-01-01T00:00:00Z', 'x']), 'is no time'],
    [one(['-1', 'x']), 'is no time'],
    [one(['99999999999999999999', 'x']), 'is no time'],
    [one([NOW, 5]), 'the line is no string'],
    [one([NOW, 'x', 'y']), 'structured metadata is no object'],
    [one([NOW, 'x', { a: 1 }]), 'structured metadata "a" is no string'],
    [one([NOW, 'x', metadata]), 'has 129 structured metadata, more than 128'],
    [one([NOW, 'x', { a: 'x'.repeat(65_536) }]), 'larger than 65536 bytes'],
    [one(['1767226201000000000', 'x']), 'timestamp too new: 2026-01-01T00:10:01'],
    [one(['1', 'x']), 'timestamp too old: 1970-01-01T00:00:00.000000001Z (the store keeps 1w'],
    ['{"streams": [', 'the body is not JSON'],
  ])('%j', async (body, message) => {
    const response = await push(body);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toContain(message);
    expect(response.status).toBe(400);
    expect(server.bus.published).toEqual([]);
  });

  it.each([
    ['not packed at all', Buffer.from('{}'), { 'Content-Encoding': 'gzip' }, 400, 'is not gzip'],
    [
      'an unknown packing',
      Buffer.from('{}'),
      { 'Content-Encoding': 'snappy' },
      415,
      'gzip, deflate or none',
    ],
    [
      'a packing that JavaScript objects have',
      Buffer.from('{}'),
      { 'Content-Encoding': 'constructor' },
      415,
      'not supported',
    ],
    [
      'a bomb',
      gzipSync(Buffer.alloc(9 * 1024 * 1024)),
      { 'Content-Encoding': 'gzip' },
      413,
      'unpacks to more',
    ],
    ['too large', Buffer.alloc(9 * 1024 * 1024), {}, 413, 'send less'],
    [
      'protobuf',
      Buffer.from('x'),
      { 'Content-Type': 'application/x-protobuf' },
      415,
      'push takes application/json',
    ],
    [
      'a form',
      Buffer.from('x'),
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      415,
      'push takes',
    ],
  ])('%s', async (_name, body, headers, status, message) => {
    const response = await push(body, headers);
    expect(await response.text()).toContain(message);
    expect(response.status).toBe(status);
    expect(server.bus.published).toEqual([]);
  });

  it('a body without a type is refused: a page in a browser can send such', async () => {
    const response = await server.get('/loki/api/v1/push', {
      method: 'POST',
      body: new Blob([JSON.stringify(one([NOW, 'x']))]),
    });
    expect(response.status).toBe(415);
    expect(server.bus.published).toEqual([]);
  });
});

it.each(['unavailable', 'disk_full'] as const)(
  '%s of the bus is worth a retry: 503',
  async (code) => {
    server.bus.onPublish = () => {
      throw new ReflexarcError(code, 'the bus is full');
    };
    const response = await push(one([NOW, 'x']));
    expect(response.status).toBe(503);
    expect(await response.text()).toBe('the bus is full\n');
  },
);

it('a bus that stays full is given up in time', async () => {
  const reached = Promise.withResolvers<void>();
  server.bus.onPublish = (signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
      reached.resolve();
    });
  const answer = push(one([NOW, 'x']));
  await reached.promise;
  await server.clock.advance(30_000);
  const response = await answer;
  expect(response.status).toBe(504);
  expect(await response.text()).toContain('the push took longer than 30s');
});
