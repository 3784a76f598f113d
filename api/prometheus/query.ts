import type { FastifyInstance } from 'fastify';
import { evaluatePromQL } from '../../lang/promql/evaluate.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkSeries, evaluationLimits } from '../limits.ts';
import { Params } from '../params.ts';
import {
  answer,
  matrixSchema,
  object,
  pointSchema,
  prometheusErrors,
  text,
  vectorSchema,
} from '../schemas.ts';
import { renderInstant, seriesOf } from '../values.ts';
import { limitParam, queryParam, refuseUnsupported, timeoutParam, timeParam } from './params.ts';
import { cut, limited } from './warnings.ts';

const parameters = object(
  {
    query: text(
      'PromQL',
      'up == 0',
      'sum by (service) (rate(container_cpu_usage_seconds_total[5m]))',
    ),
    time: text('Seconds since the epoch, or RFC 3339; now if absent', '1767225600.5'),
    timeout: text('Seconds or a duration; at most query.timeout', '10s'),
    limit: { type: 'integer', minimum: 0, description: 'Series at most; 0: all' },
  },
  ['query'],
);

const response = {
  200: answer(
    'A value for each series',
    limited(
      object({
        resultType: { type: 'string', enum: ['vector', 'matrix', 'scalar', 'string'] },
        result: { anyOf: [vectorSchema, matrixSchema, pointSchema] },
      }),
      {
        status: 'success',
        data: {
          resultType: 'vector',
          result: [{ metric: { __name__: 'up', job: 'node' }, value: [1767225600, '1'] }],
        },
      },
    ),
  ),
  ...prometheusErrors,
};

/** `/api/v1/query`: PromQL at one time. */
export function addPrometheusQuery(app: FastifyInstance, context: ApiContext): void {
  const { runner, telemetry, config, store } = context;
  addQueryRoute(
    app,
    {
      url: '/api/v1/query',
      tag: 'Prometheus',
      summary: 'PromQL at one time',
      parameters,
      response,
    },
    async (request, reply) => {
      const params = Params.of(request);
      const time = timeParam(params, 'time') ?? telemetry.clock.now();
      const limit = limitParam(params);
      refuseUnsupported(params);
      const expr = queryParam(params);
      const value = await runner.run(
        reply,
        (signal) =>
          evaluatePromQL(
            expr,
            store,
            { start: time, end: time, step: 1 },
            signal,
            evaluationLimits(config.query),
          ),
        timeoutParam(params),
      );
      const data = renderInstant(value);
      checkSeries(config.query, seriesOf(data));
      if (data.resultType !== 'vector' && data.resultType !== 'matrix') {
        return { status: 'success', data };
      }
      const { items, warnings } = cut<unknown>(data.result, limit);
      return { status: 'success', data: { ...data, result: items }, ...warnings };
    },
  );
}
