import type { FastifyInstance } from 'fastify';
import { evaluatePromQL } from '../../lang/promql/evaluate.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkRange, checkSeries, evaluationLimits } from '../limits.ts';
import { Params } from '../params.ts';
import { answer, matrixSchema, object, prometheusErrors, text } from '../schemas.ts';
import { renderRange, seriesOf } from '../values.ts';
import {
  limitParam,
  rangeParams,
  rangeQueryParam,
  refuseUnsupported,
  timeoutParam,
} from './params.ts';
import { cut, limited } from './warnings.ts';

const parameters = object(
  {
    query: text('PromQL', 'rate(container_cpu_usage_seconds_total[5m])'),
    start: text('Seconds since the epoch, or RFC 3339', '1767225600'),
    end: text('As start; inclusive', '1767229200'),
    step: text('Seconds or a duration', '15', '1m'),
    timeout: text('Seconds or a duration; at most query.timeout', '10s'),
    limit: { type: 'integer', minimum: 0, description: 'Series at most; 0: all' },
  },
  ['query', 'start', 'end', 'step'],
);

const response = {
  200: answer(
    'Series',
    limited(object({ resultType: { type: 'string', enum: ['matrix'] }, result: matrixSchema }), {
      status: 'success',
      data: {
        resultType: 'matrix',
        result: [
          {
            metric: { service: 'web' },
            values: [
              [1767225600, '0.25'],
              [1767225615, '0.5'],
            ],
          },
        ],
      },
    }),
  ),
  ...prometheusErrors,
};

/** `/api/v1/query_range`: PromQL over a time. */
export function addPrometheusQueryRange(app: FastifyInstance, context: ApiContext): void {
  const { runner, config, store } = context;
  addQueryRoute(
    app,
    {
      url: '/api/v1/query_range',
      tag: 'Prometheus',
      summary: 'PromQL over a time range',
      parameters,
      response,
    },
    async (request, reply) => {
      const params = Params.of(request);
      const range = rangeParams(params);
      const limit = limitParam(params);
      refuseUnsupported(params);
      checkRange(config.query, range.end - range.start);
      const expr = rangeQueryParam(params);
      const value = await runner.run(
        reply,
        (signal) => evaluatePromQL(expr, store, range, signal, evaluationLimits(config.query)),
        timeoutParam(params),
      );
      const data = renderRange(value);
      checkSeries(config.query, seriesOf(data));
      if (data.resultType !== 'matrix') return { status: 'success', data };
      const { items, warnings } = cut(data.result, limit);
      return { status: 'success', data: { ...data, result: items }, ...warnings };
    },
  );
}
