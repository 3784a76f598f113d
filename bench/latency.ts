import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startUp } from '../test/support/program.ts';
import { heading, percentile, row } from './support.ts';

/**
 * From a line's writing in a container to the webhook's arrival and to the point where the runtime
 * would be called (dry run), for a `for: 0s` rule, while 1,000 lines/s pass. The peer, in the same
 * run: `docker logs --follow` of the same containers, the soonest that anybody can read the line.
 */
const CONTAINERS = 10;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 50);
const BACKGROUND = 1000;
const IMAGE = 'reflexarc-bench:busybox';
const prefix = `reflexarc-latency-${process.pid}`;

const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8' }).trim();

const writtenAt = new Map<string, number>();
const seenAt = { webhook: new Map<string, number>(), logs: new Map<string, number>() };

heading(
  'Line written to webhook and to the action, under 1,000 lines/s',
  'npm run bench -- latency',
);
execFileSync(
  'sh',
  ['-c', `tar -C / -c bin/busybox | docker import -c 'CMD ["/bin/busybox","true"]' - ${IMAGE}`],
  { stdio: 'ignore' },
);
const dir = await mkdtemp(join(tmpdir(), 'reflexarc-latency-'));
const children: ChildProcess[] = [];
const names: string[] = [];

const hook = createServer((request, response) => {
  const now = performance.now();
  let body = '';
  request.setEncoding('utf8').on('data', (text: string) => (body += text));
  request.on('end', () => {
    response.end();
    const { alerts } = JSON.parse(body) as {
      alerts: { status: string; labels: Record<string, string> }[];
    };
    for (const alert of alerts) {
      const key = `${alert.labels['service']}/${alert.labels['round']}`;
      if (alert.status === 'firing' && !seenAt.webhook.has(key)) seenAt.webhook.set(key, now);
    }
  });
});
hook.listen(0, '127.0.0.1');

function startContainer(name: string): ChildProcess {
  names.push(name);
  const child = spawn(
    'docker',
    [
      'run',
      '-i',
      '--rm',
      '--name',
      name,
      '--log-driver',
      'json-file',
      IMAGE,
      '/bin/busybox',
      'cat',
    ],
    { stdio: ['pipe', 'ignore', 'ignore'] },
  );
  children.push(child);
  return child;
}

try {
  await mkdir(join(dir, 'rules'));
  const files: Record<string, string> = {
    'reflexarc.yaml': 'sources: { host_metrics: 0 }\n',
    'rules/latency.yaml': `groups:
  - name: latency
    type: logql
    interval: 1s
    rules:
      - alert: Marker
        expr: sum by (service, round) (count_over_time({stream="stdout"} |= "BOOM" | logfmt [1s])) > 0
`,
    'notify.yaml': `route: { receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s }
receivers:
  - name: hook
    webhook_configs: [{ url: 'http://127.0.0.1:${(hook.address() as AddressInfo).port}/' }]
`,
    'remediations.yaml': `remediations:
  - name: dry
    match: ['alertname="Marker"']
    target: '{{ $labels.service }}'
    steps: [{ restart: {} }]
    limits: { cooldown: 0s, attempts: 1000000, window: 1m }
    dry_run: true
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);

  const targets = Array.from({ length: CONTAINERS }, (_, n) => `${prefix}-${n}`);
  const stdin = new Map(targets.map((name) => [name, startContainer(name)]));
  const load = startContainer(`${prefix}-load`);
  for (const name of names) {
    while (!docker('ps', '-q', '-f', `name=${name}`)) await pause(100);
  }
  for (const name of targets) {
    const follow = spawn('docker', ['logs', '-f', name], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(follow);
    follow.stdout.setEncoding('utf8').on('data', (text: string) => {
      const now = performance.now();
      for (const found of text.matchAll(/BOOM round=(\d+)/g)) {
        const key = `${name}/${found[1]}`;
        if (!seenAt.logs.has(key)) seenAt.logs.set(key, now);
      }
    });
  }
  const program = await startUp(dir);
  let sent = 0;
  const timer = setInterval(() => {
    let text = '';
    for (let n = 0; n < BACKGROUND / 20; n++)
      text += `level=info request=${sent++} ${'x'.repeat(160)}\n`;
    load.stdin?.write(text);
  }, 50);
  await pause(3000);
  const epoch = performance.timeOrigin;
  for (let round = 1; round <= ROUNDS; round++) {
    for (const name of targets) {
      writtenAt.set(`${name}/${round}`, performance.now());
      stdin.get(name)?.stdin?.write(`BOOM round=${round}\n`);
      await pause(37);
    }
    await pause(200);
  }
  clearInterval(timer);

  const response = await fetch(`${program.url}/api/actions?limit=5000`);
  const { actions } = (await response.json()) as {
    actions: { phase: string; timestamp: number; alert: { labels: Record<string, string> } }[];
  };
  const decided: number[] = [];
  for (const { phase, timestamp, alert } of actions) {
    const at = writtenAt.get(`${alert.labels['service']}/${alert.labels['round']}`);
    // Records have whole milliseconds.
    if (phase === 'skipped' && at !== undefined) decided.push(timestamp - epoch - at);
  }
  const delays = (seen: ReadonlyMap<string, number>): number[] =>
    [...writtenAt].flatMap(([key, at]) => (seen.has(key) ? [(seen.get(key) ?? 0) - at] : []));
  const peer = delays(seenAt.logs);
  const show = (what: string, values: readonly number[], goal = ''): void => {
    const ratio = percentile(values, 50) / percentile(peer, 50);
    row(
      `${what} (${values.length} of ${writtenAt.size})`,
      `p50 ${percentile(values, 50).toFixed(1)} p99 ${percentile(values, 99).toFixed(1)} ms`,
      `${ratio.toFixed(1)} of docker logs -f${goal}`,
    );
  };
  show('docker logs --follow', peer);
  show('webhook', delays(seenAt.webhook), '; goal: p99 under 250 ms');
  show('action (dry run)', decided, '; goal: p99 under 250 ms');
  await program.end('SIGTERM');
} finally {
  for (const name of names) {
    try {
      docker('rm', '-f', name);
    } catch {
      // Gone already: --rm.
    }
  }
  for (const child of children) child.kill();
  hook.close();
  await rm(dir, { recursive: true, force: true });
}
