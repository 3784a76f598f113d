import type { Labels, Matcher } from '../../core/labels.ts';

/** `absent` tells what it looked for: labels that the selector fixes, each named once. */
export function absentLabels(matchers: readonly Matcher[]): Labels {
  const named = matchers.filter(({ name }) => name !== '__name__');
  const labels: Record<string, string> = {};
  for (const [name, group] of Map.groupBy(named, (matcher) => matcher.name)) {
    const [first] = group;
    if (group.length === 1 && first?.op === '=' && first.value !== '') labels[name] = first.value;
  }
  return labels;
}
