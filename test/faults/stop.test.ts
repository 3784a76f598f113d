import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import { type Program, startUp } from '../support/program.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { until } from '../support/wait.ts';

/** SIGTERM while everything is busy. Exit code 0 says that it drained within its ten seconds. */

const LINES = 200_000;

let dir: string;
let receiver: Receiver;
const programs: Program[] = [];
const start = async (): Promise<Program> => {
  const program = await startUp(dir);
  programs.push(program);
  return program;
};
beforeEach(async () => {
  receiver = await startReceiver();
  dir = await mkdtemp(join(tmpdir(), 'reflexarc-stop-'));
  await mkdir(join(dir, 'rules'));
});
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGKILL');
  await receiver.close();
  await rm(dir, { recursive: true, force: true });
});

async function get<T>(program: Program, path: string): Promise<T> {
  return (await (await fetch(`${program.url}${path}`)).json()) as T;
}

const countPath = `/loki/api/v1/query?query=${encodeURIComponent('sum(count_over_time({service="app"}[1h]))')}`;

async function count(program: Program): Promise<number> {
  const { data } = await get<{ data: { result: { value: [number, string] }[] } }>(
    program,
    countPath,
  );
  return Number(data.result[0]?.value[1] ?? 0);
}

const phases = async (program: Program): Promise<string[]> =>
  (
    await get<{ actions: ActionRecord[] }>(program, '/api/actions?service=victim&limit=100')
  ).actions.map(({ phase }) => phase);

it('drains while it reads a backlog, answers, heals and tells', { timeout: 60_000 }, async () => {
  const victim = `while [ ! -e '${dir}/break' ]; do sleep 0.05; done; rm '${dir}/break'; echo broken; exec sleep 600`;
  const stubborn = "trap '' TERM; echo up; while :; do sleep 0.05; done";
  const files = {
    'reflexarc.yaml': `sources:
  docker: { enabled: false }
  files: [{ paths: ['${dir}/app.log'], service: app }]
  processes:
    - { name: victim, command: [sh, -c, ${JSON.stringify(victim)}] }
    - { name: stubborn, command: [sh, -c, ${JSON.stringify(stubborn)}], stop_grace: 200ms }
`,
    'rules/a.yaml': `groups:
  - name: a
    type: logql
    interval: 1s
    rules:
      - alert: Broken
        expr: sum by (service) (count_over_time({service="victim"} |= "broken" [5s])) > 0
`,
    'notify.yaml': `route: { receiver: hook, group_wait: 0s }
receivers: [{ name: hook, webhook_configs: [{ url: '${receiver.url}' }] }]
`,
    'remediations.yaml': `remediations:
  - name: heal
    match: ['alertname="Broken"']
    target: '{{ $labels.service }}'
    steps: [{ restart: {}, verify: { within: 120s, healthy_for: 60s } }]
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  const program = await start();
  receiver.hang();
  await writeFile(join(dir, 'break'), '');
  await until('the restart', async () => (await phases(program)).includes('done'));
  await until('the webhook, which hangs', () => receiver.hooks.length > 0);

  const tail = await fetch(
    `${program.url}/api/tail?query=${encodeURIComponent('{service="app"}')}`,
  );
  const told = tail.text();
  const numbers = Array.from({ length: LINES }, (_, n) => `line ${n} of a backlog of lines\n`);
  await appendFile(join(dir, 'app.log'), numbers.join(''));
  await until('the backlog to be begun', async () => (await count(program)) > 0);
  const queries = Array.from({ length: 4 }, () =>
    fetch(
      `${program.url}/loki/api/v1/query?query=${encodeURIComponent('sum(count_over_time({service="app"} |~ "o+f.*[a-z]+$" [1h]))')}`,
    ).catch(() => undefined),
  );
  expect(await program.end('SIGTERM')).toBe(0);
  expect(program.log().match(/"level":"error".*/g) ?? []).toEqual([]);
  await Promise.all(queries);
  // The tail has ended, and in order.
  expect((await told).endsWith('\n')).toBe(true);

  const again = await start();
  await until('every line', async () => (await count(again)) >= LINES);
  expect(await count(again)).toBe(LINES);
  // It goes on to verify what it has done, and does not do it again.
  expect((await phases(again)).filter((phase) => phase === 'started')).toHaveLength(1);
  expect(await again.end('SIGTERM')).toBe(0);
});

it('ends at once on a second signal', async () => {
  await writeFile(join(dir, 'reflexarc.yaml'), 'sources: { docker: { enabled: false } }\n');
  const program = await start();
  // A request that does not come to its end holds the stop up.
  const { port } = new URL(program.url);
  const hanging = request({
    port,
    method: 'POST',
    path: '/loki/api/v1/push',
    headers: { 'Content-Type': 'application/json', 'Content-Length': 1000 },
  });
  hanging.on('error', () => undefined);
  hanging.write('{');
  await until('the request to be under way', () => hanging.socket?.bytesWritten !== 0);
  const ended = program.end('SIGTERM');
  await until('it to drain', () => program.log().includes('draining'));
  program.process.kill('SIGTERM');
  expect(await ended).toBe(143);
});
