import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatError } from '../../core/errors.ts';
import { loadRemediations } from './load.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'reflexarc-load-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function load(text: string) {
  writeFileSync(join(dir, 'remediations.yaml'), text);
  const loaded = loadRemediations(dir);
  const problems = loaded.problems.map((problem) => ({
    code: problem.code,
    text: formatError(problem).replace('remediations.yaml:', ''),
  }));
  return { ...loaded, problems };
}

const one = (rest: string): string => `remediations:\n  - name: a\n${rest}`;
const MATCH = '    match: [\'alertname="X"\']\n';
const TARGET = "    target: '{{ $labels.service }}'\n";
const STEPS = '    steps: [{ restart: {} }]\n';

describe('remediations.yaml', () => {
  it('may be absent: nothing is ever acted upon', () => {
    expect(loadRemediations(dir)).toMatchObject({ remediations: [], found: false, problems: [] });
  });

  it('may be empty', () => {
    expect(load('')).toMatchObject({ remediations: [], found: true, problems: [] });
  });

  it('has documented defaults', () => {
    const { remediations } = load(one(MATCH + TARGET + STEPS));
    expect(remediations).toMatchObject([
      {
        name: 'a',
        dryRun: false,
        limits: { cooldown: 300_000, attempts: 3, window: 3_600_000, keepUp: { share: 0.5 } },
        steps: [{ kind: 'restart', verify: { within: 60_000, healthyFor: 10_000 } }],
      },
    ]);
    const labels = { alertname: 'X', service: 'web' };
    expect(remediations[0]?.matches(labels)).toBe(true);
    expect(remediations[0]?.matches({ alertname: 'Y' })).toBe(false);
    expect(remediations[0]?.target.render({ labels, annotations: {}, value: 1 })).toBe('web');
    const nothing = { labels: { alertname: 'X' }, annotations: {}, value: 1 };
    expect(remediations[0]?.target.render(nothing)).toBe('');
  });

  it('reads the whole shape', () => {
    const { remediations, problems } = load(`
remediations:
  - name: restart-crashed
    match: ['alertname="ContainerDied"', 'service!=""']
    container: '{{ $labels.container }}'
    steps:
      - restart: { grace: 3s }
        verify: { within: 30s, healthy_for: 5s }
      - restart:
      - notify: { receiver: on-call }
    limits: { cooldown: 1m, attempts: 5, window: 2h, keep_up: 2 }
    dry_run: true
`);
    expect(problems).toEqual([]);
    expect(remediations).toMatchObject([
      {
        target: { kind: 'container' },
        steps: [
          { kind: 'restart', grace: 3000, verify: { within: 30_000, healthyFor: 5000 } },
          { kind: 'restart' },
          { kind: 'notify', receiver: 'on-call' },
        ],
        limits: { cooldown: 60_000, attempts: 5, window: 7_200_000, keepUp: { replicas: 2 } },
        dryRun: true,
      },
    ]);
  });

  it.each<[what: string, text: string, expected: RegExp]>([
    [
      'an unknown key',
      one(`${MATCH}${TARGET}${STEPS}    limit: {}\n`),
      /^6:5: .*did you mean limits/,
    ],
    ['no match', one(TARGET + STEPS), /^2:5: remediations\[0\]\.match: is required/],
    ['an empty match', one(`    match: []\n${TARGET}${STEPS}`), /^3:5: .*match: an empty list/],
    [
      'a bad matcher',
      one(`    match: ['x']\n${TARGET}${STEPS}`),
      /^3:13: .*match\[0\]: not a matcher/,
    ],
    ['a bad regex', one(`    match: ['a=~"("']\n${TARGET}${STEPS}`), /^3:13: .*match\[0\]/],
    ['no target', one(MATCH + STEPS), /needs `target` or `container`/],
    [
      'two targets',
      one(`${MATCH}${TARGET}    container: x\n${STEPS}`),
      /^5:5: .*exclude each other/,
    ],
    ['an empty target', one(`${MATCH}    target: ' '\n${STEPS}`), /^4:5: .*is empty/],
    ['a bad template', one(`${MATCH}    target: '{{ nope'\n${STEPS}`), /^4:5: .*target: /],
    ['no step', one(`${MATCH}${TARGET}    steps: []\n`), /^5:5: .*at least one step/],
    ['an empty step', one(`${MATCH}${TARGET}    steps: [{}]\n`), /exactly one action.*has none/],
    [
      'two actions in a step',
      one(`${MATCH}${TARGET}    steps: [{ restart: {}, notify: { receiver: x } }]\n`),
      /exactly one action.*restart and notify/,
    ],
    [
      'a verify that cannot be',
      one(`${MATCH}${TARGET}    steps: [{ restart: {}, verify: { within: 5s } }]\n`),
      /healthy_for: is longer than/,
    ],
    [
      'a verified notify',
      one(`${MATCH}${TARGET}    steps: [{ notify: { receiver: x }, verify: {} }]\n`),
      /verify: belongs to steps that act/,
    ],
    [
      'an unknown key in a restart',
      one(`${MATCH}${TARGET}    steps: [{ restart: { grase: 1s } }]\n`),
      /grase.*did you mean grace/,
    ],
    ['a bad share', one(`${MATCH}${TARGET}${STEPS}    limits: { keep_up: 150% }\n`), /keep_up/],
    ['no attempts', one(`${MATCH}${TARGET}${STEPS}    limits: { attempts: 0 }\n`), /attempts/],
    [
      'a name twice',
      `${one(MATCH + TARGET + STEPS)}  - name: a\n${MATCH}${TARGET}${STEPS}`,
      /^6:5: remediations\[1\]\.name: the name "a" is taken/,
    ],
    ['no YAML', 'remediations: [', /^\d+:\d+: /],
  ])('refuses %s', (_, text, expected) => {
    const { problems, remediations } = load(text);
    expect(remediations).toEqual([]);
    expect(problems.map((problem) => problem.text)).toEqual([expect.stringMatching(expected)]);
    expect(problems[0]?.code).toBe('bad_config');
  });

  it.each(['redeploy', 'scale', 'exec', 'rollback'])('knows %s, and says not yet', (word) => {
    const { problems } = load(one(`${MATCH}${TARGET}    steps: [{ ${word}: {} }]\n`));
    expect(problems).toEqual([
      { code: 'not_supported', text: expect.stringMatching(/not supported yet/) },
    ]);
  });

  it('says everything at once', () => {
    const { problems } = load(
      one(`    match: [x]\n${TARGET}    steps: [{ exec: {} }]\n    limits: { cooldown: soon }\n`),
    );
    expect(problems).toHaveLength(3);
  });
});
