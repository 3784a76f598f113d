import type { Measurement } from './series.ts';

/**
 * The kernel's tables in /proc to node_exporter's metrics; each function takes a file's text.
 * https://man7.org/linux/man-pages/man5/proc.5.html, https://github.com/prometheus/node_exporter
 */
type Parsed = Generator<Measurement>;

const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');
const words = (line: string): string[] => line.trim().split(/\s+/);
const none = {};

/** The kernel counts in hundredths of a second, whatever its own clock is (USER_HZ). */
const USER_HZ = 100;
const SECTOR = 512;

const CPU_MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'];

/** /proc/stat */
export function* parseStat(text: string): Parsed {
  for (const line of lines(text)) {
    const [key = '', ...values] = words(line);
    const cpu = /^cpu(\d+)$/.exec(key)?.[1];
    if (cpu !== undefined) {
      for (const [index, mode] of CPU_MODES.entries()) {
        const value = values[index];
        if (value === undefined) continue;
        const labels = { cpu, mode };
        yield { name: 'node_cpu_seconds_total', labels, value: Number(value) / USER_HZ };
      }
    } else if (STAT[key] !== undefined) {
      yield { name: STAT[key], labels: none, value: Number(values[0]) };
    }
  }
}

const STAT: Readonly<Record<string, string>> = {
  btime: 'node_boot_time_seconds',
  ctxt: 'node_context_switches_total',
  processes: 'node_forks_total',
  procs_running: 'node_procs_running',
  procs_blocked: 'node_procs_blocked',
};

/** /proc/loadavg */
export function* parseLoadavg(text: string): Parsed {
  const values = words(text);
  for (const [index, minutes] of [1, 5, 15].entries()) {
    yield { name: `node_load${minutes}`, labels: none, value: Number(values[index]) };
  }
}

/** /proc/meminfo: every row, as node_exporter has it. */
export function* parseMeminfo(text: string): Parsed {
  for (const line of lines(text)) {
    const found = /^([^:]+):\s+(\d+)(?: (kB))?/.exec(line);
    if (found?.[1] === undefined) continue;
    const key = found[1].replaceAll(/[()]/g, '_').replace(/_$/, '');
    const kilo = found[3] !== undefined;
    yield {
      name: `node_memory_${key}${kilo ? '_bytes' : ''}`,
      labels: none,
      value: Number(found[2]) * (kilo ? 1024 : 1),
    };
  }
}

// Columns of /proc/diskstats after the name. https://docs.kernel.org/admin-guide/iostats.html
const DISK: readonly (readonly [column: number, name: string, factor: number])[] = [
  [0, 'node_disk_reads_completed_total', 1],
  [1, 'node_disk_reads_merged_total', 1],
  [2, 'node_disk_read_bytes_total', SECTOR],
  [3, 'node_disk_read_time_seconds_total', 0.001],
  [4, 'node_disk_writes_completed_total', 1],
  [5, 'node_disk_writes_merged_total', 1],
  [6, 'node_disk_written_bytes_total', SECTOR],
  [7, 'node_disk_write_time_seconds_total', 0.001],
  [8, 'node_disk_io_now', 1],
  [9, 'node_disk_io_time_seconds_total', 0.001],
  [10, 'node_disk_io_time_weighted_seconds_total', 0.001],
];
// Partitions and the kernel's own devices, as node_exporter leaves them out.
const NO_DISK = /^(?:z?ram|loop|fd|(?:h|s|v|xv)d[a-z]+|nvme\d+n\d+p|mmcblk\d+p)\d+$/;

/** /proc/diskstats */
export function* parseDiskstats(text: string): Parsed {
  for (const line of lines(text)) {
    const [, , device = '', ...values] = words(line);
    if (device === '' || NO_DISK.test(device)) continue;
    for (const [column, name, factor] of DISK) {
      const value = values[column];
      if (value !== undefined) yield { name, labels: { device }, value: Number(value) * factor };
    }
  }
}

const NETWORK = [
  'receive_bytes',
  'receive_packets',
  'receive_errs',
  'receive_drop',
  'receive_fifo',
  'receive_frame',
  'receive_compressed',
  'receive_multicast',
  'transmit_bytes',
  'transmit_packets',
  'transmit_errs',
  'transmit_drop',
  'transmit_fifo',
  'transmit_colls',
  'transmit_carrier',
  'transmit_compressed',
];

/** /proc/net/dev */
export function* parseNetDev(text: string): Parsed {
  for (const line of lines(text).slice(2)) {
    const colon = line.lastIndexOf(':');
    const device = line.slice(0, colon).trim();
    // One end of each container's wire: come and go, and are in the containers' own metrics.
    if (colon === -1 || device.startsWith('veth')) continue;
    for (const [index, value] of words(line.slice(colon + 1)).entries()) {
      const column = NETWORK[index];
      if (column === undefined) break;
      yield { name: `node_network_${column}_total`, labels: { device }, value: Number(value) };
    }
  }
}

export interface Mount {
  readonly device: string;
  readonly mountpoint: string;
  readonly fstype: string;
  readonly readonly: boolean;
}

// node_exporter's defaults: what is no storage, and what belongs to containers.
const NO_STORAGE =
  /^(?:autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs|fuse\.lxcfs)$/;
const NO_PLACE =
  /^\/(?:dev|proc|sys|run\/credentials\/.+|var\/lib\/docker\/.+|var\/lib\/containers\/.+)(?:$|\/)/;

/** /proc/self/mounts (or /proc/1/mounts): each place once. */
export function parseMounts(text: string): Mount[] {
  const mounts = new Map<string, Mount>();
  for (const line of lines(text)) {
    const [device = '', place = '', fstype = '', options = ''] = words(line).map(unescape);
    if (NO_STORAGE.test(fstype) || NO_PLACE.test(place)) continue;
    mounts.set(place, {
      device,
      mountpoint: place,
      fstype,
      readonly: options.split(',').includes('ro'),
    });
  }
  return [...mounts.values()];
}

/** Spaces and the like stand in octal. */
const unescape = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_whole, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
