import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type IngestMetrics = ReturnType<typeof ingestMetrics>;

export function ingestMetrics(metrics: Registry, lag: () => Promise<ReadonlyMap<string, number>>) {
  const registers = [metrics];
  const byTopic = ['topic'] as const;
  const counter = (name: string, help: string) =>
    new Counter({ name: `reflexarc_ingest_${name}`, help, labelNames: byTopic, registers });
  const buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];
  const gauge = new Gauge({
    name: 'reflexarc_ingest_lag_messages',
    help: 'Messages on the bus that are not stored yet',
    labelNames: byTopic,
    registers,
    async collect() {
      for (const [topic, messages] of await lag()) gauge.set({ topic }, messages);
    },
  });
  return {
    received: counter('received_total', 'Records that the bus delivered'),
    receivedBytes: counter('received_bytes_total', 'Bytes that the bus delivered'),
    stored: counter('stored_total', 'Records that were stored'),
    repeated: counter('repeated_total', 'Records that were stored already'),
    rejected: new Counter({
      name: 'reflexarc_ingest_rejected_total',
      help: 'Records that can never be stored: they are dead letters',
      labelNames: ['topic', 'reason'] as const,
      registers,
    }),
    errors: new Counter({
      name: 'reflexarc_ingest_errors_total',
      help: 'Deliveries that failed, and are tried again, by error code',
      labelNames: ['topic', 'code'] as const,
      registers,
    }),
    removedBytes: new Counter({
      name: 'reflexarc_ingest_retention_removed_bytes_total',
      help: 'Bytes that were removed for age or size',
      registers,
    }),
    retainErrors: new Counter({
      name: 'reflexarc_ingest_retention_errors_total',
      help: 'Housekeeping runs that failed',
      registers,
    }),
    append: new Histogram({
      name: 'reflexarc_ingest_append_seconds',
      help: 'How long the store took for one delivery',
      labelNames: byTopic,
      buckets,
      registers,
    }),
    age: new Histogram({
      name: 'reflexarc_ingest_record_age_seconds',
      help: "From a record's own time to its being stored; one record a delivery",
      labelNames: byTopic,
      buckets: [...buckets, 600, 3600, 86_400],
      registers,
    }),
  };
}
