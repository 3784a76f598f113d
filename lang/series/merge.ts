import { ReflexarcError, type Where } from '../../core/errors.ts';
import { formatLabels, labelsKey } from '../../core/labels.ts';
import { ABSENT, type StepSeries } from './grid.ts';

/**
 * Joins series that have the same labels after some were dropped. Where two of them have a sample
 * at the same step the expression has no answer.
 *
 * @throws bad_query
 */
export function mergeSame(
  vector: readonly StepSeries[],
  where: Where,
  message: string = 'vector cannot contain metrics with the same labelset',
): StepSeries[] {
  if (vector.length < 2) return [...vector];
  const merged = new Map<string, StepSeries>();
  for (const series of vector) {
    const key = labelsKey(series.labels);
    const known = merged.get(key);
    if (known === undefined) {
      merged.set(key, series);
      continue;
    }
    const values = known.values.slice();
    for (let i = 0; i < values.length; i++) {
      const value = series.values[i] ?? ABSENT;
      if (value === ABSENT) continue;
      if (values[i] !== ABSENT) {
        throw new ReflexarcError('bad_query', `${message}: ${formatLabels(series.labels)}`, {
          where,
        });
      }
      values[i] = value;
    }
    merged.set(key, { labels: known.labels, values });
  }
  return [...merged.values()];
}
