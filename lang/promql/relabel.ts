import { ReflexarcError, type Where } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import type { StepSeries } from '../series/grid.ts';
import { labelOf } from '../series/labels.ts';
import { mergeSame } from '../series/merge.ts';

function checkName(name: string, where: Where): void {
  if (name !== '') return;
  throw new ReflexarcError('bad_query', `invalid label name ${JSON.stringify(name)}`, { where });
}

function withLabel(labels: Labels, name: string, value: string): Labels {
  const changed: Record<string, string> = { ...labels };
  if (value === '') delete changed[name];
  else changed[name] = value;
  return changed;
}

export function labelReplace(
  vector: readonly StepSeries[],
  target: string,
  replacement: string,
  source: string,
  regex: string,
  where: Where,
): StepSeries[] {
  checkName(target, where);
  const compiled = compileRegex(regex, { anchored: true });
  const changed = vector.map((series) => {
    const value = compiled.expand(labelOf(series.labels, source), replacement);
    if (value === undefined) return series;
    return { labels: withLabel(series.labels, target, value), values: series.values };
  });
  return mergeSame(changed, where);
}

export function labelJoin(
  vector: readonly StepSeries[],
  target: string,
  separator: string,
  sources: readonly string[],
  where: Where,
): StepSeries[] {
  checkName(target, where);
  const changed = vector.map(({ labels, values }) => ({
    labels: withLabel(labels, target, sources.map((name) => labelOf(labels, name)).join(separator)),
    values,
  }));
  return mergeSame(changed, where);
}
