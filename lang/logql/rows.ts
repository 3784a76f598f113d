import type { LogRow } from '../../core/contracts/queryable.ts';
import type { Labels } from '../../core/labels.ts';
import { labelOf } from '../series/labels.ts';

/** A row's labels as a pipeline sees them: the stream's, and its structured metadata beside them. */
export function rowLabels({ labels, metadata }: LogRow): Labels {
  if (metadata === undefined) return labels;
  const all: Record<string, string> = { ...labels };
  for (const name of Object.keys(metadata)) {
    const value = labelOf(metadata, name);
    if (value !== '') all[labelOf(labels, name) === '' ? name : `${name}_extracted`] = value;
  }
  return all;
}
