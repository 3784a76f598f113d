import { type Schema, success } from '../schemas.ts';

/** The first `limit` of a result, and Prometheus' warning that there are more. */
export function cut<T>(
  items: readonly T[],
  limit: number | undefined,
): { readonly items: readonly T[]; readonly warnings?: { readonly warnings: readonly string[] } } {
  if (limit === undefined || items.length <= limit) return { items };
  return {
    items: items.slice(0, limit),
    warnings: { warnings: ['results truncated due to limit'] },
  };
}

/** The answer of a route that takes `limit`. */
export const limited = (data: Schema, example?: unknown): Schema => {
  const schema = success(data, example);
  const warnings: Schema = {
    type: 'array',
    items: { type: 'string' },
    description: 'Only where there is something to say',
  };
  return { ...schema, properties: { ...(schema['properties'] as object), warnings } };
};
