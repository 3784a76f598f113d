import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startUp } from '../test/support/program.ts';
import { heading, MIB, row, threadsOf, usageOf } from './support.ts';

/**
 * Watching 20 quiet containers with the example rules: CPU and memory of the program, beside what
 * the Docker Engine itself uses for them in the same time.
 */
const CONTAINERS = 20;
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const IMAGE = 'reflexarc-bench:busybox';
const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8' }).trim();

heading(`Idle, ${CONTAINERS} quiet containers, over ${SECONDS} s`, 'npm run bench -- idle');
execFileSync(
  'sh',
  ['-c', `tar -C / -c bin/busybox | docker import -c 'CMD ["/bin/busybox","true"]' - ${IMAGE}`],
  { stdio: 'ignore' },
);
const dir = await mkdtemp(join(tmpdir(), 'reflexarc-idle-'));
const ids: string[] = [];
try {
  for (let n = 0; n < CONTAINERS; n++) {
    ids.push(
      docker('run', '-d', '--log-driver', 'json-file', IMAGE, '/bin/busybox', 'sleep', '3600'),
    );
  }
  const example = join(import.meta.dirname, '..', 'compose', 'example');
  await cp(example, dir, { recursive: true, filter: (from) => !from.endsWith('/data') });
  const program = await startUp(dir);
  const pid = program.process.pid ?? 0;
  const engine = Number(
    execFileSync('pidof', ['dockerd'], { encoding: 'utf8' }).trim().split(' ')[0],
  );
  await pause(10_000);
  const threads = new Map(threadsOf(pid).map(({ name, cpu }) => [name, cpu]));
  const before = { own: usageOf(pid), engine: usageOf(engine), at: performance.now() };
  await pause(SECONDS * 1000);
  const after = { own: usageOf(pid), engine: usageOf(engine), at: performance.now() };
  const share = (a: { cpu: number }, b: { cpu: number }): number =>
    (b.cpu - a.cpu) / ((after.at - before.at) / 1000);
  const own = share(before.own, after.own);
  const peer = share(before.engine, after.engine);
  row(
    'CPU of one core',
    `${(own * 100).toFixed(2)} %`,
    `dockerd itself: ${(peer * 100).toFixed(2)} %; goal: under 2 %`,
  );
  const most = threadsOf(pid)
    .map(({ name, cpu }) => ({ name, share: (cpu - (threads.get(name) ?? 0)) / SECONDS }))
    .filter(({ share }) => share > 0.0005)
    .map(({ name, share }) => `${name} ${(share * 100).toFixed(2)} %`);
  row('by thread', '', most.join(', '));
  row(
    'resident memory',
    `${Math.round(after.own.rssBytes / MIB)} MiB`,
    `dockerd itself: ${Math.round(after.engine.rssBytes / MIB)} MiB; goal: under 200 MiB`,
  );
  await program.end('SIGTERM');
} finally {
  if (ids.length > 0) docker('rm', '-f', ...ids);
  await rm(dir, { recursive: true, force: true });
}
