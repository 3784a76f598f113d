import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkSeries } from '../limits.ts';
import { Params } from '../params.ts';
import { answer, labelsSchema, list, lokiErrors, object, success, text } from '../schemas.ts';
import { streamSelect } from './labels.ts';

const parameters = object(
  {
    'match[]': list(
      { type: 'string' },
      {
        description: 'Stream selectors; any of them may match. Every stream if absent',
        examples: [['{service="web"}']],
      },
    ),
    start: text('Nanoseconds or seconds since the epoch, or RFC 3339; an hour ago if absent'),
    end: text('As start; now if absent'),
    since: text('Start, counted back from the end', '6h'),
  },
  [],
);

const response = {
  200: answer(
    'Label sets of streams that have a line in the time',
    success(list(labelsSchema), {
      status: 'success',
      data: [{ service: 'web', container: 'web-1', stream: 'stdout' }],
    }),
  ),
  ...lokiErrors,
};

/** `/loki/api/v1/series`. */
export function addLokiSeries(app: FastifyInstance, context: ApiContext): void {
  const { runner, store, config } = context;
  addQueryRoute(
    app,
    { url: '/loki/api/v1/series', tag: 'Loki', summary: 'Streams', parameters, response },
    async (request, reply) => {
      const params = Params.of(request);
      const select = streamSelect(context, params, params.all('match[]', 'match'));
      const data = await runner.run(reply, (signal) => store.series(select, signal));
      checkSeries(config.query, data.length);
      return { status: 'success', data };
    },
  );
}
