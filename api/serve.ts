import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import type { Bus } from '../core/contracts/bus.ts';
import type { StoreReader } from '../core/contracts/store.ts';
import { formatError, ReflexarcError } from '../core/errors.ts';
import type { Service, Telemetry } from '../core/service.ts';
import { type AccessCheck, hostCheck, readTokens, tokenCheck } from './access.ts';
import type { ApiContext } from './context.ts';
import { answerError, type Dialect, dialectOf, HttpError, toReflexarcError } from './errors.ts';
import { acceptForms } from './forms.ts';
import { addHealth } from './health.ts';
import { formatAddress, isLoopback, listen, parseAddress } from './listen.ts';
import { addLokiLabels } from './loki/labels.ts';
import { addLokiPush } from './loki/push.ts';
import { addLokiQuery } from './loki/query.ts';
import { addLokiQueryRange } from './loki/query_range.ts';
import { addLokiSeries } from './loki/series.ts';
import { addLokiStatus } from './loki/status.ts';
import { createMetrics } from './metrics.ts';
import { addOpenApi } from './openapi.ts';
import { addHistory } from './own/history.ts';
import { addStatus } from './own/status.ts';
import { addTail } from './own/tail.ts';
import { addPrometheusLabels } from './prometheus/labels.ts';
import { addPrometheusQuery } from './prometheus/query.ts';
import { addPrometheusQueryRange } from './prometheus/query_range.ts';
import { addPrometheusSeries } from './prometheus/series.ts';
import { addPrometheusStatus } from './prometheus/status.ts';
import { Requests } from './requests.ts';
import { Runner } from './runner.ts';

export interface ApiDeps {
  readonly telemetry: Telemetry;
  readonly config: ReflexarcConfig;
  readonly bus: Pick<Bus, 'publish' | 'subscribe'>;
  readonly store: StoreReader;
  /** All services of the process, for `/readyz` and `/api/status`. */
  readonly services: () => readonly Service[];
  /** `host:port` instead of the configured one; port 0 takes any that is free. */
  readonly listen?: string;
  /** `health`: only `/healthz`, `/readyz` and `/metrics`, for a process of other services. */
  readonly routes?: 'all' | 'health';
}

/** How long requests under way may take to end when the API stops. */
const DRAIN = 5000;

/**
 * The HTTP API, listening when it resolves.
 *
 * Without tokens only loopback addresses are listened on, and only requests whose Host names this
 * machine are answered.
 *
 * @throws bad_config (address, tokens, or others could reach it without a token), unavailable (the
 * port is in use), permission
 */
export async function startApi(deps: ApiDeps): Promise<Service & { readonly url: string }> {
  const { telemetry, config } = deps;
  const address = parseAddress(deps.listen ?? config.listen);
  const tokens = readTokens(config.tokens);
  const local = await isLoopback(address.host);
  if (!local && tokens.length === 0) {
    throw new ReflexarcError(
      'bad_config',
      `listening on ${formatAddress(address.host, address.port)} would let others in without a token`,
      {
        where: { field: 'listen' },
        hint: 'configure tokens in reflexarc.yaml, or listen on 127.0.0.1',
      },
    );
  }
  const { log } = telemetry;
  const metrics = createMetrics(telemetry.metrics);
  const stopping = new AbortController();
  const runner = new Runner(
    {
      kind: 'query',
      concurrency: config.query.concurrency,
      // The panels of a few dashboards at once.
      waiting: config.query.concurrency * 8,
      timeout: config.query.timeout,
      busyHint: 'try again in a second, ask for less at once, or raise query.concurrency',
      timeoutHint: 'shorten the time range, select fewer streams, or raise query.timeout',
    },
    telemetry.clock,
    metrics,
  );
  const pushes = new Runner(
    {
      kind: 'push',
      concurrency: 8,
      waiting: 16,
      timeout: 30_000,
      busyHint: 'send it again after a pause',
      timeoutHint: 'the bus is full; send it again after a pause',
    },
    telemetry.clock,
    metrics,
  );
  const context: ApiContext = {
    ...deps,
    metrics,
    runner,
    pushes,
    stopping: stopping.signal,
    requests: new Requests(),
  };
  const check = tokens.length > 0 ? tokenCheck(tokens) : hostCheck(address.host);
  const app = await build(context, check, tokens.length > 0);

  let port: number;
  try {
    port = await listen(app, address);
  } catch (error) {
    await app.close();
    throw error;
  }
  const url = `http://${formatAddress(reachable(address.host), port)}`;
  log.info({ url, tokens: tokens.length }, 'the API listens');

  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopping.abort();
    const ended = context.requests.ended();
    const late = Promise.withResolvers<undefined>();
    const timer = telemetry.clock.after(DRAIN, () => {
      log.warn('requests did not end in time: cutting them off');
      runner.abortAll();
      pushes.abortAll();
      late.resolve(undefined);
    });
    // Takes no new connection, and waits for those that there are.
    const closed = app.close();
    await Promise.race([ended, late.promise]);
    timer.cancel();
    // A connection that has not asked for anything counts as busy for the server: browsers and
    // pools of clients open such, and it would hold us up for as long as they like.
    app.server.closeAllConnections();
    await closed;
  };
  return {
    name: 'api',
    url,
    ready: () => (stopping.signal.aborted ? { ok: false, reason: 'it is stopping' } : { ok: true }),
    stop: () => (stopped ??= stop()),
  };
}

