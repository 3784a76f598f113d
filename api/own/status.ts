import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { version } from '../health.ts';
import { answer, list, object, ownErrors, text } from '../schemas.ts';
import { readParams } from './params.ts';

const number = (description: string) => ({ type: 'number', description }) as const;

const response = {
  200: answer(
    'Services and what the store holds',
    object(
      {
        version: { type: 'string' },
        services: list(
          object({ name: text(''), ready: { type: 'boolean' }, reason: text('Why not') }, [
            'name',
            'ready',
          ]),
        ),
        store: object({
          bytes: number('On disk'),
          logs: number('Log records'),
          samples: number('Samples'),
        }),
      },
      undefined,
      {
        example: {
          version: '0.1.0',
          services: [{ name: 'collect', ready: true }],
          store: { bytes: 1048576, logs: 20000, samples: 50000 },
        },
      },
    ),
  ),
  ...ownErrors,
};

/** `GET /api/status`. */
export function addStatus(app: FastifyInstance, context: ApiContext): void {
  const { services, store, runner } = context;
  addQueryRoute(
    app,
    {
      url: '/api/status',
      tag: 'Reflexarc',
      summary: 'Services and store',
      methods: ['GET'],
      parameters: object({}),
      response,
    },
    async (request, reply) => {
      readParams(request, []);
      const stats = await runner.run(reply, () => store.stats());
      return {
        version,
        services: services().map((service) => {
          const { ok, reason } = service.ready();
          return { name: service.name, ready: ok, ...(reason === undefined ? {} : { reason }) };
        }),
        store: stats,
      };
    },
  );
}
