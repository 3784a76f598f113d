import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatError } from '../../core/errors.ts';
import { loadRules, parseRules } from './load.ts';

const problemsOf = (text: string): string[] => parseRules(text, 'f.yaml').problems.map(formatError);

const group = (rule: string, type = 'promql'): string =>
  `groups:\n  - name: g\n    type: ${type}\n    rules:\n${rule.replace(/^/gm, '      ')}\n`;

describe('a file that is right', () => {
  it('has defaults, and templates for alerts', () => {
    const { rules, problems } = parseRules(
      `
groups:
  - name: g
    labels: { team: core, severity: info }
    rules:
      - alert: Down
        expr: up == 0
        for: 1m
        keep_firing_for: 30s
        labels: { severity: critical, where: '{{ $labels.service }}' }
        annotations: { summary: '{{ $value }}' }
      - record: job:up:sum
        expr: sum by (job) (up)
  - name: logs
    type: logql
    interval: 1m
    limit: 5
    rules:
      - { alert: Errors, expr: 'rate({service="web"} |= "error" [5m]) > 1' }
`,
      'rules/f.yaml',
    );
    expect(problems).toEqual([]);
    expect(rules).toMatchObject([
      {
        file: 'rules/f.yaml',
        name: 'g',
        interval: 15_000,
        limit: 0,
        rules: [
          { kind: 'alert', name: 'Down', for: 60_000, keepFiringFor: 30_000 },
          { kind: 'record', name: 'job:up:sum', labels: { team: 'core', severity: 'info' } },
        ],
      },
      {
        name: 'logs',
        interval: 60_000,
        limit: 5,
        rules: [{ ref: { kind: 'logql', for: 0, group: 'logs', file: 'rules/f.yaml' } }],
      },
    ]);
    const [rule] = rules[0]?.rules ?? [];
    if (rule?.kind !== 'alert') throw new Error('an alert');
    const data = { labels: { service: 'web' }, value: 2, externalURL: '' };
    expect(Object.fromEntries(rule.labels.map(([name, make]) => [name, make(data)]))).toEqual({
      team: 'core',
      severity: 'critical',
      where: 'web',
    });
  });

  it('keeps a rule the same when its text for people changes, and tells two of one name apart', () => {
    const rules = (more: string) =>
      parseRules(
        group(`- { alert: A, expr: up ${more} }\n- { alert: A, expr: up }`),
        'f.yaml',
      ).rules.flatMap((each) => each.rules);
    const [a, b] = rules('');
    const [changed] = rules(', annotations: { x: y }');
    const [labelled] = rules(', labels: { x: y }');
    expect(changed?.id).toBe(a?.id);
    expect(changed?.version).not.toBe(a?.version);
    expect(labelled?.id).not.toBe(a?.id);
    expect(b?.id).not.toBe(a?.id);
  });

  it.each([
    ['sum(rate(a[1m])) / sum(rate(b[1m])) > 0.5', ['a']],
    ['5 < x', ['x']],
    ['x > y', ['x']],
    ['x and y', ['x', 'y']],
    ['absent(x)', []],
    ['x unless on (job) y', ['x']],
  ])('%s: what speaks for the alert is %j', (expr, names) => {
    const [rule] = parseRules(group(`- { alert: A, expr: '${expr}' }`), 'f').rules[0]?.rules ?? [];
    const causes = rule?.query.causes.samples.map(({ matchers }) => matchers[0]?.value);
    expect(causes).toEqual(names);
  });
});

