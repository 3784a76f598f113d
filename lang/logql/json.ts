import { sanitizeLabel } from './sanitize.ts';

/** Deeper nesting is cut off with an error: nothing that logs writes it. */
const MAX_DEPTH = 64;

/**
 * The fields of a JSON line as Loki's `json` flattens them: names of nested objects joined by `_`,
 * arrays and nulls left out, numbers in the digits that they were written with.
 *
 * @throws SyntaxError or RangeError when the line is no JSON object
 */
export function readJson(line: string, take: (key: string, value: string) => void): void {
  const parsed: unknown = JSON.parse(line, sourceOfNumbers);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new SyntaxError('expecting a JSON object');
  }
  flatten(parsed, '', 0, take);
}

function sourceOfNumbers(
  this: unknown,
  _key: string,
  value: unknown,
  context?: { readonly source?: string },
): unknown {
  return typeof value === 'number' ? (context?.source ?? value) : value;
}

function flatten(
  object: object,
  prefix: string,
  depth: number,
  take: (key: string, value: string) => void,
): void {
  if (depth > MAX_DEPTH) throw new RangeError('the JSON is nested too deeply');
  for (const [key, value] of Object.entries(object)) {
    const name = prefix === '' ? sanitizeLabel(key) : `${prefix}_${sanitizeLabel(key, false)}`;
    if (typeof value === 'string') take(name, value);
    else if (typeof value === 'boolean' || typeof value === 'number') take(name, String(value));
    else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      flatten(value, name, depth + 1, take);
    }
  }
}
