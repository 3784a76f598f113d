import type { FastifyInstance, RouteHandlerMethod } from 'fastify';
import { form, type Schema } from './schemas.ts';

/** Queries are short; a form larger than this is a mistake. */
const MAX_FORM = 1024 * 1024;

/** Takes forms as text; `Params` reads them. */
export function acceptForms(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: MAX_FORM },
    (_request, body, done) => done(null, body),
  );
}

export interface QueryRoute {
  readonly url: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Schema;
  /** Of the URL, and of the form where POST is taken too. */
  readonly parameters: Schema;
  readonly response: Readonly<Record<string, Schema>>;
  readonly methods?: readonly ('GET' | 'POST')[];
  readonly hide?: boolean;
}

/**
 * A route that reads. The schema describes and does not check: parameters are read as Go's servers
 * read them, empty is absent and what is not known does not matter, and an error is in the words of
 * the server that the route stands for.
 */
export function addQueryRoute(
  app: FastifyInstance,
  route: QueryRoute,
  handler: RouteHandlerMethod,
): void {
  const { url, tag, summary, description, params, parameters, response } = route;
  for (const method of route.methods ?? (['GET', 'POST'] as const)) {
    app.route({
      method,
      url,
      schema: {
        tags: [tag],
        summary,
        ...(description === undefined ? {} : { description }),
        ...(params === undefined ? {} : { params }),
        ...(method === 'GET' ? { querystring: parameters } : { body: form(parameters) }),
        response,
        ...(route.hide === true ? { hide: true } : {}),
      },
      handler,
    });
  }
}
