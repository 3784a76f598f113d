import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { version } from './health.ts';

/** `/openapi.json` describes every route from its schema. Registered before the routes. */
export async function addOpenApi(app: FastifyInstance, tokens: boolean): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.0.3',
      info: {
        title: 'Reflexarc',
        description:
          'Logs in the shapes of Loki, metrics in the shapes of Prometheus, and the history of alerts and actions.',
        version,
      },
      tags: [
        { name: 'Loki', description: 'Logs: https://grafana.com/docs/loki/latest/reference/' },
        { name: 'Prometheus', description: 'Metrics: https://prometheus.io/docs/prometheus/' },
        { name: 'Reflexarc', description: 'Alerts, actions, live tail, status' },
        { name: 'Health', description: 'Probes and metrics' },
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'One of `tokens`' },
        },
      },
      ...(tokens ? { security: [{ bearer: [] }] } : {}),
    },
  });
  app.get(
    '/openapi.json',
    {
      schema: {
        tags: ['Health'],
        summary: 'This description',
        response: {
          200: {
            description: 'An OpenAPI 3 document',
            content: { 'application/json': { schema: { type: 'object' } } },
          },
        },
      },
    },
    async () => app.swagger(),
  );
}
