import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** By kind of source. */
type Sums = ReadonlyMap<string, { readonly open: number; readonly lag: number }>;

/** Everything the collectors count, under `reflexarc_collect_`. */
export function collectMeasures(registry: Registry, sums: () => Sums = () => new Map()) {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `reflexarc_collect_${name}`, help, labelNames, registers });
  return {
    lines: counter('received_lines_total', 'Lines read, repeats included', ['kind']),
    bytes: counter('received_bytes_total', 'Bytes read', ['kind']),
    sent: counter('sent_records_total', 'Records that the bus took', ['topic']),
    sentBytes: counter('sent_bytes_total', 'Bytes that the bus took', ['topic']),
    dropped: counter('dropped_records_total', 'Records given up, by reason', ['reason']),
    redelivered: counter(
      'redelivered_records_total',
      'Records published again after a refusal or a restart',
      ['reason'],
    ),
    retries: counter('publish_retries_total', 'Publishes that were refused, by error', ['code']),
    latency: new Histogram({
      name: 'reflexarc_collect_publish_seconds',
      help: 'From handing records to the bus to their being durable',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
      registers,
    }),
    pending: new Gauge({
      name: 'reflexarc_collect_pending_bytes',
      help: 'Bytes read and not yet durable on the bus',
      registers,
    }),
    openFiles: new Gauge({
      name: 'reflexarc_collect_open_files',
      help: 'Files held open',
      labelNames: ['kind'] as const,
      registers,
      // Asked for when scraped.
      collect() {
        this.reset();
        for (const [kind, { open }] of sums()) this.set({ kind }, open);
      },
    }),
    lag: new Gauge({
      name: 'reflexarc_collect_lag_bytes',
      help: 'Bytes in files that the bus does not have yet',
      labelNames: ['kind'] as const,
      registers,
      collect() {
        this.reset();
        for (const [kind, { lag }] of sums()) this.set({ kind }, lag);
      },
    }),
    readErrors: counter('read_errors_total', 'Reads of a source that failed', ['kind', 'code']),
    truncatedLines: counter('truncated_lines_total', 'Lines cut at sources.max_line', ['kind']),
    invalidUtf8: counter('invalid_utf8_lines_total', 'Lines that were not UTF-8', ['kind']),
    deadLetters: counter('dead_letters_total', 'Lines that could not be read', ['reason']),
    rotations: counter('file_rotations_total', 'Files followed by a next one', ['kind']),
    truncations: counter('file_truncations_total', 'Files that became shorter or other', ['kind']),
    lostFiles: counter('lost_files_total', 'Files that were gone before their end was read', [
      'kind',
    ]),
    badCheckpoints: counter('bad_checkpoints_total', 'Checkpoints that could not be used', []),
    watchProblems: counter('runtime_problems_total', 'Problems a runtime reported', ['runtime']),
    events: counter('events_total', 'Engine events recorded', ['action']),
    samples: counter('samples_total', 'Samples measured', ['kind']),
    sampleErrors: counter('sample_errors_total', 'Measurements that failed', ['kind']),
  };
}

export type Measures = ReturnType<typeof collectMeasures>;
