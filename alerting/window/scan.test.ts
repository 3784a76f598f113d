import { expect, it } from 'vitest';
import type { LineFilter } from '../../core/contracts/queryable.ts';
import type { Matcher } from '../../core/labels.ts';
import { encodeLogs } from '../../core/records/codec.ts';
import type { LogRecord, Stream } from '../../core/records/log.ts';
import { LogWindow } from './logs.ts';
import { Scanner, safeLiteral } from './scan.ts';

const web: Stream = { labels: { service: 'web' }, resource: { 'container.id': 'c1' } };
const web2: Stream = { labels: { service: 'web' }, resource: { 'container.id': 'c2' } };
const db: Stream = { labels: { service: 'db' }, resource: {} };
let nth = 0;
const record = (stream: Stream, line: string): LogRecord => ({
  timestamp: '2026-01-01T00:00:00.000000000Z',
  id: `id${nth++}`,
  line,
  stream,
});
const window = (matchers: Matcher[], filters: LineFilter[] = []): LogWindow =>
  new LogWindow({ matchers, filters, rows: true }, 0n);
const service = (value: string): Matcher => ({ name: 'service', op: '=', value });

function scan(windows: LogWindow[], values: Uint8Array[]) {
  const scanner = new Scanner(windows);
  const taken: [string, number[]][] = [];
  for (const value of values) {
    scanner.scan(value, (found, matched) => {
      taken.push([found.line, matched.map((each) => windows.indexOf(each))]);
    });
  }
  return { taken, counts: scanner.counts };
}

it('decodes only the lines that a window may want', () => {
  const windows = [
    window([service('web')], [{ op: '|=', value: 'refused' }]),
    window([service('db')]),
    window([{ name: 'service', op: '=~', value: 'w.*' }], [{ op: '|=', value: 'timeout "x"' }]),
  ];
  const value = encodeLogs([
    record(web, 'fine'),
    record(web, 'connection refused'),
    record(db, 'refused'),
    record(web2, 'a timeout "x"'),
    record(web, 'fine'),
    record(web2, 'refused, timeout "x"'),
  ]);
  const { taken, counts } = scan(windows, [value, value]);
  const once = [
    ['connection refused', [0]],
    ['refused', [1]],
    ['a timeout "x"', [2]],
    ['refused, timeout "x"', [0, 2]],
  ];
  expect(taken).toEqual([...once, ...once]);
  expect(counts).toEqual({ lines: 12, decoded: 8, bad: 0 });
});

it('does not decode lines that hold no literal', () => {
  const { taken, counts } = scan(
    [window([service('web')], [{ op: '|=', value: 'ref.sed' }])],
    [encodeLogs([record(web, 'fine'), record(web, 'refused')])],
  );
  expect(taken).toEqual([]);
  expect(counts).toEqual({ lines: 2, decoded: 0, bad: 0 });
});

it('takes lines of other shippers, a last line without its end, and passes over what is broken', () => {
  const foreign =
    '{"@timestamp":"2026-01-01T00:00:00Z","message":"a","service":{"name":"web"}}\n' +
    'not json\n\n' +
    '{"@timestamp":"2026-01-01T00:00:00Z","message":"b","labels":{"service":"web","n":1}}\n' +
    '{"@timestamp":"2026-01-01T00:00:00Z","message":"c","labels":{"service":"web"},"x":[1]}';
  const { taken, counts } = scan([window([service('web')])], [Buffer.from(foreign)]);
  expect(taken.map(([line]) => line)).toEqual(['a', 'c']);
  expect(counts.bad).toBe(1);
});

it.each([
  ['refused', 'refused'],
  ['a/b longer part <x>', 'b longer part '],
  ['größere', 'ere'],
  ['"\\', undefined],
  [undefined, undefined],
])('the safe part of %s is %s', (text, expected) => {
  expect(safeLiteral(text)).toBe(expected);
});
