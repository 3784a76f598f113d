import type { FastifyInstance } from 'fastify';
import { evaluateLogMetric } from '../../lang/logql/evaluate.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkSeries, evaluationLimits } from '../limits.ts';
import { badRequest, Params } from '../params.ts';
import {
  answer,
  lokiErrors,
  object,
  pointSchema,
  success,
  text,
  vectorSchema,
} from '../schemas.ts';
import { renderInstant, seriesOf } from '../values.ts';
import { Meter, statsSchema } from './meter.ts';
import { parseDirection, parseInstant, parseLimit, parseQuery } from './params.ts';

const parameters = object(
  {
    query: text('LogQL, a metric query', 'sum by (service) (rate({level="error"}[5m]))'),
    time: text('Nanoseconds or seconds since the epoch, or RFC 3339; now if absent'),
    limit: { type: 'integer', minimum: 1, default: 100, description: 'Of no use here' },
    direction: { type: 'string', enum: ['forward', 'backward'], description: 'Of no use here' },
  },
  ['query'],
);

const response = {
  200: answer(
    'A value for each series',
    success(
      object({
        resultType: { type: 'string', enum: ['vector', 'scalar'] },
        result: { anyOf: [vectorSchema, pointSchema] },
        stats: statsSchema,
      }),
      {
        status: 'success',
        data: {
          resultType: 'vector',
          result: [{ metric: { service: 'web' }, value: [1767225600, '0.2'] }],
          stats: { summary: { totalLinesProcessed: 60, execTime: 0.004 } },
        },
      },
    ),
  ),
  ...lokiErrors,
};

/** `/loki/api/v1/query`: a metric query at one time. */
export function addLokiQuery(app: FastifyInstance, context: ApiContext): void {
  const { runner, telemetry, config, store } = context;
  addQueryRoute(
    app,
    { url: '/loki/api/v1/query', tag: 'Loki', summary: 'LogQL at one time', parameters, response },
    async (request, reply) => {
      const params = Params.of(request);
      const expr = parseQuery(params);
      const time = parseInstant(params, telemetry.clock.nowNanos());
      parseLimit(params, config.query.max_lines);
      parseDirection(params);
      if (expr.kind === 'logs') {
        throw badRequest(
          'log queries are not supported as an instant query type, please change your query to a range query type',
        );
      }
      const meter = new Meter(telemetry.clock);
      const value = await runner.run(reply, (signal) =>
        evaluateLogMetric(
          expr,
          meter.wrap(store),
          { start: time, end: time, step: 1 },
          signal,
          evaluationLimits(config.query),
        ),
      );
      const data = renderInstant(value);
      checkSeries(config.query, seriesOf(data));
      return { status: 'success', data: { ...data, stats: meter.stats(0) } };
    },
  );
}
