import { ReflexarcError } from '../../core/errors.ts';
import type { LogExpr } from './ast.ts';

export function parseLogQL(text: string): LogExpr {
  throw new ReflexarcError('not_supported', `not yet: ${text}`);
}
