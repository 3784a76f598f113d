import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatError } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import { loadNotify } from './load.ts';
import { groupLabels, routesFor } from './route.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'reflexarc-notify-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const load = (text: string, env: Record<string, string> = {}) => {
  writeFileSync(join(dir, 'notify.yaml'), text);
  return loadNotify(dir, env);
};

const hook = "receivers: [{ name: a, webhook_configs: [{ url: 'http://x/' }] }]\n";

it('no file: nobody is notified', () => expect(loadNotify(dir, {})).toEqual({ problems: [] }));

describe('routes', () => {
  const text = `
route:
  receiver: all
  group_by: [alertname]
  routes:
    - matchers: [severity="critical", 'team=~"a|b"']
      receiver: pager
      group_wait: 0s
      continue: true
    - match: { severity: critical }
      receiver: critical
      group_by: ['...']
      routes:
        - match_re: { team: 'c.*' }
          receiver: team-c
    - matchers: ['{service="web",env!="dev"}']
receivers: [{ name: all }, { name: pager }, { name: critical }, { name: team-c }]
`;
  it.each<[Labels, string[]]>([
    [{ alertname: 'X' }, ['all {}']],
    [
      { severity: 'critical', team: 'a' },
      ['pager {}/{severity="critical",team=~"a|b"}', 'critical {}/{severity="critical"}'],
    ],
    [{ severity: 'critical', team: 'core' }, ['team-c {}/{severity="critical"}/{team=~"c.*"}']],
    [{ service: 'web' }, ['all {}/{env!="dev",service="web"}']],
    [{ service: 'web', env: 'dev' }, ['all {}']],
  ])('%j', (labels, expected) => {
    const { config, problems } = load(text);
    expect(problems).toEqual([]);
    const routes = routesFor(config!.route, labels);
    expect(routes.map(({ receiver, key }) => `${receiver} ${key}`)).toEqual(expected);
  });

  it('hand down what they do not set', () => {
    const [pager, critical] = load(text).config!.route.routes;
    expect(pager).toMatchObject({ groupBy: ['alertname'], groupWait: 0, groupInterval: 300_000 });
    expect(critical).toMatchObject({
      groupBy: 'all',
      groupWait: 30_000,
      repeatInterval: 14_400_000,
    });
    expect(groupLabels(pager!, { alertname: 'X', a: 'b' })).toEqual({ alertname: 'X' });
    expect(groupLabels(critical!, { alertname: 'X', a: 'b' })).toEqual({ alertname: 'X', a: 'b' });
  });
});

describe('secrets', () => {
  it('come from variables and files, which are read anew', () => {
    writeFileSync(join(dir, 'url'), 'https://hooks.test/one\n');
    writeFileSync(join(dir, 'token'), 't1\n');
    const { config, problems } = load(
      `
global: { slack_api_url_file: url }
route: { receiver: a }
receivers:
  - name: a
    webhook_configs:
      - url: '\${HOOK}'
        http_config: { authorization: { credentials_file: token } }
      - url_file: url
        http_config: { basic_auth: { username: u, password: '\${PASS:-p}' } }
    slack_configs: [{ channel: '#x' }]
`,
      { HOOK: 'http://hook.test/' },
    );
    expect(problems).toEqual([]);
    const [first, second, slack] = config!.receivers.get('a')!.integrations;
    expect(first?.target.url()).toBe('http://hook.test/');
    expect(first?.target.headers()).toEqual({ authorization: 'Bearer t1' });
    expect(second?.target.headers()).toEqual({ authorization: 'Basic dTpw' });
    expect([slack?.target.url(), slack?.name]).toEqual(['https://hooks.test/one', 'slack[0]']);
    writeFileSync(join(dir, 'url'), 'https://hooks.test/two\n');
    expect(second?.target.url()).toBe('https://hooks.test/two');
  });
});

