import type { Instance, InstanceStats } from '../../core/contracts/runtime.ts';
import type { Labels } from '../../core/labels.ts';
import { nanosToMillis, parseRfc3339 } from '../../core/time.ts';
import { type Labelling, promoted } from '../streams.ts';
import type { Measurement } from './series.ts';

/** cAdvisor's names. https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md */
const SINGLE: readonly (readonly [
  name: string,
  of: (stats: InstanceStats) => number | undefined,
])[] = [
  ['container_cpu_user_seconds_total', (stats) => stats.cpuUserSeconds],
  ['container_cpu_system_seconds_total', (stats) => stats.cpuSystemSeconds],
  ['container_cpu_cfs_throttled_seconds_total', (stats) => stats.cpuThrottledSeconds],
  ['container_memory_usage_bytes', (stats) => stats.memoryUsage],
  ['container_memory_working_set_bytes', (stats) => stats.memoryWorkingSet],
  ['container_memory_rss', (stats) => stats.memoryRss],
  ['container_memory_cache', (stats) => stats.memoryCache],
  ['container_spec_memory_limit_bytes', (stats) => stats.memoryLimit],
  ['container_processes', (stats) => stats.processes],
];

const NETWORK = [
  ['container_network_receive_bytes_total', 'rxBytes'],
  ['container_network_receive_packets_total', 'rxPackets'],
  ['container_network_receive_errors_total', 'rxErrors'],
  ['container_network_receive_packets_dropped_total', 'rxDropped'],
  ['container_network_transmit_bytes_total', 'txBytes'],
  ['container_network_transmit_packets_total', 'txPackets'],
  ['container_network_transmit_errors_total', 'txErrors'],
  ['container_network_transmit_packets_dropped_total', 'txDropped'],
] as const;

const BLOCK_IO = [
  ['container_fs_reads_bytes_total', 'readBytes'],
  ['container_fs_writes_bytes_total', 'writeBytes'],
  ['container_fs_reads_total', 'reads'],
  ['container_fs_writes_total', 'writes'],
] as const;

// cAdvisor's: 1 healthy, 0 unhealthy, -1 no verdict, here also while the check is starting.
const HEALTH: Readonly<Record<Instance['health'], number>> = {
  healthy: 1,
  unhealthy: 0,
  starting: -1,
  none: -1,
};

/** Our labels, cAdvisor's own beside them, and those that every source of this host has. */
export function containerLabels(instance: Instance, labelling: Labelling): Labels {
  const labels: Record<string, string> = {
    ...labelling.labels,
    service: instance.service,
    container: instance.name,
    host: labelling.host,
    id: instance.runtime === 'docker' ? `/docker/${instance.id}` : instance.id,
    name: instance.name,
  };
  if (instance.project !== undefined) labels['project'] = instance.project;
  if (instance.image !== undefined) labels['image'] = instance.image;
  for (const [name, value] of Object.entries(promoted(instance, labelling.promote))) {
    labels[`container_label_${name}`] = value;
  }
  return labels;
}

/**
 * What is known of an instance at one time. Without stats (it does not run) only what the engine
 * itself counts.
 */
export function* containerMeasurements(
  instance: Instance,
  stats: InstanceStats | undefined,
  labels: Labels,
): Generator<Measurement> {
  yield { name: 'container_restarts_total', labels, value: instance.restarts };
  if (stats === undefined) return;
  yield { name: 'container_health_state', labels, value: HEALTH[instance.health] };
  yield { name: 'container_last_seen', labels, value: stats.timestamp / 1000 };
  const start = instance.startedAt === undefined ? undefined : parseRfc3339(instance.startedAt);
  if (start !== undefined) {
    yield { name: 'container_start_time_seconds', labels, value: nanosToMillis(start) / 1000 };
  }
  if (stats.cpuSeconds !== undefined) {
    const name = 'container_cpu_usage_seconds_total';
    yield { name, labels: { ...labels, cpu: 'total' }, value: stats.cpuSeconds };
  }
  for (const [name, of] of SINGLE) {
    const value = of(stats);
    if (value !== undefined) yield { name, labels, value };
  }
  for (const [device, counters] of Object.entries(stats.network ?? {})) {
    const own = { ...labels, interface: device };
    for (const [name, key] of NETWORK) yield { name, labels: own, value: counters[key] };
  }
  for (const [device, counters] of Object.entries(stats.blockIo ?? {})) {
    const own = { ...labels, device };
    for (const [name, key] of BLOCK_IO) yield { name, labels: own, value: counters[key] };
  }
}
