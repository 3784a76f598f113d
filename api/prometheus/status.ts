import type { FastifyInstance } from 'fastify';
import { addQueryRoute } from '../forms.ts';
import { buildInfo, buildInfoSchema } from '../health.ts';
import { answer, object, prometheusErrors, success } from '../schemas.ts';

/** Clients such as Grafana choose between GET and POST, and match[] on label values, by it. */
const API_VERSION = '2.55.0';

/** `/api/v1/status/buildinfo`. */
export function addPrometheusStatus(app: FastifyInstance): void {
  addQueryRoute(
    app,
    {
      url: '/api/v1/status/buildinfo',
      tag: 'Prometheus',
      summary: 'Version',
      description: 'The version is that of Prometheus whose API this is',
      parameters: object({}),
      methods: ['GET'],
      response: {
        200: answer('Version', success(buildInfoSchema(API_VERSION))),
        ...prometheusErrors,
      },
    },
    async () => ({ status: 'success', data: buildInfo(API_VERSION) }),
  );
}
