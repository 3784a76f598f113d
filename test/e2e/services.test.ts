import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queryLines, startUp } from '../support/program.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { until } from '../support/wait.ts';

/** Each service as a process of its own, one after the other on the same data folder. */

let dir: string;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  dir = await mkdtemp(join(tmpdir(), 'reflexarc-services-'));
  await mkdir(join(dir, 'rules'));
  const files = {
    'app.log': 'one\nalarm\n',
    'reflexarc.yaml': `sources:
  docker: { enabled: false }
  files: [{ paths: ['${dir}/app.log'], service: app }]
  processes: [{ name: sleeper, command: [sleep, '600'] }]
`,
    'rules/a.yaml': `groups:
  - name: a
    type: logql
    rules:
      - alert: Alarm
        expr: sum(count_over_time({service="app"} |= "alarm" [1h])) > 0
`,
    'notify.yaml': `route: { receiver: hook, group_wait: 0s }
receivers: [{ name: hook, webhook_configs: [{ url: '${receiver.url}' }] }]
`,
    'remediations.yaml': `remediations:
  - { name: heal, match: ['alertname="Never"'], target: sleeper, steps: [restart: {}] }
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
});
afterAll(async () => {
  await receiver.close();
  await rm(dir, { recursive: true, force: true });
});

/** Runs one until its work is done; it ends with 0. */
async function alone(
  command: string,
  work: (url: string, metric: (line: RegExp) => Promise<boolean>) => Promise<unknown>,
): Promise<void> {
  const program = await startUp(dir, {}, { command, args: ['--listen', '127.0.0.1:0'] });
  try {
    const text = async (path: string): Promise<string> =>
      (await fetch(`${program.url}${path}`)).text();
    await until('it to be ready', async () => (await text('/readyz')) === 'ok\n');
    await work(program.url, async (line) => line.test(await text('/metrics')));
    expect((await fetch(`${program.url}/loki/api/v1/labels`)).status).toBe(
      command === 'serve' ? 200 : 404,
    );
  } finally {
    expect(await program.end('SIGTERM')).toBe(0);
  }
}

it('collect reads, and its metrics tell', () =>
  alone('collect', (_, metric) =>
    until('the lines on the bus', () =>
      metric(/^reflexarc_collect_sent_records_total\{topic="logs"\} [2-9]/m),
    ),
  ));

it('ingest stores what collect left on the bus', () =>
  alone('ingest', (_, metric) =>
    until('the lines to be stored', () =>
      metric(/^reflexarc_ingest_stored_total\{topic="logs"\} [2-9]/m),
    ),
  ));

it('serve answers from the store', () =>
  alone('serve', async (url) => {
    expect(await queryLines(url, '{service="app"}')).toEqual(['one', 'alarm']);
  }));

it('alert evaluates and tells', () =>
  alone('alert', () => until('the webhook', () => receiver.hooks[0]?.status === 'firing')));

it('remediate sees what runs', () =>
  alone('remediate', (_, metric) =>
    until('the processes to be seen', () =>
      metric(/^reflexarc_remediation_view_synced\{runtime="[a-z]+"\} 1/m),
    ),
  ));
