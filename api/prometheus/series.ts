import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkSeries } from '../limits.ts';
import { badRequest, Params } from '../params.ts';
import { answer, labelsSchema, list, object, prometheusErrors } from '../schemas.ts';
import { selectParameters, seriesSelect } from './labels.ts';
import { limitParam } from './params.ts';
import { cut, limited } from './warnings.ts';

const response = {
  200: answer(
    'Label sets',
    limited(list(labelsSchema), {
      status: 'success',
      data: [{ __name__: 'up', job: 'node', instance: 'localhost:9100' }],
    }),
  ),
  ...prometheusErrors,
};

/** `/api/v1/series`. */
export function addPrometheusSeries(app: FastifyInstance, context: ApiContext): void {
  const { runner, store, config } = context;
  addQueryRoute(
    app,
    {
      url: '/api/v1/series',
      tag: 'Prometheus',
      summary: 'Series',
      parameters: object(selectParameters, ['match[]']),
      response,
    },
    async (request, reply) => {
      const params = Params.of(request);
      const limit = limitParam(params);
      const select = seriesSelect(context, params);
      if (select.matchers.length === 0) throw badRequest('no match[] parameter provided');
      const found = await runner.run(reply, (signal) => store.series(select, signal));
      const { items, warnings } = cut(found, limit);
      checkSeries(config.query, items.length);
      return { status: 'success', data: items, ...warnings };
    },
  );
}
