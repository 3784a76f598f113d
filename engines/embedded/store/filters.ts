import type { LineFilter } from '../../../core/contracts/queryable.ts';
import { compileRegex } from '../../../core/regex.ts';
import type { Parameter } from './database.ts';

/**
 * Line filters as a predicate; the texts are bound. A lone surrogate has no UTF-8: in a line it
 * was stored as U+FFFD, and in a filter it means that too.
 *
 * @throws bad_query when a regex is no RE2
 */
export function filterLines(filters: readonly LineFilter[]): {
  readonly sql: string;
  readonly values: readonly Parameter[];
} {
  const parts: string[] = [];
  const values: string[] = [];
  for (const { op, value } of filters) {
    const regex = op === '|~' || op === '!~';
    // For its error, which names the place; DuckDB's own engine is RE2 itself.
    if (regex) compileRegex(value);
    values.push(value.toWellFormed());
    const call = `${regex ? 'regexp_matches' : 'contains'}(line, $${values.length})`;
    parts.push(op === '|=' || op === '|~' ? call : `NOT ${call}`);
  }
  return { sql: parts.length === 0 ? 'true' : parts.join(' AND '), values };
}

/** `column IN (…)`, or `true` when it would hold for all that the rows can have. */
export function oneOf(column: string, ids: Iterable<number>, all: boolean): string {
  return all ? 'true' : `${column} IN (${[...ids].join(', ')})`;
}
