import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

/** The bus's metrics; counters go on when a bus is opened again on the same registry. */
export type BusMetrics = ReturnType<typeof busMetrics>;

export function busMetrics(registry: Registry) {
  function counter<L extends string>(name: string, help: string, labels: readonly L[]): Counter<L> {
    const known = registry.getSingleMetric(name);
    if (known !== undefined) return known as Counter<L>;
    return new Counter({ name, help, labelNames: labels, registers: [registry] });
  }
  // A gauge asks its bus when it is scraped, and must not ask one that is closed.
  function gauge<L extends string>(name: string, help: string, labels: readonly L[]) {
    return (collect: (set: (labels: Record<L, string>, value: number) => void) => void): void => {
      registry.removeSingleMetric(name);
      const made = new Gauge({
        name,
        help,
        labelNames: labels,
        registers: [],
        collect() {
          this.reset();
          collect((values, value) => this.set(values as never, value));
        },
      });
      registry.registerMetric(made);
    };
  }
  const latency = registry.getSingleMetric('reflexarc_bus_publish_seconds');
  return {
    publishedMessages: counter(
      'reflexarc_bus_published_messages_total',
      'Messages that were made durable',
      ['topic'],
    ),
    publishedRecords: counter(
      'reflexarc_bus_published_records_total',
      'Records in the messages that were made durable',
      ['topic'],
    ),
    publishedBytes: counter(
      'reflexarc_bus_published_bytes_total',
      'Bytes of the messages that were made durable, before compression',
      ['topic'],
    ),
    publishErrors: counter('reflexarc_bus_publish_errors_total', 'Publish calls that failed', [
      'topic',
      'code',
    ]),
    publishSeconds:
      latency === undefined
        ? new Histogram({
            name: 'reflexarc_bus_publish_seconds',
            help: 'From the publish call until everything of it is durable',
            labelNames: ['topic'],
            buckets: BUCKETS,
            registers: [registry],
          })
        : (latency as Histogram<'topic'>),
    waitingSeconds: counter(
      'reflexarc_bus_publish_waiting_seconds_total',
      'Time that publishers spent waiting for room',
      ['topic'],
    ),
    deliveredMessages: counter(
      'reflexarc_bus_delivered_messages_total',
      'Messages that a handler finished',
      ['topic', 'group'],
    ),
    deliveredBytes: counter(
      'reflexarc_bus_delivered_bytes_total',
      'Bytes of the messages that a handler finished',
      ['topic', 'group'],
    ),
    handlerErrors: counter(
      'reflexarc_bus_handler_errors_total',
      'Handler calls that failed and are repeated',
      ['topic', 'group'],
    ),
    skippedMessages: counter(
      'reflexarc_bus_skipped_messages_total',
      'Messages that were removed before the group came to them',
      ['topic', 'group'],
    ),
    damagedMessages: counter(
      'reflexarc_bus_damaged_messages_total',
      'Messages that could not be read back and were left out',
      ['topic'],
    ),
    removedMessages: counter('reflexarc_bus_removed_messages_total', 'Messages that were removed', [
      'topic',
      'reason',
    ]),
    commitErrors: counter(
      'reflexarc_bus_offset_commit_errors_total',
      'Offset commits that failed and are repeated',
      [],
    ),
    lag: gauge('reflexarc_bus_lag_messages', 'Messages that the group has not finished', [
      'topic',
      'group',
    ]),
    waiting: gauge('reflexarc_bus_waiting_publishers', 'Publish calls that wait for room', [
      'topic',
    ]),
    size: gauge('reflexarc_bus_size_bytes', 'Bytes that the topic holds', ['topic']),
  };
}

export function removeGauges(registry: Registry): void {
  registry.removeSingleMetric('reflexarc_bus_lag_messages');
  registry.removeSingleMetric('reflexarc_bus_waiting_publishers');
  registry.removeSingleMetric('reflexarc_bus_size_bytes');
}
