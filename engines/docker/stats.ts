import type { InstanceStats } from '../../core/contracts/runtime.ts';

/** The answer of `GET /containers/{id}/stats?stream=false&one-shot=true`, as far as it is used. */
export interface ApiStats {
  readonly pids_stats?: { readonly current?: number };
  readonly cpu_stats?: {
    readonly cpu_usage?: {
      readonly total_usage?: number;
      readonly usage_in_kernelmode?: number;
      readonly usage_in_usermode?: number;
    };
    readonly throttling_data?: { readonly throttled_time?: number };
  };
  readonly memory_stats?: {
    readonly usage?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
  readonly networks?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly blkio_stats?: {
    readonly io_service_bytes_recursive?: readonly BlockCount[] | null;
    readonly io_serviced_recursive?: readonly BlockCount[] | null;
  };
}

interface BlockCount {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

/** Nanoseconds, bytes and counts as the kernel has them; any of them may be missing. */
export interface RawStats {
  readonly cpu: number | undefined;
  readonly cpuUser: number | undefined;
  readonly cpuSystem: number | undefined;
  readonly cpuThrottled: number | undefined;
  readonly memoryUsage: number | undefined;
  /** The file `memory.stat` of either version of control groups. */
  readonly memory: Readonly<Record<string, number>>;
  readonly memoryLimit: number | undefined;
  readonly network: InstanceStats['network'];
  readonly blockIo: InstanceStats['blockIo'];
  readonly processes: number | undefined;
}

/** To the contract's units, and to what version 1 and 2 of control groups have in common. */
export function statsOf(timestamp: number, raw: RawStats): InstanceStats {
  const { memory, memoryUsage: usage } = raw;
  // Version 1 counts a group and, as `total_…`, all below it; version 2 only has the latter.
  const inactive = memory['total_inactive_file'] ?? memory['inactive_file'];
  const rss = memory['total_rss'] ?? memory['anon'];
  const cache = memory['total_cache'] ?? memory['file'];
  const seconds = (nanos: number | undefined): number | undefined =>
    nanos === undefined ? undefined : nanos / 1e9;
  return defined({
    timestamp,
    cpuSeconds: seconds(raw.cpu),
    cpuUserSeconds: seconds(raw.cpuUser),
    cpuSystemSeconds: seconds(raw.cpuSystem),
    cpuThrottledSeconds: seconds(raw.cpuThrottled),
    memoryUsage: usage,
    // cAdvisor: what the kernel could not drop at once.
    memoryWorkingSet: usage === undefined ? undefined : Math.max(0, usage - (inactive ?? 0)),
    memoryRss: rss,
    memoryCache: cache,
    memoryLimit: raw.memoryLimit,
    network: raw.network,
    blockIo: raw.blockIo,
    processes: raw.processes,
  });
}

/** @param memoryLimit as configured; the API would report the machine's memory where there is none */
export function fromApi(timestamp: number, stats: ApiStats, memoryLimit: number): InstanceStats {
  const { cpu_stats: cpu, memory_stats: memory, blkio_stats: blocks } = stats;
  const blockIo: Record<string, Block> = {};
  for (const { major, minor, op, value } of blocks?.io_service_bytes_recursive ?? []) {
    count(blockIo, `${major}:${minor}`, op, 'bytes', value);
  }
  for (const { major, minor, op, value } of blocks?.io_serviced_recursive ?? []) {
    count(blockIo, `${major}:${minor}`, op, 'operations', value);
  }
  const network = Object.fromEntries(
    Object.entries(stats.networks ?? {}).map(([name, counts]) => [
      name,
      {
        rxBytes: counts['rx_bytes'] ?? 0,
        rxPackets: counts['rx_packets'] ?? 0,
        rxErrors: counts['rx_errors'] ?? 0,
        rxDropped: counts['rx_dropped'] ?? 0,
        txBytes: counts['tx_bytes'] ?? 0,
        txPackets: counts['tx_packets'] ?? 0,
        txErrors: counts['tx_errors'] ?? 0,
        txDropped: counts['tx_dropped'] ?? 0,
      },
    ]),
  );
  return statsOf(timestamp, {
    cpu: cpu?.cpu_usage?.total_usage,
    cpuUser: cpu?.cpu_usage?.usage_in_usermode,
    cpuSystem: cpu?.cpu_usage?.usage_in_kernelmode,
    cpuThrottled: cpu?.throttling_data?.throttled_time,
    memoryUsage: memory?.usage,
    memory: memory?.stats ?? {},
    memoryLimit: memoryLimit > 0 ? memoryLimit : undefined,
    network: stats.networks === undefined ? undefined : network,
    blockIo,
    processes: stats.pids_stats?.current,
  });
}

interface Block {
  readBytes: number;
  writeBytes: number;
  reads: number;
  writes: number;
}

/** Adds one number of a device; `Total`, `Sync`, `Async` and `Discard` are other views of them. */
export function count(
  blocks: Record<string, Block>,
  device: string,
  operation: string,
  what: 'bytes' | 'operations',
  value: number,
): void {
  const read = /^read$/i.test(operation);
  if (!read && !/^write$/i.test(operation)) return;
  const block = (blocks[device] ??= { readBytes: 0, writeBytes: 0, reads: 0, writes: 0 });
  if (what === 'bytes') block[read ? 'readBytes' : 'writeBytes'] += value;
  else block[read ? 'reads' : 'writes'] += value;
}

type Loose<T> = { readonly [K in keyof T]: T[K] | undefined };

function defined(stats: Loose<Required<InstanceStats>>): InstanceStats {
  return Object.fromEntries(
    Object.entries(stats).filter(([, value]) => value !== undefined),
  ) as unknown as InstanceStats;
}
