import type { FastifyInstance } from 'fastify';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { buildInfo, buildInfoSchema, notReady } from '../health.ts';
import { answer, lokiErrors, object, textAnswer } from '../schemas.ts';

/** `/ready` and `/loki/api/v1/status/buildinfo`. */
export function addLokiStatus(app: FastifyInstance, { services }: ApiContext): void {
  addQueryRoute(
    app,
    {
      url: '/ready',
      tag: 'Loki',
      summary: 'Whether it is ready',
      parameters: object({}),
      methods: ['GET'],
      response: {
        200: textAnswer('Every service is ready', 'ready\n'),
        503: textAnswer('Which are not, and why', 'collect: reads the list of containers\n'),
      },
    },
    async (_request, reply) => {
      const reasons = notReady(services());
      reply.type('text/plain; charset=utf-8');
      if (reasons.length === 0) return 'ready\n';
      return reply.code(503).send(`${reasons.join('\n')}\n`);
    },
  );
  addQueryRoute(
    app,
    {
      url: '/loki/api/v1/status/buildinfo',
      tag: 'Loki',
      summary: 'Version',
      description: 'The version is that of Loki whose API this is',
      parameters: object({}),
      methods: ['GET'],
      response: { 200: answer('Version', buildInfoSchema('3.5.0')), ...lokiErrors },
    },
    async () => buildInfo('3.5.0'),
  );
}
