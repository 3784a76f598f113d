import { appendFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeMount, mountSmall } from '../support/mount.ts';
import { type Program, queryLines, startUp } from '../support/program.ts';
import { until } from '../support/wait.ts';

/** The disk of the data folder gets full; then room is made. */
describeMount('a full disk', () => {
  let dir: string;
  let unmount: () => void;
  let program: Program | undefined;
  let written = 0;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-full-'));
    unmount = mountSmall(join(dir, 'data'), 'size=24m');
    await writeFile(
      join(dir, 'reflexarc.yaml'),
      `sources:
  docker: { enabled: false }
  files: [{ paths: ['${dir}/app.log'], service: app }]
query: { max_lines: 100000 }
`,
    );
  });
  afterEach(async () => {
    await program?.end('SIGKILL');
    unmount();
    await rm(dir, { recursive: true, force: true });
  });

  const ballast = (): string => join(dir, 'data', 'ballast');
  const fill = (leave: number): void => {
    const { bavail, bsize } = statfsSync(join(dir, 'data'));
    writeFileSync(ballast(), Buffer.alloc(Math.max(0, bavail * bsize - leave)));
  };
  const log = (lines: number): void => {
    // Random, so that it does not shrink on its way.
    const text = Array.from(
      { length: lines },
      () =>
        `${written++} ${Buffer.from(crypto.getRandomValues(new Uint8Array(150))).toString('hex')}\n`,
    );
    appendFileSync(join(dir, 'app.log'), text.join(''));
  };
  const ready = async (): Promise<string> => (await fetch(`${program?.url ?? ''}/readyz`)).text();
  const numbers = async (): Promise<number[]> =>
    (await queryLines(program?.url ?? '', '{service="app"}', 100_000)).map((line) =>
      Number(line.split(' ', 1)[0]),
    );
  const all = (): number[] => Array.from({ length: written }, (_, n) => n);
  const whole = (): Promise<unknown> =>
    until('every line, once', async () => {
      const seen = await numbers();
      return seen.length >= written && (expect(seen).toEqual(all()), true);
    });

  it('is said; what is there is answered; with room nothing is lost, also after a kill', {
    timeout: 60_000,
  }, async () => {
    program = await startUp(dir);
    log(1000);
    await whole();

    fill(256 * 1024);
    log(10_000);
    await until('it to be said', async () => /no space (is )?left/.test(await ready()));
    expect(/"hint":"(make room|free space) on this disk/.test(program.log())).toBe(true);
    expect((await fetch(`${program.url}/healthz`)).status).toBe(200);
    expect((await numbers()).slice(0, 1000)).toEqual(all().slice(0, 1000));

    // It can be killed and started again meanwhile.
    await program.end('SIGKILL');
    program = await startUp(dir);
    await until('it to be said again', async () => /no space (is )?left/.test(await ready()));
    expect((await numbers()).slice(0, 1000)).toEqual(all().slice(0, 1000));

    rmSync(ballast());
    await whole();
    await until('it to be well', async () => (await ready()) === 'ok\n');
    log(10);
    await whole();
    expect(await program.end('SIGTERM')).toBe(0);
  });
});