describe('a file that is wrong', () => {
  it.each<[string, string, string[]]>([
    [
      'an unknown key',
      group('- { alert: A, expr: up, fro: 5m }'),
      ['f.yaml:5:31: groups[0].rules[0].fro: unknown key "fro" (did you mean for?)'],
    ],
    [
      'neither alert nor record',
      group('- expr: up'),
      ['f.yaml:5:9: groups[0].rules[0]: a rule needs `alert` or `record`'],
    ],
    [
      'both',
      group('- { alert: A, record: b, expr: up }'),
      ['f.yaml:5:21: groups[0].rules[0].record: `alert` and `record` exclude each other'],
    ],
    [
      'for in a recording rule',
      group('- { record: b, expr: up, for: 1m, annotations: {} }'),
      [
        'f.yaml:5:32: groups[0].rules[0].for: `for` belongs to alerts, not to `record`',
        'f.yaml:5:41: groups[0].rules[0].annotations: `annotations` belongs to alerts, not to `record`',
      ],
    ],
    [
      'a bad metric name',
      group('- { record: b-c, expr: up }'),
      [
        'f.yaml:5:11: groups[0].rules[0].record: is no metric name: letters, digits, _ and :, no digit first',
      ],
    ],
    [
      'a label that the rule sets itself',
      group('- { alert: A, expr: up, labels: { alertname: B } }'),
      [
        "f.yaml:5:41: groups[0].rules[0].labels.alertname: the label alertname is set by the rule's name",
      ],
    ],
    [
      'two groups of one name',
      'groups:\n  - name: a\n  - name: a\n',
      ['f.yaml:3:5: groups[1].name: the file has two groups named "a"'],
    ],
    [
      'native detectors',
      'detectors: []\n',
      ['f.yaml:1:1: detectors: native detectors are not supported yet'],
    ],
    [
      'query_offset',
      'groups:\n  - { name: a, query_offset: 1m }\n',
      ['f.yaml:2:16: groups[0].query_offset: query_offset is not supported yet'],
    ],
    [
      'a range vector',
      group('- { alert: A, expr: "up[5m]" }'),
      [
        'f.yaml:5:28: groups[0].rules[0].expr: a rule needs a vector or a number, and this is a range vector (put a function such as rate() around it)',
      ],
    ],
    [
      'lines instead of a number',
      group('- { alert: A, expr: \'{a="b"} |= "c"\' }', 'logql'),
      [
        'f.yaml:5:28: groups[0].rules[0].expr: a rule needs a number, and this selects lines (count them, as in count_over_time({…} [1m]) > 0)',
      ],
    ],
    [
      'an interval of nothing',
      'groups:\n  - { name: a, interval: 0s }\n',
      ['f.yaml:2:16: groups[0].interval: must be more than 0'],
    ],
  ])('%s', (_, text, expected) => expect(problemsOf(text)).toEqual(expected));

  it('points into an expression, whatever its style', () => {
    const text = group('- alert: A\n  expr: |\n    sum(up)\n      + summ(up)\n');
    expect(problemsOf(text)[0]).toMatch(/^f\.yaml:8:1[1-6]: groups\[0\]\.rules\[0\]\.expr: /);
  });

  it('points into a template', () => {
    const text = group('- alert: A\n  expr: up\n  annotations:\n    s: hello {{ nothing . }}\n');
    expect(problemsOf(text)).toHaveLength(1);
    expect(problemsOf(text)[0]).toMatch(
      /^f\.yaml:8:2\d: groups\[0\]\.rules\[0\]\.annotations\.s: /,
    );
  });

  it('tells what is wrong with keys, expressions and templates at once', () => {
    const text = group(
      "- { alert: A, expr: 'up ==', fro: 1m, labels: { x: '{{ if }}' } }\n- { alert: B, expr: 'up{' }",
    );
    const fields = parseRules(text, 'f.yaml').problems.map(({ where }) => where?.field);
    expect(fields).toEqual([
      'groups[0].rules[0].expr',
      'groups[0].rules[0].fro',
      'groups[0].rules[0].labels.x',
      'groups[0].rules[1].expr',
    ]);
  });
});

it('reads all files of the folder, and leaves out whole those with problems', () => {
  const dir = mkdtempSync(join(tmpdir(), 'reflexarc-rules-'));
  try {
    expect(loadRules(dir)).toEqual({ rules: [], problems: [] });
    mkdirSync(join(dir, 'rules'));
    const write = (name: string, text: string): void =>
      writeFileSync(join(dir, 'rules', name), text);
    write('a.yaml', group('- { alert: A, expr: up }'));
    write('b.yml', group('- { alert: B, expr: up }\n- { alert: C, expr: "up +" }'));
    write('c.yaml', 'groups: [');
    write('.hidden.yaml', 'x: 1');
    write('d.txt', 'x: 1');
    const { rules, problems } = loadRules(dir);
    expect(rules.map(({ file }) => file)).toEqual(['rules/a.yaml']);
    expect(problems.map(({ where }) => where?.file)).toEqual(['rules/b.yml', 'rules/c.yaml']);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
