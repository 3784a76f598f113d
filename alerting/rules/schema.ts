import { z } from 'zod';
import { duration, labelMap, notYet } from '../../core/config/fields.ts';

/**
 * `rules/*.yaml`: the format of Prometheus' and Loki's rule files.
 * https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
 */
const text = z.union([z.string(), z.number(), z.boolean()]).transform(String);

const rule = z
  .strictObject({
    alert: z.string().min(1).optional().describe('Name of the alert: its label `alertname`'),
    record: z.string().optional().describe('Name of the metric that the result is stored as'),
    expr: text.describe('A PromQL expression, or a LogQL metric query where the group says so'),
    for: duration.optional().describe('How long it must be true before the alert fires'),
    keep_firing_for: duration
      .optional()
      .describe('How long the alert goes on firing after it was last true'),
    labels: labelMap.default({}).describe('Labels that are added; templates in alerts'),
    annotations: labelMap.optional().describe('Texts for people; templates'),
  })
  .superRefine((value, context) => {
    const issue = (message: string, ...path: string[]): void =>
      context.addIssue({ code: 'custom', message, path });
    if (value.alert === undefined && value.record === undefined) {
      issue('a rule needs `alert` or `record`');
    }
    if (value.alert !== undefined && value.record !== undefined) {
      issue('`alert` and `record` exclude each other', 'record');
    }
    if (value.record !== undefined) {
      if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(value.record)) {
        issue('is no metric name: letters, digits, _ and :, no digit first', 'record');
      }
      for (const key of ['for', 'keep_firing_for', 'annotations'] as const) {
        if (value[key] !== undefined) issue(`\`${key}\` belongs to alerts, not to \`record\``, key);
      }
    }
    for (const key of ['__name__', 'alertname']) {
      if (value.labels[key] !== undefined && (key === '__name__' || value.alert !== undefined)) {
        issue(`the label ${key} is set by the rule's name`, 'labels', key);
      }
    }
  });

const group = z.strictObject({
  name: z.string().min(1).describe('Unique within the file'),
  interval: duration
    .default(15_000)
    .refine((ms) => ms > 0, 'must be more than 0')
    .describe('How often the rules are evaluated; 15s by default'),
  limit: z
    .int()
    .min(0)
    .default(0)
    .describe('How many alerts or series a rule may produce; 0: no limit'),
  type: z.enum(['promql', 'logql']).default('promql').describe('Language of the expressions'),
  labels: labelMap.default({}).describe('Labels of every rule that does not set them itself'),
  query_offset: notYet('query_offset is'),
  rules: z.array(rule).default([]),
});

export const rulesSchema = z.strictObject({
  groups: z
    .array(group)
    .default([])
    .superRefine((groups, context) => {
      const names = new Set<string>();
      for (const [index, { name }] of groups.entries()) {
        if (names.has(name)) {
          const message = `the file has two groups named ${JSON.stringify(name)}`;
          context.addIssue({ code: 'custom', message, path: [index, 'name'] });
        }
        names.add(name);
      }
    }),
  detectors: notYet('native detectors are'),
});

export type RulesFile = z.output<typeof rulesSchema>;
export type GroupSpec = RulesFile['groups'][number];
export type RuleSpec = GroupSpec['rules'][number];
