import type { FastifyInstance } from 'fastify';
import { nanosToMillis } from '../../core/time.ts';
import { evaluateLogMetric, evaluateLogs } from '../../lang/logql/evaluate.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkLines, checkRange, checkSeries, evaluationLimits } from '../limits.ts';
import { Params } from '../params.ts';
import {
  answer,
  labelsSchema,
  list,
  lokiErrors,
  matrixSchema,
  object,
  success,
  text,
} from '../schemas.ts';
import { renderRange, seriesOf } from '../values.ts';
import { Meter, statsSchema } from './meter.ts';
import { parseRange, type RangeParams } from './params.ts';
import { type StreamResult, StreamSet, spaced } from './streams.ts';

const parameters = object(
  {
    query: text('LogQL', '{service="web"} |= "error"', 'sum(rate({service="web"}[5m]))'),
    start: text('Nanoseconds or seconds since the epoch, or RFC 3339; an hour ago if absent'),
    end: text('As start; now if absent'),
    since: text('Start, counted back from the end; start excludes it', '30m'),
    limit: { type: 'integer', minimum: 1, default: 100, description: 'How many lines at most' },
    direction: { type: 'string', enum: ['forward', 'backward'], default: 'backward' },
    step: text('Of metric queries: seconds or a duration', '15', '1m'),
    interval: text('Of log queries: at most one line in this time', '5s'),
  },
  ['query'],
);

const streamsSchema = list(
  object({
    stream: labelsSchema,
    values: list(list({ type: 'string' }, { minItems: 2, maxItems: 2 })),
  }),
);

const response = {
  200: answer(
    'Lines, newest first, or series',
    success(
      object({
        resultType: { type: 'string', enum: ['streams', 'matrix'] },
        result: { anyOf: [streamsSchema, matrixSchema] },
        stats: statsSchema,
      }),
      {
        status: 'success',
        data: {
          resultType: 'streams',
          result: [
            {
              stream: { service: 'web', level: 'error' },
              values: [['1767225600000000000', 'upstream timed out']],
            },
          ],
          stats: { summary: { totalLinesProcessed: 1, execTime: 0.004 } },
        },
      },
    ),
  ),
  ...lokiErrors,
};

/** `/loki/api/v1/query_range`: lines or series over a time. */
export function addLokiQueryRange(app: FastifyInstance, context: ApiContext): void {
  const { runner, telemetry, config } = context;
  addQueryRoute(
    app,
    {
      url: '/loki/api/v1/query_range',
      tag: 'Loki',
      summary: 'LogQL over a time range',
      parameters,
      response,
    },
    async (request, reply) => {
      const now = telemetry.clock.nowNanos();
      const query = parseRange(Params.of(request), now, config.query.max_lines);
      checkRange(config.query, nanosToMillis(query.end - query.start));
      const { expr } = query;
      const meter = new Meter(telemetry.clock);
      if (expr.kind === 'logs') {
        checkLines(config.query, query.limit);
        const result = await runner.run(reply, (signal) =>
          selectStreams(context, query, meter, signal),
        );
        const entries = result.reduce((sum, { values }) => sum + values.length, 0);
        const data = { resultType: 'streams', result, stats: meter.stats(entries) };
        return { status: 'success', data };
      }
      const range = {
        start: Math.floor(nanosToMillis(query.start)),
        end: Math.floor(nanosToMillis(query.end)),
        step: query.step,
      };
      const value = await runner.run(reply, (signal) =>
        evaluateLogMetric(
          expr,
          meter.wrap(context.store),
          range,
          signal,
          evaluationLimits(config.query),
        ),
      );
      const data = renderRange(value);
      checkSeries(config.query, seriesOf(data));
      return { status: 'success', data: { ...data, stats: meter.stats(0) } };
    },
  );
}

async function selectStreams(
  { store, config }: ApiContext,
  query: RangeParams,
  meter: Meter,
  signal: AbortSignal,
): Promise<StreamResult[]> {
  const { expr, start, end, limit, direction, interval } = query;
  const streams = new StreamSet();
  if (expr.kind !== 'logs') return [];
  const take = spaced(interval, direction);
  const rows = evaluateLogs(
    expr,
    meter.wrap(store),
    // The lines that the interval leaves out do not count.
    { start, end, direction, limit: interval === 0n ? limit : Number.MAX_SAFE_INTEGER },
    signal,
    evaluationLimits(config.query),
  );
  for await (const batch of rows) {
    for (const row of batch) {
      if (streams.size >= limit) return streams.result();
      if (take(row)) streams.add(row);
    }
  }
  return streams.result();
}
