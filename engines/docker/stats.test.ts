import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Cgroups } from './cgroup.ts';
import { fromApi } from './stats.ts';

const ID = 'ab'.repeat(32);
let folder: string | undefined;
afterEach(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function files(contents: Record<string, string>): Cgroups {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-cgroup-'));
  for (const [path, content] of Object.entries(contents)) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  return new Cgroups(join(folder, 'proc'), join(folder, 'cgroup'));
}

const NETWORK = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:      10       1    0    0    0     0          0         0       10       1    0    0    0     0       0          0
  eth0:     486       5    1    2    0     0          0         0      700       7    3    4    0     0       0          0
`;

const stats = {
  timestamp: 7,
  cpuSeconds: 3,
  cpuUserSeconds: 2,
  cpuSystemSeconds: 1,
  cpuThrottledSeconds: 0.5,
  memoryUsage: 1000,
  memoryWorkingSet: 900,
  memoryRss: 300,
  memoryCache: 400,
  memoryLimit: 2000,
  blockIo: { '254:0': { readBytes: 4096, writeBytes: 8192, reads: 1, writes: 2 } },
  processes: 5,
};
const network = {
  eth0: {
    rxBytes: 486,
    rxPackets: 5,
    rxErrors: 1,
    rxDropped: 2,
    txBytes: 700,
    txPackets: 7,
    txErrors: 3,
    txDropped: 4,
  },
};

describe('statistics', () => {
  const now = (): number => 7;

  it('of version 2', () => {
    const group = `cgroup/system.slice/docker-${ID}.scope`;
    const cgroups = files({
      'proc/9/cgroup': `0::/system.slice/docker-${ID}.scope\n`,
      'proc/9/net/dev': NETWORK,
      [`${group}/cpu.stat`]:
        'usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 0\nthrottled_usec 500000\n',
      [`${group}/memory.current`]: '1000\n',
      [`${group}/memory.max`]: '2000\n',
      [`${group}/memory.stat`]: 'anon 300\nfile 400\ninactive_file 100\n',
      [`${group}/io.stat`]: '254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=9 dios=9\n',
      [`${group}/pids.current`]: '5\n',
    });
    expect(cgroups.read(ID, 9, now)).toEqual({ ...stats, network });
  });

  it('of version 1', () => {
    const at = (controller: string): string => `cgroup/${controller}/docker/${ID}`;
    const cgroups = files({
      'proc/9/cgroup': ['memory', 'cpuacct', 'cpu', 'blkio', 'pids']
        .map((name, index) => `${index}:${name}:/docker/${ID}\n`)
        .join(''),
      'proc/9/net/dev': NETWORK,
      [`${at('cpuacct')}/cpuacct.usage`]: '3000000000\n',
      [`${at('cpuacct')}/cpuacct.usage_user`]: '2000000000\n',
      [`${at('cpuacct')}/cpuacct.usage_sys`]: '1000000000\n',
      [`${at('cpu')}/cpu.stat`]: 'nr_periods 0\nthrottled_time 500000000\n',
      [`${at('memory')}/memory.usage_in_bytes`]: '1000\n',
      [`${at('memory')}/memory.limit_in_bytes`]: '2000\n',
      [`${at('memory')}/memory.stat`]:
        'rss 1\ncache 1\ninactive_file 1\ntotal_rss 300\ntotal_cache 400\ntotal_inactive_file 100\n',
      [`${at('blkio')}/blkio.throttle.io_service_bytes_recursive`]:
        '254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 12288\n254:0 Total 12288\nTotal 12288\n',
      [`${at('blkio')}/blkio.throttle.io_serviced_recursive`]:
        '254:0 Read 1\n254:0 Write 2\n254:0 Total 3\nTotal 3\n',
      [`${at('pids')}/pids.current`]: '5\n',
    });
    expect(cgroups.read(ID, 9, now)).toEqual({ ...stats, network });
  });

  it.each([
    ['no such process', {}],
    ["another container's", { 'proc/9/cgroup': `0::/docker/${'cd'.repeat(32)}\n` }],
    ['a namespace of its own', { 'proc/9/cgroup': `0::/../${ID}\n` }],
    ['a group that cannot be seen', { 'proc/9/cgroup': `0::/docker/${ID}\n` }],
  ])('of %s come from the API', (_, contents) => {
    expect(files(contents as Record<string, string>).read(ID, 9, now)).toBeUndefined();
  });

  it.each(['max\n', '9223372036854771712\n'])('without a limit of memory (%j)', (limit) => {
    const group = `cgroup/docker/${ID}`;
    const cgroups = files({
      'proc/9/cgroup': `0::/docker/${ID}\n`,
      'proc/9/net/dev': NETWORK,
      [`${group}/cpu.stat`]: 'usage_usec 1\n',
      [`${group}/memory.max`]: limit,
    });
    const read = cgroups.read(ID, 9, now);
    expect(read).toBeDefined();
    expect(read).not.toHaveProperty('memoryLimit');
    expect(read).not.toHaveProperty('memoryUsage');
  });

  it('of the API', () => {
    const answer = {
      pids_stats: { current: 5 },
      cpu_stats: {
        cpu_usage: {
          total_usage: 3e9,
          usage_in_usermode: 2e9,
          usage_in_kernelmode: 1e9,
        },
        throttling_data: { throttled_time: 5e8 },
      },
      memory_stats: { usage: 1000, stats: { anon: 300, file: 400, inactive_file: 100 } },
      blkio_stats: {
        io_service_bytes_recursive: [
          { major: 254, minor: 0, op: 'read', value: 4096 },
          { major: 254, minor: 0, op: 'Write', value: 8192 },
          { major: 254, minor: 0, op: 'Total', value: 12_288 },
        ],
        io_serviced_recursive: [
          { major: 254, minor: 0, op: 'Read', value: 1 },
          { major: 254, minor: 0, op: 'write', value: 2 },
        ],
      },
      networks: {
        eth0: {
          rx_bytes: 486,
          rx_packets: 5,
          rx_errors: 1,
          rx_dropped: 2,
          tx_bytes: 700,
          tx_packets: 7,
          tx_errors: 3,
          tx_dropped: 4,
        },
      },
    };
    expect(fromApi(7, answer, 2000)).toEqual({ ...stats, network });
    expect(fromApi(7, {}, 0)).toEqual({ timestamp: 7, blockIo: {} });
  });
});
