import { existsSync } from 'node:fs';
import { appendFile, chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import { Containers, describeDocker } from '../support/docker.ts';
import { type Program, queryLines, type Stream, startUp } from '../support/program.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { describeUnprivileged, giveAway, NOBODY } from '../support/unprivileged.ts';
import { until } from '../support/wait.ts';

const text = async (program: Program, path: string): Promise<string> =>
  (await fetch(`${program.url}${path}`)).text();

/** A metric's value by the beginning of its line, as in `x_total{kind="file"}`. */
async function metric(program: Program, name: string): Promise<number | undefined> {
  const line = (await text(program, '/metrics'))
    .split('\n')
    .find((one) => one.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

async function streams(program: Program, query: string): Promise<readonly Stream[]> {
  const parameters = new URLSearchParams({ query, limit: '1000', since: '1h' });
  const body = JSON.parse(
    await text(program, `/loki/api/v1/query_range?${parameters.toString()}`),
  ) as { data: { result: Stream[] } };
  return body.data.result;
}

/** Lines as programs write them, and as they have to come out, where 2 KiB is the limit. */
const LINES: readonly [name: string, written: string | Buffer, seen: string, cut?: number][] = [
  ['plain', 'plain', 'plain'],
  ['empty', '', ''],
  ['with a NUL byte', 'nul \0 inside', 'nul \0 inside'],
  ['with colours', '\x1b[31mERROR\x1b[0m red', '\x1b[31mERROR\x1b[0m red'],
  [
    'not UTF-8',
    Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x20, 0xff, 0xfe, 0x21]),
    'caf\ufffd \ufffd\ufffd!',
  ],
  ['with CRLF', 'crlf\r', 'crlf'],
  ['over the limit', 'x'.repeat(5000), 'x'.repeat(2048), 2952],
  ['over the limit within a character', `y${'é'.repeat(2000)}`, `y${'é'.repeat(1023)}`, 1954],
  ['like JSON, and broken', '{"log":"x', '{"log":"x'],
  ['the last', 'last', 'last'],
];

describeUnprivileged('among much that is wrong', () => {
  let dir: string;
  let logs: string;
  let receiver: Receiver;
  let socket: Server | undefined;
  let program: Program;

  const write = (name: string, content: string): Promise<void> =>
    writeFile(join(dir, name), content);
  const rule = (name: string, expr: string): string => `groups:
  - name: ${name}
    type: logql
    interval: 1s
    rules:
      - alert: ${name}
        expr: ${expr}
`;
  const ALARMS = 'sum by (n) (count_over_time({service="app"} |= "alarm" | logfmt [1m])) > 0';
  const NOTIFY = (
    url: string,
  ): string => `route: { receiver: hook, group_by: [alertname, n], group_wait: 0s }
receivers:
  - name: hook
    webhook_configs: [{ url: '${url}' }]
`;
  const REMEDIATIONS = `remediations:
  - name: heal
    match: ['alertname="Broken"']
    target: '{{ $labels.service }}'
    steps:
      - restart: {}
        verify: { within: 10s, healthy_for: 100ms }
`;

  beforeAll(async () => {
    receiver = await startReceiver();
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-bad-'));
    logs = join(dir, 'logs');
    await mkdir(logs);
    await mkdir(join(dir, 'rules'));
    let host = '/var/run/docker.sock';
    if (!existsSync(host)) {
      host = join(logs, 'docker.sock');
      socket = createServer().listen(host);
      await until('the socket', () => existsSync(host));
    }
    const victim = `while [ ! -e '${dir}/break' ]; do sleep 0.05; done; rm '${dir}/break'; echo broken; exec sleep 600`;
    await write(
      'reflexarc.yaml',
      `sources:
  docker: { host: 'unix://${host}' }
  host_metrics: 0
  max_line: 2KiB
  files:
    - paths: ['${logs}/app*.log', '${logs}/secret/*.log']
      service: app
  processes:
    - { name: victim, command: [sh, -c, ${JSON.stringify(victim)}] }
`,
    );
    await write('rules/good.yaml', rule('First', ALARMS));
    await write(
      'rules/heal.yaml',
      rule('Broken', 'sum by (service) (count_over_time({service="victim"} |= "broken" [5s])) > 0'),
    );
    await write('rules/bad.yaml', rule('Second', 'count_over_time({service="app"} [5m]'));
    await write('notify.yaml', NOTIFY(receiver.url));
    await write('remediations.yaml', REMEDIATIONS);
    const content = LINES.map(([, written]) =>
      Buffer.concat([Buffer.from(written), Buffer.of(10)]),
    );
    await writeFile(join(logs, 'app.log'), Buffer.concat(content));
    giveAway(dir);
    // What root alone may read: a file, and a folder.
    await writeFile(join(logs, 'app-closed.log'), 'opened later\n', { mode: 0o600 });
    await mkdir(join(logs, 'secret'), { mode: 0o700 });
    await writeFile(join(logs, 'secret', 'a.log'), 'found later\n');
    if (socket !== undefined) await chmod(host, 0o600);
    program = await startUp(dir, {}, { uid: NOBODY });
  });
  afterAll(async () => {
    expect(await program.end('SIGTERM')).toBe(0);
    socket?.close();
    await receiver.close();
    await rm(dir, { recursive: true, force: true });
  });

  const said = (what: RegExp): Promise<unknown> =>
    until(`the log to say ${what}`, () => what.test(program.log()));

  it('says what is wrong, and what to do', async () => {
    for (const what of [
      /this user may not open the Docker socket .*usermod -aG docker/,
      /"path":"[^"]*app-closed\.log".*"hint":"let this user read the file/,
      /logs\/secret.*let this user/,
      /rules\/bad\.yaml:7:50: groups\[0\]\.rules\[0\]\.expr: .*left out/s,
    ]) {
      await said(what);
    }
    expect(await text(program, '/healthz')).toBe('ok\n');
    await until('/readyz to name it', async () =>
      /^collect: docker: .*may not open the Docker socket/m.test(await text(program, '/readyz')),
    );
  });

  it('reads lines whatever stands in them', async () => {
    const expected = LINES.map(([, , seen]) => seen);
    const all = await until('the last line', async () => {
      const found = await queryLines(program.url, '{service="app"}');
      return found.includes('last') ? found : undefined;
    });
    expect(all).toEqual(expected);
    const cut = (await streams(program, '{service="app"}')).flatMap(({ stream, values }) =>
      values.map(([, line]) => [line, stream['reflexarc_truncated_bytes']] as const),
    );
    for (const [, , seen, bytes] of LINES) {
      expect(cut).toContainEqual([seen, bytes === undefined ? undefined : String(bytes)]);
    }
    expect(await metric(program, 'reflexarc_collect_truncated_lines_total{kind="file"}')).toBe(2);
    expect(await metric(program, 'reflexarc_collect_invalid_utf8_lines_total{kind="file"}')).toBe(
      1,
    );
    // Filters work on what was seen.
    expect(
      await queryLines(program.url, '{service="app", level="error"} |= "\\x1b[31mERROR"'),
    ).toHaveLength(1);
    expect(await queryLines(program.url, '{service="app"} |= "nul \\x00 in"')).toEqual([
      'nul \0 inside',
    ]);
    expect(
      await queryLines(program.url, '{service="app"} | reflexarc_truncated_bytes > 2000'),
    ).toHaveLength(1);
  });

  it('reads a file and a folder once it may', async () => {
    await chmod(join(logs, 'app-closed.log'), 0o644);
    await chmod(join(logs, 'secret'), 0o755);
    await until('their lines', async () => {
      const lines = await queryLines(program.url, '{service="app"} |= "later"');
      return lines.length === 2;
    });
  });

  const reloaded = (component: string, value: number): Promise<unknown> =>
    until(`the metric to be ${value}`, async () => {
      const name = `reflexarc_${component}_config_last_reload_successful`;
      return (await metric(program, name)) === value;
    });
  /** Writes a line; resolves when these alerts on it have arrived. */
  async function alarm(n: number, ...names: string[]): Promise<void> {
    await appendFile(join(logs, 'app.log'), `alarm n=${n}\n`);
    for (const name of names) {
      await until(`${name} on ${n}`, () =>
        receiver.hooks.some(({ alerts }) =>
          alerts.some(({ labels }) => labels['alertname'] === name && labels['n'] === `${n}`),
        ),
      );
    }
  }

  it('goes on with the rules and receivers that it has, until a file is right', async () => {
    await reloaded('alerting', 0);
    await alarm(1, 'First');
    await write('rules/bad.yaml', rule('Second', ALARMS));
    await reloaded('alerting', 1);
    await alarm(2, 'First', 'Second');

    await write('rules/good.yaml', rule('First', `${ALARMS} + "a"`));
    await reloaded('alerting', 0);
    await said(/what was running goes on: rules\/good\.yaml:7:\d+: /);
    await alarm(3, 'First', 'Second');

    await write('rules/good.yaml', rule('First', ALARMS));
    await reloaded('alerting', 1);
    await write('notify.yaml', 'route: { receiver: nobody }\n');
    await reloaded('alerting', 0);
    await said(/what was running goes on: notify\.yaml:1:\d+: .*nobody/);
    await alarm(4, 'First', 'Second');
    await write('notify.yaml', NOTIFY(receiver.url));
    await reloaded('alerting', 1);
  });

  it('goes on with the remediations that it has', async () => {
    await reloaded('remediation', 1);
    await write('remediations.yaml', REMEDIATIONS.replace('restart', 'reboot'));
    await reloaded('remediation', 0);
    await said(/"msg":"remediations\.yaml:6:9: .*unknown key \\"reboot\\"/);
    await said(/what was in force stays in force/);
    // It is in force, and does not act on what it sees only in part.
    await write('break', '');
    await until('what it does', async () => {
      const { actions } = JSON.parse(await text(program, '/api/actions?service=victim')) as {
        actions: ActionRecord[];
      };
      return actions.some(
        ({ remediation, phase, reason }) =>
          remediation === 'heal' && phase === 'waiting' && reason === 'stale_view',
      );
    });
  });
});

describeDocker('lines of containers', () => {
  const containers = new Containers();
  let dir: string;
  let program: Program;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-lines-'));
    await writeFile(
      join(dir, 'reflexarc.yaml'),
      'sources: { host_metrics: 0, max_line: 50000, docker: { metrics: 0 } }\n',
    );
    program = await startUp(dir);
  });
  afterAll(async () => {
    await containers.remove();
    expect(await program.end('SIGTERM')).toBe(0);
    await rm(dir, { recursive: true, force: true });
  });

  it('are joined, cut and cleaned; what is none is a dead letter, and reading goes on', async () => {
    const long = (char: string, count: number): string =>
      `head -c ${count} /dev/zero | tr '\\0' ${char}; echo`;
    const id = await containers.run(
      'lines',
      [
        'echo plain',
        'echo',
        "printf 'nul \\000 inside\\n'",
        "printf '\\033[31mERROR\\033[0m red\\n'",
        "printf 'caf\\351 \\377!\\n'",
        "printf 'crlf\\r\\n'",
        long('j', 40_000),
        long('c', 60_000),
        'echo oops >&2',
        'while [ ! -e /go ]; do sleep 0.05; done',
        'echo last',
        'sleep 600',
      ].join('; '),
    );
    const selector = (stream: string): string =>
      `{service="${containers.name('lines')}", stream="${stream}"}`;
    const lines = (): Promise<string[]> => queryLines(program.url, selector('stdout'));
    const expected = [
      'plain',
      '',
      'nul \0 inside',
      '\x1b[31mERROR\x1b[0m red',
      'caf\ufffd \ufffd!',
      'crlf',
      'j'.repeat(40_000),
      'c'.repeat(50_000),
    ];
    await until('the lines', async () => (await lines()).length === expected.length);
    expect(await lines()).toEqual(expected);
    expect(await queryLines(program.url, selector('stderr'))).toEqual(['oops']);
    const [cut] = (await streams(program, `${selector('stdout')} |= "cc"`)).map(
      ({ stream }) => stream,
    );
    expect(cut).toMatchObject({ reflexarc_truncated_bytes: '10000' });
    expect(await metric(program, 'reflexarc_collect_truncated_lines_total{kind="docker"}')).toBe(1);

    const { LogPath } = await containers.docker.getContainer(id).inspect();
    await appendFile(LogPath, 'this is no JSON\n{"log":1}\n\n');
    await containers.exec(id, 'touch', '/go');
    await until('the line after them', async () => (await lines()).at(-1) === 'last');
    expect(await lines()).toEqual([...expected, 'last']);
    const letters = await until('the dead letters', async () => {
      const found = await queryLines(program.url, selector('dead-letters'));
      return found.length >= 3 && found;
    });
    expect(letters).toEqual(['this is no JSON', '{"log":1}', '']);
    expect(/lines cannot be read: they are dead letters/.test(program.log())).toBe(true);
    expect(await metric(program, 'reflexarc_collect_dead_letters_total{reason="not_json"}')).toBe(
      3,
    );
    const dead = `${selector('dead-letters')} | reason=~".*json-file.*" | file="${LogPath}"`;
    await until('the dead letters', async () => (await queryLines(program.url, dead)).length === 3);
    expect(await queryLines(program.url, dead)).toEqual(['this is no JSON', '{"log":1}', '']);
  });
});
