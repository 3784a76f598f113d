import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
