import type { LineFilter } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Labels, Matcher } from '../../core/labels.ts';
import type { LogSelectorExpr } from './ast.ts';

export interface Pipeline {
  readonly matchers: readonly Matcher[];
  readonly filters: readonly LineFilter[];
  readonly pushable: boolean;
  matches(labels: Labels): boolean;
  process(line: string, labels: Labels): Processed | undefined;
}

export interface Processed {
  readonly line: string;
  readonly labels: Labels;
}

export function compilePipeline(expr: LogSelectorExpr): Pipeline {
  throw new ReflexarcError('not_supported', `not yet: ${expr.kind}`);
}
