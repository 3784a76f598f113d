import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export type Metrics = ReturnType<typeof makeMetrics>;

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function makeMetrics(registry: Registry) {
  const registers = [registry];
  return {
    alerts: new Counter({
      name: 'reflexarc_remediation_alerts_total',
      help: 'Alert records taken from the bus',
      labelNames: ['outcome'],
      registers,
    }),
    bad: new Counter({
      name: 'reflexarc_remediation_bad_records_total',
      help: 'Alert records that could not be read',
      registers,
    }),
    repeats: new Counter({
      name: 'reflexarc_remediation_repeats_total',
      help: 'News about a start whose case is over',
      registers,
    }),
    errors: new Counter({
      name: 'reflexarc_remediation_errors_total',
      help: 'Steps of the work that failed and are tried again',
      registers,
    }),
    decisions: new Counter({
      name: 'reflexarc_remediation_decisions_total',
      help: 'Records on `actions`: decisions, taken or refused, and what became of them',
      labelNames: ['remediation', 'phase', 'reason'],
      registers,
    }),
    retries: new Counter({
      name: 'reflexarc_remediation_publish_retries_total',
      help: 'Times that publishing on `actions` was tried again',
      registers,
    }),
    dropped: new Counter({
      name: 'reflexarc_remediation_records_dropped_total',
      help: 'Records that the bus will never take',
      labelNames: ['reason'],
      registers,
    }),
    backlog: new Gauge({
      name: 'reflexarc_remediation_records_waiting',
      help: 'Records that the bus has not confirmed yet',
      registers,
    }),
    reaction: new Histogram({
      name: 'reflexarc_remediation_reaction_seconds',
      help: "From the case's opening to the runtime's call, where nothing had to be waited for",
      buckets: SECONDS,
      registers,
    }),
    sinceEvidence: new Histogram({
      name: 'reflexarc_remediation_evidence_to_start_seconds',
      help: "From the newest evidence's own time to the runtime's call",
      buckets: SECONDS,
      registers,
    }),
    calls: new Histogram({
      name: 'reflexarc_remediation_call_seconds',
      help: "The runtime's calls",
      labelNames: ['kind', 'result'],
      buckets: SECONDS,
      registers,
    }),
  };
}
