import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import type { Service } from '../core/service.ts';
import type { ApiContext } from './context.ts';
import { addQueryRoute } from './forms.ts';
import { object, ownErrors, type Schema, textAnswer } from './schemas.ts';

interface Package {
  readonly version: string;
}

export const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as Package;

/** `name: reason` of each service that is not ready. */
export function notReady(services: readonly Service[]): string[] {
  const reasons: string[] = [];
  for (const service of services) {
    const { ok, reason } = service.ready();
    if (!ok) reasons.push(`${service.name}: ${reason ?? 'is not ready'}`);
  }
  return reasons;
}

/** Clients choose what they ask for by the version of the API; the program's own is `revision`. */
export const buildInfo = (api: string) => ({
  version: api,
  revision: `reflexarc-${version}`,
  branch: '',
  buildUser: '',
  buildDate: '',
  goVersion: '',
});

export const buildInfoSchema = (api: string): Schema =>
  object(
    {
      version: { type: 'string' },
      revision: { type: 'string' },
      branch: { type: 'string' },
      buildUser: { type: 'string' },
      buildDate: { type: 'string' },
      goVersion: { type: 'string' },
    },
    undefined,
    { example: buildInfo(api) },
  );

/** `/healthz`, `/readyz`, `/metrics`. */
export function addHealth(app: FastifyInstance, { services, telemetry }: ApiContext): void {
  const plain = 'text/plain; charset=utf-8';
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    config: { open: true },
    schema: {
      tags: ['Health'],
      summary: 'Whether the process answers',
      security: [],
      response: { 200: textAnswer('It does', 'ok\n') },
    },
    handler: async (_request, reply) => reply.type(plain).send('ok\n'),
  });
  app.route({
    method: ['GET', 'HEAD'],
    url: '/readyz',
    config: { open: true },
    schema: {
      tags: ['Health'],
      summary: 'Whether every service is ready',
      security: [],
      response: {
        200: textAnswer('All are', 'ok\n'),
        503: textAnswer('Which are not, and why', 'collect: reads the list of containers\n'),
      },
    },
    handler: async (_request, reply) => {
      const reasons = notReady(services());
      const body = reasons.length === 0 ? 'ok\n' : `${reasons.join('\n')}\n`;
      return reply
        .code(reasons.length === 0 ? 200 : 503)
        .type(plain)
        .send(body);
    },
  });
  addQueryRoute(
    app,
    {
      url: '/metrics',
      tag: 'Health',
      summary: 'Metrics of the process, for Prometheus',
      parameters: object({}),
      methods: ['GET'],
      response: {
        200: textAnswer('Text format', 'reflexarc_api_tails 0\n'),
        ...ownErrors,
      },
    },
    async (_request, reply) =>
      reply.type(telemetry.metrics.contentType).send(await telemetry.metrics.metrics()),
  );
}
