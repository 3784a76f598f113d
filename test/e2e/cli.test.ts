import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityOf } from '../../engines/local/proc.ts';
import { runCommand, startUp } from '../support/program.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reflexarc-cli-'));
  await mkdir(join(dir, 'rules'));
  await writeFile(
    join(dir, 'reflexarc.yaml'),
    'sources: { docker: { enabled: false }, host_metrics: 0 }\n',
  );
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('help and usage', () => {
  it('explains every command', async () => {
    const { code, stdout } = await runCommand(['--help']);
    expect(code).toBe(0);
    for (const name of [
      'up',
      'collect',
      'ingest',
      'alert',
      'remediate',
      'serve',
      'check',
      'query',
      'tail',
      'demo',
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
    }
  });

  it.each([
    ['up', 'HTTP API'],
    ['collect', '/healthz, /readyz and /metrics'],
    ['serve', 'HTTP API'],
    ['check', '--json'],
    ['query', '--since'],
    ['tail', '--server'],
    ['demo', 'What else there is: npx reflexarc --help'],
  ])('%s --help', async (name, says) => {
    const { code, stdout } = await runCommand([name, '--help']);
    expect(stdout.replace(/\s+/g, ' ')).toContain(says);
    expect(stdout).toContain(`Usage: reflexarc ${name} `);
    expect(code).toBe(0);
  });

  it('takes options from the environment', async () => {
    await writeFile(join(dir, 'reflexarc.yaml'), 'lisen: x\n');
    const { code, stdout } = await runCommand(['check'], { env: { REFLEXARC_DIR: dir } });
    expect(stdout).toMatch(/did you mean listen/);
    expect(code).toBe(1);
    for (const env of [{ REFLEXARC_LOG_LEVEL: 'loud' }, { REFLEXARC_LISTEN: 'nowhere' }]) {
      await writeFile(join(dir, 'reflexarc.yaml'), '');
      const refused = await runCommand(['up', '--dir', dir], { env });
      expect(refused.stderr).toMatch(/loud|nowhere/);
      expect(refused.code).toBe(2);
    }
  });

  it.each([[['nonsense']], [['up', '--log-level', 'loud']], [['up', '--wrong']], [['query']]])(
    '%j is exit code 2',
    async (args) => {
      const { code, stderr } = await runCommand(args);
      expect(code).toBe(2);
      expect(stderr).not.toBe('');
      expect(stderr).not.toContain('    at ');
    },
  );
});

describe('check', () => {
  it('is content with an empty folder', async () => {
    expect(await runCommand(['check', '--dir', dir])).toMatchObject({ code: 0, stderr: '' });
  });

  it('is content with the examples', async () => {
    const example = join(import.meta.dirname, '..', '..', 'compose', 'example');
    const { code, stdout } = await runCommand(['check', '--dir', example]);
    expect(stdout).toMatch(/all files are right/);
    expect(code).toBe(0);
  });

  it('names all problems of all files', async () => {
    await writeFile(join(dir, 'reflexarc.yaml'), 'lisen: 127.0.0.1:1\n');
    await writeFile(
      join(dir, 'rules', 'a.yaml'),
      'groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: rate(x)\n',
    );
    await writeFile(join(dir, 'notify.yaml'), 'route:\n  receiver: nobody\n');
    await writeFile(join(dir, 'remediations.yaml'), 'remediations:\n  - name: x\n    target: y\n');
    const { code, stdout } = await runCommand(['check', '--dir', dir]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^reflexarc\.yaml:1:1: lisen: unknown key "lisen" \(did you mean listen\?\)/m,
    );
    expect(stdout).toMatch(/^rules\/a\.yaml:5:20: groups\[0\]\.rules\[0\]\.expr: /m);
    expect(stdout).toMatch(/^notify\.yaml:2:3: .*nobody/m);
    expect(stdout).toMatch(/^remediations\.yaml:2:5: remediations\[0\]\.match: is required/m);
  });

  it('says all that `up` would refuse, each with its line', async () => {
    await writeFile(
      join(dir, 'reflexarc.yaml'),
      `listen: 127.0.0.1
bus:
  max_size: 1KiB
sources:
  docker:
    host: ssh://host
  processes:
    - name: a
      command: [a]
    - name: a
      command: [b]
      health: { interval: 1s }
    - name: c
      command: [c]
      health: { http: ftp://x, tcp: x }
`,
    );
    await writeFile(
      join(dir, 'remediations.yaml'),
      'remediations:\n  - name: x\n    match: [alertname="A"]\n    target: web\n    steps:\n      - notify:\n          receiver: nobody\n',
    );
    const schema = await runCommand(['check', '--dir', dir]);
    expect(schema.code).toBe(1);
    expect(
      schema.stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' (')[0]),
    ).toEqual([
      'reflexarc.yaml:3:3: bus.max_size: the bus needs at least 1MiB',
      'reflexarc.yaml:10:7: sources.processes[1].name: two processes have the name "a"',
      'reflexarc.yaml:12:7: sources.processes[1].health: it checks nothing: add http: URL, tcp: host:port or exec: [command]',
      'reflexarc.yaml:15:17: sources.processes[2].health.http: not an HTTP address: write it like http://127.0.0.1:8080/healthz',
      'reflexarc.yaml:15:32: sources.processes[2].health.tcp: not a host and a port: write it like 127.0.0.1:6379',
      'remediations.yaml:7:11: remediations[0].steps[0].notify.receiver: notify.yaml has no receiver "nobody"',
      expect.stringContaining('6 problems') as string,
    ]);
  });

  it.each([
    [
      'an address that is none',
      'listen: 127.0.0.1\n',
      /^reflexarc\.yaml:1:1: listen: not an address/m,
    ],
    [
      'an address that others reach, without a token',
      'host: h\nlisten: 0.0.0.0:4440\n',
      /^reflexarc\.yaml:2:1: listen: .*without a token/m,
    ],
    [
      'a token that is too short',
      'tokens:\n  - name: a\n    token_file: FOLDER/short\n',
      /^reflexarc\.yaml:3:5: tokens\[0\]\.token_file: .*shorter than 16/m,
    ],
    [
      'a token that cannot be read',
      'tokens:\n  - name: a\n    token_file: /not/there\n',
      /^reflexarc\.yaml:3:5: tokens\[0\]\.token_file: cannot read/m,
    ],
    [
      'a way to Docker that there is not',
      'sources:\n  docker:\n    host: ssh://h\n',
      /^reflexarc\.yaml:3:5: sources\.docker\.host: not the address of a Docker Engine/m,
    ],
  ])('finds %s', async (_, text, message) => {
    await writeFile(join(dir, 'short'), 'abc\n');
    await writeFile(join(dir, 'reflexarc.yaml'), text.replace('FOLDER', dir));
    const { code, stdout } = await runCommand(['check', '--dir', dir]);
    expect(stdout).toMatch(message);
    expect(stdout).toContain('one problem');
    expect(code).toBe(1);
  });

  it('warns of a label that looks mistyped, and of no other', async () => {
    const file = join(dir, 'rules', 'a.yaml');
    const rule = (name: string, labels: string): string =>
      `{ alert: ${name}, expr: 'sum(count_over_time({${labels}} [5m])) > 0' }`;
    const rules = [
      rule('A', 'servce="web"'),
      rule('B', 'service="web", team="core", own="x"'),
      rule('C', 'job="pushed"'),
    ];
    await writeFile(
      file,
      `groups:\n  - name: g\n    type: logql\n    rules: [${rules.join(', ')}]\n`,
    );
    const { code, stdout } = await runCommand(['check', '--dir', dir]);
    expect(stdout.match(/^warning.*$/gm)).toEqual([
      'warning: rules/a.yaml: group g, rule A: nothing collected has a label "servce" (did you mean service?)',
    ]);
    expect(code).toBe(0);
  });

  it('says it in JSON', async () => {
    await writeFile(join(dir, 'reflexarc.yaml'), 'lisen: x\n');
    const { stdout } = await runCommand(['check', '--dir', dir, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'bad_config',
      line: 1,
      column: 1,
      field: 'lisen',
    });
  });
});

