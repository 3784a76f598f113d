import { Counter, collectDefaultMetrics, Gauge, Histogram, type Registry } from 'prom-client';

/** The API's own metrics. */
export interface ApiMetrics {
  readonly requests: Counter<'route' | 'method' | 'code'>;
  readonly latency: Histogram<'route'>;
  readonly running: Gauge<'kind'>;
  readonly waiting: Gauge<'kind'>;
  /** Requests that a limit or a rule refused. */
  readonly refused: Counter<'reason'>;
  readonly cancelled: Counter<'kind'>;
  readonly pushedEntries: Counter;
  readonly pushedBytes: Counter;
  readonly truncatedEntries: Counter;
  readonly tails: Gauge;
  readonly tailSent: Counter;
  readonly tailDropped: Counter;
}

export function createMetrics(registry: Registry): ApiMetrics {
  // The registry belongs to the process; whoever comes first adds what describes the process.
  if (registry.getSingleMetric('process_cpu_seconds_total') === undefined) {
    collectDefaultMetrics({ register: registry });
  }
  const registers = [registry];
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers });
  return {
    requests: counter('reflexarc_api_requests_total', 'HTTP requests answered', [
      'route',
      'method',
      'code',
    ]),
    latency: new Histogram({
      name: 'reflexarc_api_request_duration_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['route'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    running: gauge('reflexarc_api_running', 'Queries and pushes under way', ['kind']),
    waiting: gauge('reflexarc_api_waiting', 'Queries and pushes that wait for a place', ['kind']),
    refused: counter('reflexarc_api_refused_total', 'Requests that were refused', ['reason']),
    cancelled: counter('reflexarc_api_cancelled_total', 'Given up since the client went away', [
      'kind',
    ]),
    pushedEntries: counter('reflexarc_api_pushed_entries_total', 'Log entries taken by push'),
    pushedBytes: counter('reflexarc_api_pushed_bytes_total', 'Bytes of log lines taken by push'),
    truncatedEntries: counter(
      'reflexarc_api_truncated_entries_total',
      'Pushed lines that were cut at sources.max_line',
    ),
    tails: gauge('reflexarc_api_tails', 'Live tails that are open'),
    tailSent: counter('reflexarc_api_tail_lines_total', 'Lines sent to live tails'),
    tailDropped: counter(
      'reflexarc_api_tail_dropped_total',
      'Lines that a live tail did not take in time',
    ),
  };
}
