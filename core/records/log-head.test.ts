import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeLog, lineId, sourceId } from './codec.ts';
import { LogHead } from './log-head.ts';

const STREAM = { labels: { service: 'web' }, resource: {} };
const TIME = '2026-01-02T03:04:05.123456789Z';

function read(text: string, padding = 0): LogHead | undefined {
  const bytes = Buffer.from(`${'x'.repeat(padding)}${text}`);
  const head = new LogHead();
  head.open(bytes);
  return head.read(padding) ? head : undefined;
}

const head = (parts: { time?: string; id?: string; position?: string; message?: string }): string =>
  `{"@timestamp":"${parts.time ?? TIME}","event.id":"${parts.id ?? 'a.1'}"${
    parts.position === undefined ? '' : `,"reflexarc.position":${parts.position}`
  },"message":"${parts.message ?? 'hello'}","labels":{}}\n`;

describe('LogHead', () => {
  it('reads what encodeLog writes, wherever it stands', () => {
    const number = fc.nat({ max: 999_999_999_999_999 });
    const position = fc.option(fc.oneof(number, fc.tuple(number, number)), { nil: undefined });
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        position,
        fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('2200-01-01') }),
        fc.nat({ max: 9 }),
        (line, place, date, padding) => {
          const prefix = sourceId('s', '1');
          const timestamp = `${date.toISOString().slice(0, -1)}000001Z`;
          const id = place === undefined ? 'free' : lineId(prefix, place);
          const record = {
            timestamp,
            id,
            line,
            stream: STREAM,
            ...(place === undefined ? {} : { position: place }),
          };
          const text = encodeLog(record);
          const found = read(text, padding);
          expect(found).toBeDefined();
          if (found === undefined) return;
          const bytes = Buffer.from(`${'x'.repeat(padding)}${text}`);
          expect(found.seconds).toBe(Math.floor(date.getTime() / 1000));
          expect(found.nanos).toBe((((date.getTime() % 1000) + 1000) % 1000) * 1_000_000 + 1);
          expect(bytes.toString('utf8', found.idFrom, found.idTo)).toBe(id);
          expect(JSON.parse(bytes.toString('utf8', found.lineFrom - 1, found.lineTo + 1))).toBe(
            line.toWellFormed(),
          );
          expect(found.escaped).toBe(JSON.stringify(line.toWellFormed()) !== `"${line}"`);
          expect(found.idIs(prefix)).toBe(place !== undefined);
          const numbers = [found.first, found.second].slice(0, found.parts);
          expect(numbers).toEqual(place === undefined ? [] : [place].flat());
        },
      ),
    );
  });

  it.each([
    ['a raw control character in the line', { message: 'a\tb' }],
    ['an escape that JSON does not have', { message: 'a\\x' }],
    ['an escape that is cut', { message: '\\u12' }],
    ['an escape in the id', { id: 'a\\n' }],
    ['no id', { id: '' }],
    ['a position with a fraction', { position: '1.5' }],
    ['a position below zero', { position: '-1' }],
    ['a position with a leading zero', { position: '01' }],
    ['a position that a double does not hold', { position: '9007199254740993' }],
    ['a position of three', { position: '[1,2,3]' }],
    ['a position of one', { position: '[1]' }],
    ['a day that is none', { time: '2026-13-02T03:04:05.123456789Z' }],
    ['an hour that is none', { time: '2026-01-02T24:00:00.000000000Z' }],
    ['a sign for a digit', { time: '2026-01-02T-1:30:10.000000000Z' }],
    ['a blank for the T', { time: '2026-01-02 03:04:05.123456789Z' }],
    ['another zone', { time: '2026-01-02T03:04:05.12345678+01' }],
    ['a time that 64 bits of nanoseconds do not hold', { time: '9026-01-02T03:04:05.123456789Z' }],
  ])('leaves %s to others', (_, parts) => {
    expect(read(head(parts))).toBeUndefined();
  });

  it('leaves what is cut anywhere to others', () => {
    const text = head({ position: '[1,2]' });
    const end = text.indexOf('hello') + 'hello"'.length;
    for (let length = 0; length < end; length++) {
      expect(read(text.slice(0, length))).toBeUndefined();
    }
    expect(read(text.slice(0, end))).toBeDefined();
  });

  it.each([
    ['a.10', '36', true],
    ['a.10', '37', false],
    ['a.010', '36', false],
    ['b.10', '36', false],
    ['a.10.1', '36', false],
    ['a.10.1', '[36,1]', true],
    ['a.0', '0', true],
    ['a.', '0', false],
    ['a', '0', false],
  ])('knows whether %s is the id of %s', (id, position, same) => {
    expect(read(head({ id, position }))?.idIs('a')).toBe(same);
  });
});