describe('up', () => {
  it('ends processes that outlived a kill when none is configured any more', async () => {
    const file = join(dir, 'reflexarc.yaml');
    const rest = 'sources:\n  docker: { enabled: false }\n  host_metrics: 0\n';
    await writeFile(file, `${rest}  processes: [{ name: a, command: [sleep, '600'] }]\n`);
    const first = await startUp(dir);
    const run = join(dir, 'data', 'processes', 'a', 'run.json');
    const { pid } = JSON.parse(await readFile(run, 'utf8')) as { pid: number };
    await first.end('SIGKILL');
    await writeFile(file, rest);
    const second = await startUp(dir);
    try {
      expect(identityOf(pid)).toBeUndefined();
    } finally {
      if (identityOf(pid) !== undefined) process.kill(pid, 'SIGKILL');
      expect(await second.end('SIGTERM')).toBe(0);
    }
  });

  it('refuses a second process on the same folder, and names the first', async () => {
    const program = await startUp(dir);
    try {
      const { code, stderr } = await runCommand(['up', '--dir', dir, '--listen', '127.0.0.1:0']);
      expect(code).toBe(1);
      expect(stderr).toMatch(new RegExp(`error: .*data.*${program.process.pid}`));
    } finally {
      expect(await program.end('SIGTERM')).toBe(0);
    }
  });

  it('names the port that is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const { code, stderr } = await runCommand([
      'up',
      '--dir',
      dir,
      '--listen',
      `127.0.0.1:${port}`,
    ]);
    server.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`error: .*${port}.*in use`));
  });

  it('does not listen to the world without a token', async () => {
    const { code, stderr } = await runCommand(['up', '--dir', dir, '--listen', '0.0.0.0:0']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/token/);
  });

  it('names a wrong configuration and starts nothing', async () => {
    await writeFile(join(dir, 'reflexarc.yaml'), 'store: { max_age: soon }\n');
    const { code, stderr } = await runCommand(['up', '--dir', dir]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error: .*reflexarc\.yaml:1:10: store\.max_age: not a duration: "soon"/,
    );
  });

  it('says that a folder is missing', async () => {
    const { code, stderr } = await runCommand(['up', '--dir', join(dir, 'nowhere')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/there is no folder .*nowhere/);
  });
});
