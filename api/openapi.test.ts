import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from './testing/server.ts';

interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly content?: object }>>;
  readonly requestBody?: { readonly content: object };
}

let server: TestServer;
let document: { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> };
beforeAll(async () => {
  server = await startTestServer();
  document = (await (await server.get('/openapi.json')).json()) as typeof document;
});
afterAll(() => server.api.stop());

const ROUTES = [
  'get /api/actions',
  'get /api/alerts',
  'get /api/status',
  'get /api/tail',
  'get /api/v1/label/{name}/values',
  'get /api/v1/labels',
  'get /api/v1/query',
  'get /api/v1/query_range',
  'get /api/v1/series',
  'get /api/v1/status/buildinfo',
  'get /healthz',
  'get /loki/api/v1/label',
  'get /loki/api/v1/label/{name}/values',
  'get /loki/api/v1/labels',
  'get /loki/api/v1/query',
  'get /loki/api/v1/query_range',
  'get /loki/api/v1/series',
  'get /loki/api/v1/status/buildinfo',
  'get /metrics',
  'get /openapi.json',
  'get /ready',
  'get /readyz',
  'head /healthz',
  'head /readyz',
  'post /api/v1/labels',
  'post /api/v1/query',
  'post /api/v1/query_range',
  'post /api/v1/series',
  'post /loki/api/v1/label',
  'post /loki/api/v1/label/{name}/values',
  'post /loki/api/v1/labels',
  'post /loki/api/v1/push',
  'post /loki/api/v1/query',
  'post /loki/api/v1/query_range',
  'post /loki/api/v1/series',
];

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method} ${path}`,
      path,
      operation,
    })),
  );

describe('/openapi.json', () => {
  it('is a valid OpenAPI 3 document', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document));
    expect(errors ?? []).toEqual([]);
    expect(valid).toBe(true);
    expect(validator.version).toBe('3.0');
  });

  it('describes every route', () => {
    expect(
      operations()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(ROUTES);
  });

  it('with a summary, a tag, its parameters and at least one answer', () => {
    const incomplete = operations().filter(
      ({ path, operation }) =>
        operation.summary === undefined ||
        operation.tags?.length !== 1 ||
        Object.keys(operation.responses).length === 0 ||
        path
          .matchAll(/\{(\w+)\}/g)
          .some(
            ([, placeholder]) =>
              operation.parameters?.some(
                (parameter) => parameter.name === placeholder && parameter.in === 'path',
              ) !== true,
          ),
    );
    expect(incomplete.map(({ name }) => name)).toEqual([]);
  });

  it('with examples of answers, and of what is pushed', () => {
    const without = operations().filter(
      ({ name, operation }) =>
        /query|alerts|actions|series|labels?|status/.test(name) &&
        !JSON.stringify(operation.responses['200']).includes('"example"'),
    );
    expect(without.map(({ name }) => name)).toEqual([]);
    expect(JSON.stringify(document.paths['/loki/api/v1/push']?.['post']?.requestBody)).toContain(
      '"example"',
    );
  });

  it('says that a token is needed where one is', async () => {
    const guarded = await startTestServer({
      config: { tokens: [{ name: 'a', token: '0123456789abcdef' }] },
    });
    const response = await guarded.get('/openapi.json', {
      headers: { Authorization: 'Bearer 0123456789abcdef' },
    });
    expect(await response.json()).toMatchObject({
      security: [{ bearer: [] }],
      paths: { '/healthz': { get: { security: [] } } },
    });
    await guarded.api.stop();
  });
});
