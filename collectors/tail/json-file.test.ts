import fc from 'fast-check';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { detectLevel } from '../../core/level.ts';
import { decodeLogs, StreamCache } from '../../core/records/codec.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { Runs } from '../logs/runs.ts';
import { collectMeasures } from '../measures.ts';
import { Streams } from '../streams.ts';
import { jsonFileFramer } from './json-file.ts';
import { LogWriter } from './writer.ts';

/** Records and dead letters of the lines of one file. */
function read(lines: readonly string[], maxLine = 1e6) {
  const clock = new ManualClock();
  const writer = new LogWriter('k', 'docker', collectMeasures(new Registry()));
  const streams = new Streams({}, {});
  const runs = new Runs(clock, () => undefined);
  runs.started('2025-01-01T00:00:00Z');
  const framer = jsonFileFramer({
    writer,
    streams: () => streams,
    runs,
    clock,
    maxLine,
  });
  const place = { device: 'd', inode: 'i', birth: 'b' };
  const file = { path: 'p', place, source: 's', generation: 'g', id: 'i', offset: 0 };
  let offset = 0;
  for (const line of lines) {
    framer.line(line, offset, 0, file);
    offset += Buffer.byteLength(line) + 1;
  }
  const { values, letters } = writer.take();
  const cache = new StreamCache();
  return {
    records: values.flatMap(({ value }) => {
      const decoded = decodeLogs(value, cache);
      expect(decoded.bad).toEqual([]);
      return decoded.records;
    }),
    dead: letters.length,
  };
}

// As Go's encoder writes a string: some more characters escaped than JSON asks for.
const go = (text: string): string =>
  JSON.stringify(text).replaceAll(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
const line = (log: string, time = '2026-01-01T00:00:00.1Z', rest = ''): string =>
  `{"log":${go(log)},"stream":"stdout"${rest},"time":"${time}"}`;

it('the exact scan and the parser agree on any line', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc
          .array(
            fc.constantFrom(
              '"',
              '\\',
              '\n',
              '\r',
              'n',
              'a',
              '","stream":"stdout',
              'level=error ',
              '<',
            ),
            { maxLength: 60 },
          )
          .map((parts) => parts.join('')),
      ),
      (given) => {
        const text = given.toWellFormed();
        // A further key makes the scan step aside.
        const scanned = read([line(`${text}\n`)]).records;
        const parsed = read([line(`${text}\n`, undefined, ',"attrs":{"a":"b"}')]).records;
        const expected = text.endsWith('\r') ? text.slice(0, -1) : text;
        expect(scanned.map((record) => record.line)).toEqual([expected]);
        expect(scanned).toEqual(parsed);
        expect(scanned[0]?.stream.labels['level']).toBe(detectLevel(expected));
      },
    ),
  );
});

it.each([
  ['{"log":"a\\x\\n","stream":"stdout","time":"2026-01-01T00:00:00.1Z"}'],
  ['{"log":"a\tb\\n","stream":"stdout","time":"2026-01-01T00:00:00.1Z"}'],
  ['{"log":"a"b\\n","stream":"stdout","time":"2026-01-01T00:00:00.1Z"}'],
  ['{"log":"a\\n","stream":"stdout","time":"2026-01-01T00:00:00.1Z"'],
  ['{"log":"a\\n","stream":"stdout","time":"yesterday"}'],
  ['{"log":"a\\u12\\n","stream":"stdout","time":"2026-01-01T00:00:00.1Z"}'],
  ['null'],
  [''],
])('%s is a dead letter', (text) => {
  expect(read([text, line('next\n')])).toMatchObject({ dead: 1, records: [{ line: 'next' }] });
});

it.each([
  ['2026-01-01T00:00:00.123456789Z', '2026-01-01T00:00:00.123456789Z'],
  ['2026-01-01T00:00:00.12Z', '2026-01-01T00:00:00.120000000Z'],
  ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000000000Z'],
  ['2026-01-01T01:00:00.5+01:00', '2026-01-01T00:00:00.500000000Z'],
])('the time %s', (given, expected) => {
  expect(read([line('a\n', given)]).records[0]?.timestamp).toBe(expected);
});
