import type { FastifyRequest } from 'fastify';
import { nearest } from '../../core/config/nearest.ts';
import { badRequest, Params, quote } from '../params.ts';

/** Our own routes know their parameters; a misspelt one must not widen an answer. @throws bad_request */
export function readParams(request: FastifyRequest, known: readonly string[]): Params {
  const params = Params.of(request);
  for (const name of params.names()) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw badRequest(
      `unknown parameter ${quote(name)}`,
      near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`,
    );
  }
  return params;
}
