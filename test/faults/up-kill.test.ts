import { appendFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { queryLines, startUp } from '../support/program.ts';
import { until } from '../support/wait.ts';

/**
 * kill -9 of the whole program at random moments while a file is written and rotated: afterwards
 * every line is visible exactly once. `REFLEXARC_SOAK=1` makes it many times as long.
 */
const ROUNDS = process.env['REFLEXARC_SOAK'] === undefined ? 8 : 100;

let dir: string | undefined;
afterEach(async () => {
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
});

it(`shows every line exactly once after ${ROUNDS} kills`, {
  timeout: ROUNDS * 15_000,
}, async () => {
  dir = await mkdtemp(join(tmpdir(), 'reflexarc-kill-'));
  const logs = join(dir, 'logs');
  await mkdir(logs);
  await writeFile(
    join(dir, 'reflexarc.yaml'),
    `sources:
  docker: { enabled: false }
  host_metrics: 0
  files:
    - paths: ['${logs}/app.log*']
      service: app
query: { max_lines: 1000000 }
`,
  );

  // Written without a break, so that a kill may come at any moment of anything.
  let written = 0;
  let writing = true;
  const writer = (async () => {
    while (writing) {
      let text = '';
      for (let n = 0; n < 20; n++) text += `line ${written++}\n`;
      await appendFile(join(logs, 'app.log'), text);
      if (written % 5000 === 0)
        await rename(join(logs, 'app.log'), join(logs, `app.log.${written}`));
      await pause(5);
    }
  })();

  for (let round = 0; round < ROUNDS; round++) {
    const program = await startUp(dir);
    // The moment of the kill is the test's one free choice; nothing waits for it.
    await pause(Math.random() * 1500);
    await program.end('SIGKILL');
  }
  writing = false;
  await writer;

  const program = await startUp(dir);
  try {
    const count = async (): Promise<number> => {
      const query = encodeURIComponent('sum(count_over_time({service="app"}[1h]))');
      const response = await fetch(`${program.url}/loki/api/v1/query?query=${query}`);
      const body = (await response.json()) as { data: { result: { value: [number, string] }[] } };
      return Number(body.data.result[0]?.value[1] ?? 0);
    };
    await until(`${written} lines to be visible`, async () => (await count()) >= written, 60_000);
    const seen = new Map<string, number>();
    for (const digit of '0123456789') {
      const lines = await queryLines(
        program.url,
        `{service="app"} |~ "^line \\\\d*${digit}$"`,
        1_000_000,
      );
      for (const line of lines) seen.set(line, (seen.get(line) ?? 0) + 1);
    }
    const wrong = Array.from({ length: written }, (_, n) => `line ${n}`).filter(
      (line) => seen.get(line) !== 1,
    );
    expect(wrong).toEqual([]);
    expect(seen.size).toBe(written);
  } finally {
    expect(await program.end('SIGTERM')).toBe(0);
  }
});
