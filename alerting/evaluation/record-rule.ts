import { ReflexarcError } from '../../core/errors.ts';
import { formatLabels, labelsKey } from '../../core/labels.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { RecordRule } from '../rules/rule.ts';
import type { Window } from '../window/window.ts';

/**
 * The series that a recording rule gives at a tick.
 *
 * @throws limit_exceeded; bad_query when two of them have the same labels; what the query throws
 */
export async function record(
  rule: RecordRule,
  window: Window,
  at: number,
  limit: number,
  signal: AbortSignal,
): Promise<Sample[]> {
  const result = await rule.query.evaluate(window, at, signal);
  if (limit > 0 && result.length > limit) {
    throw new ReflexarcError(
      'limit_exceeded',
      `the rule has ${result.length} series, and its limit is ${limit}`,
      { hint: "raise the group's limit, or aggregate in the expression" },
    );
  }
  const seen = new Set<string>();
  return result.map(({ labels: own, value }) => {
    const labels = Object.fromEntries(
      Object.entries({ ...own, ...rule.labels, __name__: rule.name }).filter(
        ([, text]) => text !== '',
      ),
    );
    const key = labelsKey(labels);
    if (seen.has(key)) {
      throw new ReflexarcError(
        'bad_query',
        `the result has two series with the labels ${formatLabels(labels)}`,
        { hint: 'aggregate in the expression so that each label set comes once' },
      );
    }
    seen.add(key);
    return { labels, timestamp: at, value };
  });
}