describe('a file that is wrong', () => {
  it.each<[string, string, string[]]>([
    [
      'what is not supported yet, each with its place',
      `route: { receiver: a, routes: [{ mute_time_intervals: [x] }] }
receivers: [{ name: a, email_configs: [{ to: x }] }]
inhibit_rules: []
`,
      [
        'notify.yaml:1:34: route.routes[0].mute_time_intervals: mute_time_intervals are not supported yet',
        'notify.yaml:2:24: receivers[0].email_configs: email_configs are not supported yet',
        'notify.yaml:3:1: inhibit_rules: inhibit_rules are not supported yet',
      ],
    ],
    [
      'an unknown key',
      `route: { reciever: a }\n${hook}`,
      ['notify.yaml:1:10: route.reciever: unknown key "reciever" (did you mean receiver?)'],
    ],
    [
      'an unknown receiver',
      `route: { receiver: b }\n${hook}`,
      ['notify.yaml:1:10: route.receiver: there is no receiver "b" (known: a)'],
    ],
    [
      'a root that is no root',
      `route: { matchers: [a="b"], continue: true }\n${hook}`,
      [
        'notify.yaml:1:1: route: the root route takes every alert: no matchers here',
        'notify.yaml:1:29: route.continue: has no meaning on the root route',
        'notify.yaml:1:1: route: the root route needs a `receiver`',
      ],
    ],
    ['no route', hook, ['notify.yaml:1:1: a `route` is needed: it says who receives what']],
    [
      'two receivers of one name, and one without an address',
      'route: { receiver: a }\nreceivers:\n  - name: a\n  - { name: a, webhook_configs: [{}] }\n',
      [
        'notify.yaml:4:7: receivers[1].name: there are two receivers named "a"',
        'notify.yaml:4:34: receivers[1].webhook_configs[0]: `url` or `url_file` is needed',
      ],
    ],
    [
      'an interval of nothing',
      `route: { receiver: a, group_interval: 0s }\n${hook}`,
      ['notify.yaml:1:23: route.group_interval: group_interval must be more than 0'],
    ],
    [
      'a URL that is none',
      "route: { receiver: a }\nreceivers: [{ name: a, webhook_configs: [{ url: 'x' }] }]\n",
      [
        'notify.yaml:2:44: receivers[0].webhook_configs[0].url: must begin with http:// or https://',
      ],
    ],
    [
      'a missing variable',
      `route: { receiver: '\${NOBODY}' }\n${hook}`,
      ['notify.yaml:1:20: the environment has no variable NOBODY'],
    ],
    [
      'two ways to authorize',
      "route: { receiver: a }\nreceivers: [{ name: a, webhook_configs: [{ url: 'http://x', http_config: { bearer_token: t, basic_auth: { username: u } } }] }]\n",
      [
        'notify.yaml:2:61: receivers[0].webhook_configs[0].http_config: authorization, basic_auth and bearer_token exclude each other',
      ],
    ],
    [
      'a template',
      "route: { receiver: a }\nreceivers: [{ name: a, slack_configs: [{ api_url: 'http://x', title: 'x {{ y }}' }] }]\n",
      ['notify.yaml:2:76: receivers[0].slack_configs[0].title: there is no function y'],
    ],
  ])('%s', (_, text, expected) => {
    expect(load(text).problems.map(formatError)).toEqual(expected);
  });

  it('a matcher', () => {
    const [problem] = load(
      `route: { receiver: a, routes: [{ matchers: ['a~"b"'] }] }\n${hook}`,
    ).problems;
    expect(problem?.where).toMatchObject({ line: 1, field: 'route.routes[0].matchers[0]' });
  });

  it("a secret's file that is not there", () => {
    const [problem] = load(
      'route: { receiver: a }\nreceivers: [{ name: a, webhook_configs: [{ url_file: gone }] }]\n',
    ).problems;
    expect(problem?.message).toMatch(/^cannot read url_file: ENOENT/);
    expect(problem?.where).toMatchObject({
      line: 2,
      field: 'receivers[0].webhook_configs[0].url_file',
    });
  });
});
