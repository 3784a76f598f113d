import type { Labels } from '../../core/labels.ts';

/** Absent is the empty string; a name such as `constructor` finds nothing it should not. */
export function labelOf(labels: Labels, name: string): string {
  const value: unknown = labels[name];
  return typeof value === 'string' ? value : '';
}

export function withoutName(labels: Labels): Labels {
  if (labelOf(labels, '__name__') === '') return labels;
  const { __name__: _, ...rest } = labels;
  return rest;
}

/** Order of Prometheus' results: by sorted names, then values, pair by pair. */
export function compareLabels(a: Labels, b: Labels): number {
  const left = Object.keys(a).sort();
  const right = Object.keys(b).sort();
  for (let i = 0; i < left.length && i < right.length; i++) {
    const [x = '', y = ''] = [left[i], right[i]];
    if (x !== y) return x < y ? -1 : 1;
    const [v, w] = [labelOf(a, x), labelOf(b, y)];
    if (v !== w) return v < w ? -1 : 1;
  }
  return left.length - right.length;
}

/** Only the named labels, without empty ones. */
export function keep(labels: Labels, names: readonly string[]): Labels {
  const kept: Record<string, string> = {};
  for (const name of names) {
    const value = labelOf(labels, name);
    if (value !== '') kept[name] = value;
  }
  return kept;
}

/** All but the named labels; the metric's name goes in any case. */
export function drop(labels: Labels, names: ReadonlySet<string>): Labels {
  const kept: Record<string, string> = {};
  for (const name of Object.keys(labels)) {
    const value = labelOf(labels, name);
    if (value !== '' && name !== '__name__' && !names.has(name)) kept[name] = value;
  }
  return kept;
}
