import { describe, expect, it } from 'vitest';
import {
  parseDiskstats,
  parseLoadavg,
  parseMeminfo,
  parseMounts,
  parseNetDev,
  parseStat,
} from './host-files.ts';
import type { Measurement } from './series.ts';

const text = (measured: Iterable<Measurement>): string[] =>
  [...measured].map(
    ({ name, labels, value }) =>
      `${name}{${Object.entries(labels)
        .map(([key, of]) => `${key}="${of}"`)
        .join(',')}} ${value}`,
  );

describe('/proc', () => {
  it('stat', () => {
    const given =
      'cpu  1 2 3 4\ncpu0 100 2 3 4 5 6 7 8 9 10\nintr 5 6\nctxt 42\nbtime 1700000000\n';
    expect(text(parseStat(given))).toEqual([
      'node_cpu_seconds_total{cpu="0",mode="user"} 1',
      'node_cpu_seconds_total{cpu="0",mode="nice"} 0.02',
      'node_cpu_seconds_total{cpu="0",mode="system"} 0.03',
      'node_cpu_seconds_total{cpu="0",mode="idle"} 0.04',
      'node_cpu_seconds_total{cpu="0",mode="iowait"} 0.05',
      'node_cpu_seconds_total{cpu="0",mode="irq"} 0.06',
      'node_cpu_seconds_total{cpu="0",mode="softirq"} 0.07',
      'node_cpu_seconds_total{cpu="0",mode="steal"} 0.08',
      'node_context_switches_total{} 42',
      'node_boot_time_seconds{} 1700000000',
    ]);
  });

  it('loadavg', () => {
    expect(text(parseLoadavg('0.50 1.25 2.00 1/200 4242\n'))).toEqual([
      'node_load1{} 0.5',
      'node_load5{} 1.25',
      'node_load15{} 2',
    ]);
  });

  it('meminfo', () => {
    const given = 'MemTotal:       2048 kB\nActive(anon):  1 kB\nHugePages_Total:    3\n';
    expect(text(parseMeminfo(given))).toEqual([
      'node_memory_MemTotal_bytes{} 2097152',
      'node_memory_Active_anon_bytes{} 1024',
      'node_memory_HugePages_Total{} 3',
    ]);
  });

  it('diskstats, without partitions', () => {
    const given =
      ' 254 0 vda 1 2 3 4000 5 6 7 8000 9 10000 11000 0 0 0 0\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n   7 0 loop0 1 1 1 1 1 1 1 1 1 1 1\n';
    expect(text(parseDiskstats(given))).toEqual([
      'node_disk_reads_completed_total{device="vda"} 1',
      'node_disk_reads_merged_total{device="vda"} 2',
      'node_disk_read_bytes_total{device="vda"} 1536',
      'node_disk_read_time_seconds_total{device="vda"} 4',
      'node_disk_writes_completed_total{device="vda"} 5',
      'node_disk_writes_merged_total{device="vda"} 6',
      'node_disk_written_bytes_total{device="vda"} 3584',
      'node_disk_write_time_seconds_total{device="vda"} 8',
      'node_disk_io_now{device="vda"} 9',
      'node_disk_io_time_seconds_total{device="vda"} 10',
      'node_disk_io_time_weighted_seconds_total{device="vda"} 11',
    ]);
  });

  it('net/dev', () => {
    const given =
      'Inter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nveth1a: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n';
    const found = text(parseNetDev(given));
    expect(found).toHaveLength(16);
    expect(found[0]).toBe('node_network_receive_bytes_total{device="eth0"} 1');
    expect(found[10]).toBe('node_network_transmit_errs_total{device="eth0"} 11');
  });

  it('mounts, each place once, storage only', () => {
    const given =
      '/dev/vda / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/sdb /mnt/a\\040b xfs ro 0 0\noverlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n/dev/vda / ext4 ro 0 0\n';
    expect(parseMounts(given)).toEqual([
      { device: '/dev/vda', mountpoint: '/', fstype: 'ext4', readonly: true },
      { device: 'tmpfs', mountpoint: '/run', fstype: 'tmpfs', readonly: false },
      { device: '/dev/sdb', mountpoint: '/mnt/a b', fstype: 'xfs', readonly: true },
    ]);
  });
});
