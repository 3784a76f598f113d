import type { FastifyInstance } from 'fastify';
import type { LabelSelect } from '../../core/contracts/store.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { badRequest, Params, quote } from '../params.ts';
import { answer, list, object, prometheusErrors, text } from '../schemas.ts';
import { limitParam, selectorParams, timeParam } from './params.ts';
import { cut, limited } from './warnings.ts';

export const selectParameters = {
  start: text('Seconds since the epoch, or RFC 3339; the oldest if absent'),
  end: text('As start; inclusive, the newest if absent'),
  'match[]': list(
    { type: 'string' },
    {
      description: 'Series selectors; any of them may match',
      examples: [['up', '{service="web"}']],
    },
  ),
  limit: { type: 'integer', minimum: 0, description: 'How many at most; 0: all' },
} as const;

const names = (example: readonly string[]) => ({
  200: answer('Sorted', limited(list({ type: 'string' }), { status: 'success', data: example })),
  ...prometheusErrors,
});

const HOUR = 3_600_000;

/** The series that a request for labels or series is about; any time if none is said. */
export function seriesSelect({ telemetry }: ApiContext, params: Params): LabelSelect {
  const start = timeParam(params, 'start') ?? 0;
  // A scraped clock may be ahead.
  const end = timeParam(params, 'end') ?? telemetry.clock.now() + HOUR;
  if (end < start) {
    throw badRequest('invalid parameter "end": end timestamp must not be before start time');
  }
  return {
    of: 'metrics',
    // Both ends inclusive here, the end exclusive there.
    range: { start: BigInt(start) * 1_000_000n, end: (BigInt(Math.floor(end)) + 1n) * 1_000_000n },
    matchers: selectorParams(params),
  };
}

const LABEL = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `/api/v1/labels` and `/api/v1/label/{name}/values`. */
export function addPrometheusLabels(app: FastifyInstance, context: ApiContext): void {
  const { runner, store } = context;
  addQueryRoute(
    app,
    {
      url: '/api/v1/labels',
      tag: 'Prometheus',
      summary: 'Label names of series',
      parameters: object(selectParameters, []),
      response: names(['__name__', 'container', 'service']),
    },
    async (request, reply) => {
      const params = Params.of(request);
      const limit = limitParam(params);
      const select = seriesSelect(context, params);
      const found = await runner.run(reply, (signal) => store.labelNames(select, signal));
      const { items, warnings } = cut(found, limit);
      return { status: 'success', data: items, ...warnings };
    },
  );
  addQueryRoute(
    app,
    {
      url: '/api/v1/label/:name/values',
      tag: 'Prometheus',
      summary: 'Values of a label of series',
      params: object({ name: text('The label', '__name__') }),
      parameters: object(selectParameters, []),
      methods: ['GET'],
      response: names(['container_cpu_usage_seconds_total', 'up']),
    },
    async (request, reply) => {
      const params = Params.of(request);
      const { name } = request.params as { name: string };
      if (!LABEL.test(name)) throw badRequest(`invalid label name: ${quote(name)}`);
      const limit = limitParam(params);
      const select = seriesSelect(context, params);
      const found = await runner.run(reply, (signal) => store.labelValues(name, select, signal));
      const { items, warnings } = cut(found, limit);
      return { status: 'success', data: items, ...warnings };
    },
  );
}
