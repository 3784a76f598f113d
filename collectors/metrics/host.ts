import { promises as fs } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Measures } from '../measures.ts';
import type { Labelling } from '../streams.ts';
import {
  type Mount,
  parseDiskstats,
  parseLoadavg,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  parseStat,
} from './host-files.ts';
import type { Reading } from './measuring.ts';
import { type Measurement, toSamples } from './series.ts';

const KIND = 'host';

const FILES: readonly (readonly [file: string, parse: (text: string) => Iterable<Measurement>])[] =
  [
    ['stat', parseStat],
    ['loadavg', parseLoadavg],
    ['meminfo', parseMeminfo],
    ['diskstats', parseDiskstats],
    ['net/dev', parseNetDev],
  ];

/** Reads the host's metrics from `root` (/proc), or from what Node knows where there is none. */
export function hostReader(deps: {
  labelling: Labelling;
  telemetry: Telemetry;
  measures: Measures;
  root?: string;
}): (now: number) => Promise<Reading[]> {
  const { labelling, telemetry, measures, root = '/proc' } = deps;
  const { host, labels } = labelling;
  const failing = new Set<string>();
  let proc: boolean | undefined;

  function failed(what: string, error: unknown): void {
    measures.sampleErrors.inc({ kind: KIND });
    if (failing.has(what)) return;
    failing.add(what);
    telemetry.log.warn({ err: error, reason: messageOf(error) }, `cannot read ${what}`);
  }

  async function fromFile([file, parse]: (typeof FILES)[number]): Promise<Measurement[]> {
    const path = join(root, file);
    try {
      const measured = [...parse(await fs.readFile(path, 'utf8'))];
      failing.delete(path);
      return measured;
    } catch (error) {
      failed(path, error);
      return [];
    }
  }

  async function filesystems(): Promise<Measurement[]> {
    const path = join(root, 'self/mounts');
    try {
      const mounts = parseMounts(await fs.readFile(path, 'utf8'));
      failing.delete(path);
      return (await Promise.all(mounts.map(filesystem))).flat();
    } catch (error) {
      failed(path, error);
      return [];
    }
  }

  async function filesystem(mount: Mount): Promise<Measurement[]> {
    const { device, fstype, mountpoint } = mount;
    const own = { device, fstype, mountpoint };
    try {
      const { bsize, blocks, bfree, bavail, files, ffree } = await fs.statfs(mountpoint);
      failing.delete(mountpoint);
      return [
        { name: 'node_filesystem_size_bytes', labels: own, value: blocks * bsize },
        { name: 'node_filesystem_free_bytes', labels: own, value: bfree * bsize },
        { name: 'node_filesystem_avail_bytes', labels: own, value: bavail * bsize },
        { name: 'node_filesystem_files', labels: own, value: files },
        { name: 'node_filesystem_files_free', labels: own, value: ffree },
        { name: 'node_filesystem_readonly', labels: own, value: mount.readonly ? 1 : 0 },
      ];
    } catch (error) {
      failed(mountpoint, error);
      return [{ name: 'node_filesystem_device_error', labels: own, value: 1 }];
    }
  }

  return async (now) => {
    proc ??= await fs.access(join(root, 'stat')).then(
      () => true,
      () => {
        telemetry.log.warn(
          { root },
          'no /proc here: of the host only CPU, load, memory and uptime are measured; disks and networks are not',
        );
        return false;
      },
    );
    const measured = proc
      ? (await Promise.all([...FILES.map(fromFile), filesystems()])).flat()
      : fromNode(now);
    const common = [
      { name: 'node_time_seconds', labels: {}, value: now / 1000 },
      { name: 'node_uname_info', labels: uname(), value: 1 },
    ];
    const shared = { ...labels, host, instance: host, job: 'node' };
    const samples = [...measured, ...common, { name: 'up', labels: {}, value: 1 }].map(
      ({ name, labels: own, value }) => ({ name, labels: { ...shared, ...own }, value }),
    );
    return [{ source: `host:${host}`, samples: toSamples(samples, now) }];
  };
}

function uname(): Record<string, string> {
  return {
    sysname: os.type(),
    release: os.release(),
    version: os.version(),
    machine: os.machine(),
    nodename: os.hostname(),
  };
}

function* fromNode(now: number): Generator<Measurement> {
  for (const [index, { times }] of os.cpus().entries()) {
    for (const [key, mode] of [
      ['user', 'user'],
      ['nice', 'nice'],
      ['sys', 'system'],
      ['idle', 'idle'],
      ['irq', 'irq'],
    ] as const) {
      const labels = { cpu: String(index), mode };
      yield { name: 'node_cpu_seconds_total', labels, value: times[key] / 1000 };
    }
  }
  for (const [index, minutes] of [1, 5, 15].entries()) {
    yield { name: `node_load${minutes}`, labels: {}, value: os.loadavg()[index] ?? 0 };
  }
  yield { name: 'node_memory_MemTotal_bytes', labels: {}, value: os.totalmem() };
  yield { name: 'node_memory_MemFree_bytes', labels: {}, value: os.freemem() };
  yield { name: 'node_boot_time_seconds', labels: {}, value: now / 1000 - os.uptime() };
}
