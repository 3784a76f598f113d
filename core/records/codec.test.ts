import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeAlerts,
  decodeLogs,
  decodeSamples,
  encodeLogs,
  encodeRecords,
  encodeSamples,
  metadataOf,
  StreamCache,
} from './codec.ts';
import type { LogRecord, Stream } from './log.ts';
import { isStale, STALE_MARKER } from './metric.ts';

const TIME = '2026-01-02T03:04:05.123456789Z';
const stream: Stream = {
  labels: { service: 'web', stream: 'stdout' },
  resource: { 'service.name': 'web', 'container.id': 'abc' },
};
const text = (value: string): Uint8Array => Buffer.from(value);

// Texts that try to look like the parts of a record.
const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    ',"labels":{',
    '","labels":{"a":"b"}}',
    '\n',
    '\u0000',
    '\\',
    '"',
    '\u2028',
    '😀',
  ),
);
const labels = fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), hostile, { maxKeys: 4 });

describe('logs', () => {
  it('come back as they went, whatever they hold', () => {
    const record = fc.record(
      {
        timestamp: fc.constant(TIME),
        id: hostile.filter((id) => id !== ''),
        position: fc.oneof(fc.nat(), fc.tuple(fc.nat(), fc.nat())),
        line: fc.array(hostile, { maxLength: 4 }).map((parts) => parts.join('')),
        stream: labels.map((set): Stream => ({ labels: set, resource: stream.resource })),
        fields: fc
          .dictionary(fc.stringMatching(/^x\.[a-z]{1,6}$/), fc.oneof(hostile, labels), {
            minKeys: 1,
            maxKeys: 3,
          })
          .map((fields) => ({ ...fields, nested: { a: 1, labels: { b: 'c' } } })),
      },
      { requiredKeys: ['timestamp', 'id', 'line', 'stream'] },
    );
    fc.assert(
      fc.property(fc.array(record, { maxLength: 5 }), (records) => {
        const decoded = decodeLogs(encodeLogs(records), new StreamCache());
        expect(decoded.bad).toEqual([]);
        // Lone surrogates have no UTF-8 form.
        expect(JSON.parse(JSON.stringify(decoded.records))).toEqual(
          JSON.parse(JSON.stringify(records).replaceAll(/\\ud[89a-f][0-9a-f]{2}/g, '\\ufffd')),
        );
      }),
    );
  });

  it('share one object for a stream', () => {
    const records: LogRecord[] = [1, 2].map((n) => ({
      timestamp: TIME,
      id: `${n}`,
      line: 'x',
      stream,
    }));
    const cache = new StreamCache();
    const first = decodeLogs(encodeLogs(records), cache).records;
    const second = decodeLogs(encodeLogs(records), cache).records;
    expect(first[0]?.stream).toBe(first[1]?.stream);
    expect(first[0]?.stream).toBe(second[0]?.stream);
  });

  it('set a broken line apart and go on', () => {
    const good = { timestamp: TIME, id: 'a', line: 'x', stream };
    const value = Buffer.concat([
      encodeLogs([good]),
      text('{"half\n[1]\n\n{"message":1}\n'),
      encodeLogs([good]),
    ]);
    const { records, lines, bad } = decodeLogs(value, new StreamCache());
    expect(records).toEqual([good, good]);
    expect(lines).toEqual([0, 5]);
    expect(bad.map((b) => [b.line, Buffer.from(b.original).toString(), b.error.code])).toEqual([
      [1, '{"half', 'bad_record'],
      [2, '[1]', 'bad_record'],
      [4, '{"message":1}', 'bad_record'],
    ]);
  });

  it.each<[string, string, Partial<LogRecord>]>([
    [
      'nested ECS, as Filebeat writes it',
      `{"@timestamp":"2026-01-02T03:04:05.123Z","message":"hi","service":{"name":"web"},"container":{"id":"c1","name":"web-1"},"host":{"name":"h"}}`,
      {
        timestamp: '2026-01-02T03:04:05.123000000Z',
        line: 'hi',
        stream: {
          labels: { service: 'web', container: 'web-1', host: 'h' },
          resource: {
            'service.name': 'web',
            'container.name': 'web-1',
            'host.name': 'h',
            'container.id': 'c1',
          },
        },
      },
    ],
    [
      'Fluent Bit, seconds as a number',
      `{"date":1,"time":1767323045.5,"log":"hi"}`,
      { timestamp: '2026-01-02T03:04:05.500000000Z', line: 'hi' },
    ],
    [
      'labels that are no strings stay a field',
      `{"@timestamp":"${TIME}","message":"hi","labels":{"n":1}}`,
      { stream: { labels: {}, resource: {} }, fields: { labels: { n: 1 } } },
    ],
  ])('of others: %s', (_, line, expected) => {
    const { records, bad } = decodeLogs(text(line), new StreamCache());
    expect(bad).toEqual([]);
    expect(records[0]).toMatchObject(expected);
    expect(records[0]?.id).toBe(decodeLogs(text(line), new StreamCache()).records[0]?.id);
  });

  it('that were cut show it', () => {
    const cut = { timestamp: TIME, id: 'a', line: 'x', stream };
    const fields = { 'reflexarc.truncated_bytes': 7 };
    const shown = { reflexarc_truncated_bytes: '7' };
    expect(metadataOf({ ...cut, fields })).toEqual(shown);
    expect(
      metadataOf({ ...cut, fields: { ...fields, 'reflexarc.metadata': { trace: 't1' } } }),
    ).toEqual({ trace: 't1', ...shown });
  });

  it('keep structured metadata', () => {
    const fields = { 'reflexarc.metadata': { trace: 't1' } };
    const [record] = decodeLogs(
      encodeLogs([{ timestamp: TIME, id: 'a', line: 'x', stream, fields }]),
      new StreamCache(),
    ).records;
    expect(record && metadataOf(record)).toEqual({ trace: 't1' });
  });
});

describe('samples', () => {
  it('keep NaN, infinities and staleness', () => {
    const values = [0, -0, 1.5, 5e-324, Number.NaN, Infinity, -Infinity, STALE_MARKER];
    const samples = values.map((value, timestamp) => ({
      labels: { __name__: 'm' },
      timestamp,
      value,
    }));
    const { records, bad } = decodeSamples(encodeSamples(samples));
    expect(bad).toEqual([]);
    expect(records.map((sample) => sample.value)).toEqual([
      0,
      0,
      1.5,
      5e-324,
      Number.NaN,
      Infinity,
      -Infinity,
      STALE_MARKER,
    ]);
    expect(records.map((sample) => isStale(sample.value))).toEqual([...Array(7).fill(false), true]);
  });
});

it('an alert keeps a value that JSON has not', () => {
  const alert = {
    id: 'i',
    fingerprint: 'f',
    state: 'firing',
    cause: 'transition',
    value: Number.NaN,
  };
  const { records } = decodeAlerts(encodeRecords([alert as never]));
  expect(records[0]).toEqual(alert);
});
