import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { LabelSelect } from '../../core/contracts/store.ts';
import { nanosToMillis } from '../../core/time.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkRange } from '../limits.ts';
import { badRequest, Params } from '../params.ts';
import { answer, list, lokiErrors, object, success, text } from '../schemas.ts';
import { parseBounds, parseSelectors } from './params.ts';

const parameters = object(
  {
    start: text('Nanoseconds or seconds since the epoch, or RFC 3339; an hour ago if absent'),
    end: text('As start; now if absent'),
    since: text('Start, counted back from the end', '6h'),
    query: text('Only of streams that this selects', '{project="shop"}'),
  },
  [],
);

const LABEL = /^[A-Za-z_][A-Za-z0-9_]*$/;

const names = (example: readonly string[]) => ({
  200: answer('Sorted', success(list({ type: 'string' }), { status: 'success', data: example })),
  ...lokiErrors,
});

/** The streams that a request for labels or series is about. @throws bad_request, limit_exceeded */
export function streamSelect(
  { telemetry, config }: ApiContext,
  params: Params,
  selectors: readonly string[],
): LabelSelect {
  const range = parseBounds(params, telemetry.clock.nowNanos());
  if (range.end < range.start) {
    throw badRequest('end timestamp must not be before or equal to start time');
  }
  checkRange(config.query, nanosToMillis(range.end - range.start));
  return { of: 'logs', range, matchers: parseSelectors(selectors) };
}

/** `/loki/api/v1/labels` and `/label`, and `/label/{name}/values`. */
export function addLokiLabels(app: FastifyInstance, context: ApiContext): void {
  const { runner, store } = context;
  const labelNames = async (request: FastifyRequest, reply: FastifyReply) => {
    const params = Params.of(request);
    const select = streamSelect(context, params, params.all('query'));
    return {
      status: 'success',
      data: await runner.run(reply, (signal) => store.labelNames(select, signal)),
    };
  };
  for (const url of ['/loki/api/v1/labels', '/loki/api/v1/label']) {
    addQueryRoute(
      app,
      {
        url,
        tag: 'Loki',
        summary: 'Label names of streams',
        parameters,
        response: names(['container', 'level', 'service']),
      },
      labelNames,
    );
  }
  addQueryRoute(
    app,
    {
      url: '/loki/api/v1/label/:name/values',
      tag: 'Loki',
      summary: 'Values of a label of streams',
      params: object({ name: text('The label', 'service') }),
      parameters,
      response: names(['db', 'web']),
    },
    async (request, reply) => {
      const params = Params.of(request);
      const { name } = request.params as { name: string };
      // No stream has such a label; the store need not be asked.
      if (!LABEL.test(name)) return { status: 'success', data: [] };
      const select = streamSelect(context, params, params.all('query'));
      return {
        status: 'success',
        data: await runner.run(reply, (signal) => store.labelValues(name, select, signal)),
      };
    },
  );
}