/** Every address is no address to go to. */
const reachable = (host: string): string =>
  host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;

/** The application with all its routes, not yet listening. */
export async function build(
  context: ApiContext,
  check: AccessCheck,
  tokens: boolean,
): Promise<FastifyInstance> {
  const { metrics, telemetry, requests } = context;
  const app = Fastify({
    logger: false,
    // A body that comes in drops would hold its connection for good.
    requestTimeout: 120_000,
    bodyLimit: 1024 * 1024,
    exposeHeadRoutes: false,
    // Long queries in URLs: Grafana's.
    http: { maxHeaderSize: 64 * 1024 },
    routerOptions: { maxParamLength: 2048 },
    // A URL that cannot be decoded: found before there is a route.
    frameworkErrors: (error, request, reply: FastifyReply) => {
      const answered = answerError(toReflexarcError(error), dialectOf(request.url));
      void reply.code(answered.status).type(answered.type).send(answered.body);
    },
  });
  app.removeAllContentTypeParsers();
  // Schemas describe: see addQueryRoute. Bodies are checked where they are read, and answers are
  // what the handlers make of them.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  app.addHook('onRequest', async (request, reply) => {
    requests.add(reply.raw);
    try {
      check(request);
    } catch (error) {
      metrics.refused.inc({ reason: error instanceof HttpError ? `${error.status}` : 'error' });
      throw error;
    }
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.inc({ route, method: request.method, code: String(reply.statusCode) });
    // A tail is as long as its client likes.
    if (route !== '/api/tail') metrics.latency.observe({ route }, reply.elapsedTime / 1000);
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = toReflexarcError(thrown);
    const dialect: Dialect = dialectOf(request.url);
    const { status, type, body } = answerError(error, dialect);
    const route = request.routeOptions.url ?? 'none';
    if (status >= 500) telemetry.log.error({ err: thrown, route }, formatError(error));
    else telemetry.log.debug({ status, route }, formatError(error));
    if (status === 401) reply.header('WWW-Authenticate', 'Bearer realm="reflexarc"');
    if (status === 429) reply.header('Retry-After', '1');
    void reply.code(status).type(type).send(body);
  });
  app.setNotFoundHandler((request) => {
    const path = request.url.split('?')[0] ?? '';
    throw new HttpError(
      404,
      'not_found',
      `there is no ${request.method} ${path.slice(0, 200)}`,
      context.routes === 'health'
        ? 'here are /healthz, /readyz and /metrics; the rest is where `serve` runs'
        : '/openapi.json describes every route',
    );
  });

  if (context.routes === 'health') {
    await app.register(async (health) => addHealth(health, context));
    await app.ready();
    return app;
  }
  await addOpenApi(app, tokens);
  await app.register(async (queries) => {
    acceptForms(queries);
    addLokiQueryRange(queries, context);
    addLokiQuery(queries, context);
    addLokiLabels(queries, context);
    addLokiSeries(queries, context);
    addLokiStatus(queries, context);
    addPrometheusQuery(queries, context);
    addPrometheusQueryRange(queries, context);
    addPrometheusLabels(queries, context);
    addPrometheusSeries(queries, context);
    addPrometheusStatus(queries);
    addHistory(queries, context);
    addTail(queries, context);
    addStatus(queries, context);
    addHealth(queries, context);
  });
  await app.register(async (pushing) => addLokiPush(pushing, context));
  await app.ready();
  return app;
}
