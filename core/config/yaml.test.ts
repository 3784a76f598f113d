import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { formatError } from '../errors.ts';
import { duration, labelMap } from './fields.ts';
import { ConfigError, loadYaml } from './yaml.ts';

const schema = z.strictObject({
  name: z.string().optional(),
  wait: duration.optional(),
  labels: labelMap.optional(),
  items: z.array(z.strictObject({ id: z.int(), note: z.string().optional() })).default([]),
});

function problemsOf(text: string, env?: Record<string, string>): string[] {
  try {
    loadYaml(schema, text, 'f.yaml', env === undefined ? {} : { env });
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(formatError);
  }
}

describe('loadYaml', () => {
  it.each<[string, string, string[]]>([
    ['an empty file', '', []],
    ['a comment', '# nothing\n', []],
    [
      'an unknown key, with the nearest',
      'nmae: x\n',
      ['f.yaml:1:1: nmae: unknown key "nmae" (did you mean name?)'],
    ],
    [
      'an unknown key, nothing near',
      'items:\n  - id: 1\n    colour: red\n',
      ['f.yaml:3:5: items[0].colour: unknown key "colour" (known here: id, note)'],
    ],
    [
      'all problems at once',
      'wait: soon\nitems:\n  - note: 1\n',
      [
        'f.yaml:1:1: wait: not a duration: "soon" (write it like 30s, 5m, 1h30m, 500ms; units are y, w, d, h, m, s, ms, largest first)',
        'f.yaml:3:5: items[0].id: is required',
        'f.yaml:3:5: items[0].note: Invalid input: expected string, received number',
      ],
    ],
    [
      'one of several kinds',
      'wait: []\n',
      ['f.yaml:1:1: wait: Invalid input: expected string or number'],
    ],
    [
      'a key that may not be one',
      'labels: { 0a: x }\n',
      ['f.yaml:1:11: labels.0a: is no label name: letters, digits and _, no digit first'],
    ],
    ['a key twice', 'name: a\nname: b\n', ['f.yaml:2:1: Map keys must be unique']],
    ['a list for a map', '- a\n', ['f.yaml:1:1: Invalid input: expected object, received array']],
  ])('%s', (_, text, expected) => expect(problemsOf(text)).toEqual(expected));

  it('says where broken YAML breaks', () => {
    expect(problemsOf('name: [a\nitems: {\n')[0]).toMatch(/^f\.yaml:\d+:\d+: /);
  });
});

describe('variables', () => {
  const env = { A: 'x: [y', EMPTY: '' };
  const name = (text: string): unknown =>
    loadYaml(schema, `name: ${text}\n`, 'f.yaml', { env }).value.name;

  it.each([
    ['${A}', 'x: [y'],
    ['a-${NONE:-b}', 'a-b'],
    ['${EMPTY:-b}', 'b'],
    ['$${A}', '${A}'],
    ['plain $1', 'plain $1'],
  ])('%s', (text, expected) => expect(name(text)).toBe(expected));

  it('that are missing are an error with a place', () => {
    expect(problemsOf('items: []\nname: ${NOPE}\n', {})).toEqual([
      'f.yaml:2:7: the environment has no variable NOPE',
    ]);
  });

  it('that are missing hide no other problem, and make none', () => {
    expect(problemsOf('nmae: x\nitems: [{ id: "${NOPE}" }]\nwait: soon\n', {})).toEqual([
      expect.stringMatching(/^f\.yaml:1:1: nmae: unknown key/),
      'f.yaml:2:15: the environment has no variable NOPE',
      expect.stringMatching(/^f\.yaml:3:1: wait: not a duration/),
    ]);
  });

  it('are left alone in files that have none', () => {
    expect(loadYaml(schema, 'name: ${A}\n', 'f.yaml').value.name).toBe('${A}');
  });
});

describe('inside a value', () => {
  // Each finds the X.
  it.each([
    ['plain', 'e: a b X c\n', 1, 5],
    ['plain over two lines, folded to one', 'e: a b\n   X c\n', 1, 5],
    ['single quotes', "e: 'a '''' X'\n", 1, 6],
    ['double quotes', 'e: "a \\"b\\" X"\n', 1, 7],
    ['double quotes with an escaped line break', 'e: "a\\nb X"\n', 2, 3],
    ['a literal block', 'e: |\n  a\n    b X\n', 2, 5],
    ['a folded block', 'e: >-\n  a\n  b X\n', 1, 5],
  ])('%s', (_, text, line, column) => {
    const loaded = loadYaml(z.object({ e: z.string() }), text, 'f.yaml');
    const before = text.slice(0, text.indexOf('X')).split('\n');
    expect(loaded.inside(['e'], { line, column })).toEqual({
      file: 'f.yaml',
      line: before.length,
      column: (before.at(-1)?.length ?? 0) + 1,
      field: 'e',
    });
  });
});
