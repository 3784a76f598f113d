import { appendFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openIn } from '../../engines/embedded/testing.ts';
import { type Program, queryLines, runCommand, startUp } from '../support/program.ts';
import { until } from '../support/wait.ts';

/** Damaged files in the data folder: what is said, and what goes on. */

let dir: string;
let program: Program | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reflexarc-damage-'));
  await writeFile(
    join(dir, 'reflexarc.yaml'),
    `sources:
  docker: { enabled: false }
  files: [{ paths: ['${dir}/*.log'] }]
`,
  );
});
afterEach(async () => {
  await program?.end('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

const data = (name: string): string => join(dir, 'data', name);
const up = async (): Promise<Program> => (program = await startUp(dir));
const log = (name: string, ...lines: string[]): Promise<void> =>
  appendFile(join(dir, `${name}.log`), lines.map((line) => `${line}\n`).join(''));
const lines = (running: Program, service: string, expected: readonly string[]): Promise<unknown> =>
  until(`the lines of ${service}`, async () => {
    const found = await queryLines(running.url, `{service="${service}"}`);
    return found.length >= expected.length && (expect(found).toEqual(expected), true);
  });
const noise = (bytes: number): Buffer => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes)));

async function end(running: Program): Promise<void> {
  expect(await running.end('SIGTERM')).toBe(0);
}

it('of the store and of a checkpoint are said, and all goes on', async () => {
  let running = await up();
  await log('a', 'a1', 'a2');
  await log('b', 'b1');
  await lines(running, 'a', ['a1', 'a2']);
  await lines(running, 'b', ['b1']);
  await end(running);

  const embedded = await openIn(join(dir, 'data'));
  const key = `collect/files/${dir}/a.log`;
  expect(await embedded.state.get(key)).toBeDefined();
  await embedded.state.put([{ key, value: { files: 'none' } }]);
  await embedded.close();
  await writeFile(data('store/logs/manifest.json'), '{ "seq": ');

  running = await up();
  await until('the checkpoint to be named', () =>
    new RegExp(`"key":"${key}".*a checkpoint is unusable; beginning again`).test(running.log()),
  );
  expect(/"file":"[^"]*manifest\.json".*"hint":"it is made again/.test(running.log())).toBe(true);
  await log('a', 'a3');
  await log('b', 'b2');
  await lines(running, 'a', ['a1', 'a2', 'a3']);
  await lines(running, 'b', ['b1', 'b2']);
  await end(running);

  // A frame of the log of the newest rows: what was in it is lost, and nothing else.
  const wal = data('store/logs/wal-000000001.log');
  const bytes = await readFile(wal);
  bytes.writeUInt32LE(0, 30);
  await writeFile(wal, bytes);
  running = await up();
  expect(/"file":"[^"]*wal-0+1\.log".*cannot be read back/.test(running.log())).toBe(true);
  await log('b', 'b3');
  await until('the newest line', async () =>
    (await queryLines(running.url, '{service="b"}')).includes('b3'),
  );
  await end(running);
});

it('of bus, state and lock keep it from starting, until they are moved away', async () => {
  let running = await up();
  await log('a', 'a1', 'a2');
  await lines(running, 'a', ['a1', 'a2']);
  await end(running);

  const refusal = async (file: string, message: RegExp): Promise<void> => {
    const whole = await readFile(data(file));
    await writeFile(data(file), noise(Math.max(whole.length, 8192)));
    const { code, stdout, stderr } = await runCommand([
      'up',
      '--dir',
      dir,
      '--listen',
      '127.0.0.1:0',
    ]);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
    expect(stdout).toBe('');
    expect(code).toBe(1);
    await rename(data(file), data(`${file}.damaged`));
  };
  await refusal('lock', /^error: .*data\/lock: the lock file is damaged \(delete this file/);
  await refusal(
    'bus.mdb',
    /^error: .*data\/bus\.mdb: .*damaged: .*move it away.*not stored yet are lost/,
  );
  await log('a', 'a3');
  await refusal('state.mdb', /^error: .*data\/state\.mdb: .*damaged: .*move it away.*checkpoints/);

  running = await up();
  await lines(running, 'a', ['a1', 'a2', 'a3']);
  await log('a', 'a4');
  await lines(running, 'a', ['a1', 'a2', 'a3', 'a4']);
  await end(running);
});
