import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseEvent, signalName, splitLines } from './events.ts';

const message = (action: string, attributes: Record<string, string> = {}): string =>
  JSON.stringify({
    status: action,
    id: 'ab12',
    Type: 'container',
    Action: action,
    Actor: { ID: 'ab12', Attributes: { image: 'web:1', name: 'web', ...attributes } },
    scope: 'local',
    time: 1795451344,
  }).slice(0, -1) + ',"timeNano":1795451344653487368}';

describe('events', () => {
  it.each([
    [
      'die',
      { exitCode: '137', execDuration: '4' },
      'die',
      { exit_code: '137', exec_duration: '4' },
    ],
    ['kill', { signal: '15' }, 'kill', { signal: 'SIGTERM' }],
    ['rename', { oldName: '/old' }, 'rename', { old_name: 'old' }],
    ['health_status: unhealthy', {}, 'health_status', { health_status: 'unhealthy' }],
    ['exec_create: sh -c a:b', {}, 'exec_create', { detail: 'sh -c a:b' }],
    ['start', { 'com.docker.compose.service': 'web' }, 'start', {}],
  ] as [string, Record<string, string>, string, Record<string, string>][])(
    '%s %j',
    (action, raw, word, attributes) => {
      const event = parseEvent(message(action, raw));
      expect(event).toMatchObject({ action: word, id: 'ab12', attributes });
      expect(event?.attributes).toEqual(attributes);
      // Every digit, which a number of JSON would not have.
      expect(event?.time).toBe(1795451344653487368n);
    },
  );

  it('leaves what is no container alone, and takes the time in seconds where there is no other', () => {
    expect(parseEvent('{"Type":"network","Action":"connect","Actor":{"ID":"x"}}')).toBeUndefined();
    expect(parseEvent('{"Type":"container","Action":"die","id":"x","time":7}')).toMatchObject({
      time: 7_000_000_000n,
      id: 'x',
    });
    expect(() => parseEvent('{')).toThrow(SyntaxError);
  });

  it.each([
    ['9', 'SIGKILL'],
    ['KILL', 'SIGKILL'],
    ['SIGUSR1', 'SIGUSR1'],
    ['term', 'SIGTERM'],
    ['37', '37'],
  ])('signal %s is %s', (given, name) => expect(signalName(given)).toBe(name));

  it('cuts lines wherever the chunks end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme', minLength: 1 }).filter((s) => !s.includes('\n'))),
        fc.integer({ min: 1, max: 9 }),
        async (lines, size) => {
          const bytes = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(''));
          async function* chunks() {
            for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
          }
          const read: string[] = [];
          for await (const line of splitLines(chunks())) read.push(line);
          expect(read).toEqual(lines);
        },
      ),
    );
  });
});
