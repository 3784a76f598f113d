import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startUp } from '../test/support/program.ts';
import { heading, MIB, row, threadsOf, usageOf } from './support.ts';

/**
 * A backlog of docker json-file lines on disk, until the last is visible in a query: the whole
 * program as users run it. The ceiling, in the same run: reading the same file and parsing each
 * line, which any collector has to do.
 */
const LINES = Number(process.env['BENCH_LINES'] ?? 5_000_000);
const FILES = 4;

/** One file as Docker's json-file driver writes it; lines of 200 bytes. */
async function writeLog(path: string, lines: number, seed: number): Promise<void> {
  const out = createWriteStream(path);
  const start = Date.now() - 3_600_000;
  for (let n = 0; n < lines; ) {
    let text = '';
    for (let k = 0; k < 2000 && n < lines; k++, n++) {
      const head = `level=${n % 50 === 0 ? 'error' : 'info'} request=${(n * 2654435761 + seed) >>> 0} line=${n} `;
      const time = new Date(start + Math.floor((n * 3_600_000) / lines)).toISOString();
      const fraction = String(n % 1_000_000).padStart(6, '0');
      text += `{"log":"${head.padEnd(199, 'the quick brown fox jumps over the lazy dog ').slice(0, 199)}\\n","stream":"stdout","time":"${time.slice(0, -1)}${fraction}Z"}\n`;
    }
    if (!out.write(text)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
}

async function ceiling(paths: readonly string[]): Promise<number> {
  const begin = performance.now();
  let count = 0;
  for (const path of paths) {
    let rest = '';
    for await (const chunk of createReadStream(path, { highWaterMark: MIB }).setEncoding(
      'latin1',
    )) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines)
        if (typeof (JSON.parse(line) as { log: string }).log === 'string') count++;
    }
  }
  return count / ((performance.now() - begin) / 1000);
}

const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8' }).trim();

heading(
  `Backlog of ${LINES.toLocaleString('en')} lines of 200 bytes, json-file on disk to visible`,
  'npm run bench -- drain',
);
const dir = await mkdtemp(join(tmpdir(), 'reflexarc-drain-'));
const containers: string[] = [];
try {
  const image = process.env['BENCH_IMAGE'] ?? 'reflexarc-bench:busybox';
  if (process.env['BENCH_IMAGE'] === undefined) {
    execFileSync(
      'sh',
      ['-c', `tar -C / -c bin/busybox | docker import -c 'CMD ["/bin/busybox","true"]' - ${image}`],
      { stdio: 'ignore' },
    );
  }
  const paths: string[] = [];
  for (let n = 0; n < FILES; n++) {
    const id = docker(
      'run',
      '-d',
      '--name',
      `reflexarc-bench-${process.pid}-${n}`,
      '--log-driver',
      'json-file',
      image,
    );
    containers.push(id);
    docker('wait', id);
    const path = docker('inspect', '-f', '{{.LogPath}}', id);
    await writeLog(path, LINES / FILES, n);
    paths.push(path);
  }
  const parse = await ceiling(paths);

  await writeFile(
    join(dir, 'reflexarc.yaml'),
    'sources: { host_metrics: 0 }\nquery: { timeout: 5m }\n',
  );
  const program = await startUp(dir);
  const pid = program.process.pid ?? 0;
  const begin = performance.now();
  let peak = usageOf(pid);
  let visible = 0;
  const names = containers.map((_, n) => `reflexarc-bench-${process.pid}-${n}`).join('|');
  const query = `sum(count_over_time({container=~"${names}", stream="stdout"}[2h]))`;
  while (visible < LINES && performance.now() - begin < 600_000) {
    await pause(500);
    const now = usageOf(pid);
    if (now.rssBytes > peak.rssBytes) peak = now;
    // Asked seldom: each asking is a scan, and would slow what it measures.
    if ((performance.now() - begin) % 3000 > 500) continue;
    const response = await fetch(
      `${program.url}/loki/api/v1/query?query=${encodeURIComponent(query)}`,
    );
    const body = (await response.json()) as { data?: { result: { value: [number, string] }[] } };
    visible = Number(body.data?.result[0]?.value[1] ?? 0);
  }
  const seconds = (performance.now() - begin) / 1000;
  const { cpu } = usageOf(pid);
  const rate = visible / seconds;
  row(
    'lines visible',
    visible.toLocaleString('en'),
    visible === LINES ? 'all' : `of ${LINES}: NOT all`,
  );
  row(
    'lines/s, start of the program included',
    Math.round(rate).toLocaleString('en'),
    `${(rate / parse).toFixed(2)} of read+JSON.parse (${Math.round(parse).toLocaleString('en')}/s)`,
  );
  const threads = threadsOf(pid)
    .filter((thread) => thread.cpu > cpu / 50)
    .map((thread) => `${thread.name} ${((thread.cpu / visible) * 1e6).toFixed(1)}`);
  row('CPU per line', `${((cpu / visible) * 1e6).toFixed(1)} µs`, threads.join(', '));
  row(
    'peak resident memory',
    `${Math.round(peak.rssBytes / MIB)} MiB`,
    `${Math.round(peak.anonBytes / MIB)} MiB of it no file's; goal: under 700 MiB`,
  );
  await program.end('SIGTERM');
} finally {
  for (const id of containers) docker('rm', '-f', id);
  await rm(dir, { recursive: true, force: true });
}
