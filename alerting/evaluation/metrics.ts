import { Counter, Gauge, Histogram } from 'prom-client';
import type { Telemetry } from '../../core/service.ts';

const BUCKETS = [0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15];

export function evaluationMetrics({ metrics }: Telemetry) {
  const registers = [metrics];
  const labelNames = ['rule_group'] as const;
  return {
    evaluations: new Counter({
      name: 'reflexarc_alerting_rule_evaluations_total',
      help: 'Evaluations of rules, at ticks and between them',
      labelNames,
      registers,
    }),
    failures: new Counter({
      name: 'reflexarc_alerting_rule_evaluation_failures_total',
      help: 'Evaluations that failed; the alerts stay as they were',
      labelNames,
      registers,
    }),
    seconds: new Histogram({
      name: 'reflexarc_alerting_rule_evaluation_seconds',
      help: 'Time taken for the evaluation of one rule',
      labelNames: ['when'],
      buckets: BUCKETS,
      registers,
    }),
    missed: new Counter({
      name: 'reflexarc_alerting_rule_group_iterations_missed_total',
      help: 'Ticks that passed while an evaluation of the group was still under way',
      labelNames,
      registers,
    }),
    last: new Gauge({
      name: 'reflexarc_alerting_rule_group_last_evaluation_timestamp_seconds',
      help: "Time of the group's newest tick",
      labelNames,
      registers,
    }),
    rules: new Gauge({
      name: 'reflexarc_alerting_rule_group_rules',
      help: 'Rules of the group',
      labelNames,
      registers,
    }),
    alerts: new Gauge({
      name: 'reflexarc_alerting_alerts',
      help: 'Alerts by state',
      labelNames: ['state'],
      registers,
    }),
    lateness: new Histogram({
      name: 'reflexarc_alerting_early_firing_seconds',
      help: "From the newest evidence's own time to the decision that an alert fires",
      buckets: BUCKETS,
      registers,
    }),
    published: new Counter({
      name: 'reflexarc_alerting_alert_records_total',
      help: 'Records published on alerts',
      labelNames: ['state', 'cause'],
      registers,
    }),
    unpublished: new Counter({
      name: 'reflexarc_alerting_publish_failures_total',
      help: 'Publishing that failed: alerts are tried again, samples of a tick are lost',
      labelNames: ['topic'],
      registers,
    }),
    dropped: new Counter({
      name: 'reflexarc_alerting_dropped_total',
      help: 'What was given up because it could not be published in time',
      labelNames: ['what'],
      registers,
    }),
  };
}

export type EvaluationMetrics = ReturnType<typeof evaluationMetrics>;
