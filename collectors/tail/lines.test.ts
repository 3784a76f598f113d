import fc from 'fast-check';
import { expect, it } from 'vitest';
import { takeLines } from './lines.ts';

function lines(
  chunk: Buffer,
  max = 1000,
): { lines: [string, number, number][]; done: number; bad: number } {
  const found: [string, number, number][] = [];
  let bad = 0;
  const limits = { max, onInvalid: (count: number) => void (bad += count) };
  const { done } = takeLines(chunk, 100, limits, (text, offset, cut) => {
    found.push([text, offset, cut]);
    return true;
  });
  return { lines: found, done, bad };
}

it.each([
  [
    'empty lines',
    '\n\na\n',
    [
      ['', 100, 0],
      ['', 101, 0],
      ['a', 102, 0],
    ],
    4,
  ],
  ['no line break yet', 'abc', [], 0],
  ['the rest waits', 'a\nbc', [['a', 100, 0]], 2],
  [
    'too long',
    'abcdef\nx\n',
    [
      ['abcd', 100, 2],
      ['x', 107, 0],
    ],
    9,
  ],
  ['cut at a border of characters', 'aaaé\n', [['aaa', 100, 2]], 6],
  ['NUL and colours', '\0\u001b[1m\n', [['\0\u001b[1m', 100, 0]], 6],
] as const)('%s', (_name, text, expected, done) => {
  expect(
    lines(Buffer.from(text), _name.startsWith('too') || _name.startsWith('cut') ? 4 : 1000),
  ).toEqual({
    lines: expected,
    done,
    bad: 0,
  });
});

it('what is not UTF-8 is replaced and counted, and nothing else with it', () => {
  const chunk = Buffer.concat([
    Buffer.from('é\n'),
    Buffer.from([0xff, 0x61, 10]),
    Buffer.from('ü\n'),
  ]);
  const found = lines(chunk);
  expect(found.lines.map(([text]) => text)).toEqual(['é', '\ufffda', 'ü']);
  expect(found.bad).toBe(1);
});

it('a line that is not taken stops the reading before it', () => {
  for (const text of ['a\nb\nc\n', 'é\nb\nc\n']) {
    const chunk = Buffer.from(text);
    const limits = { max: 10, onInvalid: () => undefined };
    const { done, held } = takeLines(chunk, 0, limits, (line) => line !== 'b');
    expect([done, held]).toEqual([chunk.indexOf('b'), true]);
  }
});

it('any text comes back, whatever is in it', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), (given) => {
      const expected = given.map((line) => line.replaceAll('\n', '').toWellFormed());
      const chunk = Buffer.from(expected.map((line) => `${line}\n`).join(''));
      expect(lines(chunk, 10_000).lines.map(([text]) => text)).toEqual(expected);
    }),
  );
});
