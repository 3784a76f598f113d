import type { FastifyInstance } from 'fastify';
import type { HistorySelect } from '../../core/contracts/store.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import { encodeRecords } from '../../core/records/codec.ts';
import { nanosToMillis } from '../../core/time.ts';
import type { ApiContext } from '../context.ts';
import { addQueryRoute } from '../forms.ts';
import { checkLines } from '../limits.ts';
import {
  badRequest,
  durationParam,
  integerParam,
  type Params,
  parseLokiTime,
  quote,
} from '../params.ts';
import { answer, list, object, ownErrors, type Schema, text } from '../schemas.ts';
import { readParams } from './params.ts';

const DEFAULT_LIMIT = 100;

const parameters = (more: Readonly<Record<string, Schema>>): Schema =>
  object(
    {
      service: text('Only of this service', 'web'),
      fingerprint: text('Only of the alert with this fingerprint', 'a1b2c3d4e5f60718'),
      ...more,
      since: text('A duration back, RFC 3339, or a time since the epoch', '1h'),
      until: text('As since; now if absent'),
      limit: { type: 'integer', minimum: 1, default: DEFAULT_LIMIT },
    },
    [],
  );

const recordAnswer = (name: string, description: string, example: object): Schema =>
  answer(
    description,
    object(
      {
        [name]: list({ type: 'object', additionalProperties: true }),
        more: { type: 'boolean', description: 'The limit left older ones out' },
      },
      undefined,
      { example: { [name]: [example], more: false } },
    ),
  );

/** `GET /api/alerts` and `GET /api/actions`: what happened, newest first. */
export function addHistory(app: FastifyInstance, context: ApiContext): void {
  const { runner, store } = context;
  addQueryRoute(
    app,
    {
      url: '/api/alerts',
      tag: 'Reflexarc',
      summary: 'Transitions of alerts, newest first',
      methods: ['GET'],
      parameters: parameters({}),
      response: {
        200: recordAnswer('alerts', 'Records of the topic alerts', {
          id: '3f2a',
          timestamp: 1767225600000,
          fingerprint: 'a1b2c3d4e5f60718',
          state: 'firing',
          cause: 'transition',
          labels: { alertname: 'ContainerDied', service: 'web' },
          value: 1,
        }),
        ...ownErrors,
      },
    },
    async (request, reply) => {
      const select = historySelect(context, readParams(request, NAMES));
      const records = await runner.run(reply, (signal) => store.alerts(more(select), signal));
      reply.type('application/json; charset=utf-8');
      return render('alerts', records, select.limit);
    },
  );
  addQueryRoute(
    app,
    {
      url: '/api/actions',
      tag: 'Reflexarc',
      summary: 'Decisions and actions of remediation, newest first',
      methods: ['GET'],
      parameters: parameters({ case: text('Only of this case') }),
      response: {
        200: recordAnswer('actions', 'Records of the topic actions', {
          id: '9c1d',
          timestamp: 1767225600400,
          case: 'c-7',
          phase: 'verified',
          message: 'web is healthy',
          remediation: 'restart-crashed',
          dryRun: false,
        }),
        ...ownErrors,
      },
    },
    async (request, reply) => {
      const params = readParams(request, [...NAMES, 'case']);
      const id = params.get('case');
      const select = {
        ...historySelect(context, params),
        ...(id === undefined ? {} : { case: id }),
      };
      const records = await runner.run(reply, (signal) => store.actions(more(select), signal));
      reply.type('application/json; charset=utf-8');
      return render('actions', records, select.limit);
    },
  );
}

const NAMES = ['service', 'fingerprint', 'since', 'until', 'limit'];

/** @throws bad_request, limit_exceeded */
function historySelect({ telemetry, config }: ApiContext, params: Params): HistorySelect {
  const now = telemetry.clock.now();
  const service = params.get('service');
  const fingerprint = params.get('fingerprint');
  const limitText = params.get('limit');
  const limit =
    limitText === undefined
      ? Math.min(DEFAULT_LIMIT, config.query.max_lines)
      : integerParam('limit', limitText);
  if (limit < 1) throw badRequest("the parameter 'limit' is at least 1");
  checkLines(config.query, limit);
  const start = timeOrBack(params, 'since', now) ?? now - config.store.max_age;
  const end = timeOrBack(params, 'until', now) ?? now;
  if (end < start) throw badRequest("'until' is before 'since'");
  return {
    start,
    end,
    limit,
    ...(service === undefined ? {} : { service }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
  };
}

/** `1h` is an hour back; else a time. Milliseconds. */
function timeOrBack(params: Params, name: string, now: number): number | undefined {
  const value = params.get(name);
  if (value === undefined) return undefined;
  if (/^\d+(?:y|w|d|h|m|s|ms)(?:\d|$)/.test(value)) return now - durationParam(name, value);
  const nanos = parseLokiTime(value);
  if (nanos === undefined) {
    throw badRequest(
      `could not parse '${name}' parameter: ${quote(value)}`,
      'a duration such as 1h, RFC 3339, or seconds or nanoseconds since the epoch',
    );
  }
  return Math.floor(nanosToMillis(nanos));
}

/** One more than asked for tells whether there are more. */
const more = (select: HistorySelect): HistorySelect => ({ ...select, limit: select.limit + 1 });

/** The records as they are on the bus: numbers that JSON does not have stay what they are. */
function render(
  name: string,
  records: readonly (AlertRecord | ActionRecord)[],
  limit: number,
): string {
  const lines = Buffer.from(encodeRecords(records.slice(0, limit)))
    .toString()
    .trimEnd();
  const body = lines.replaceAll('\n', ',');
  return `{"${name}":[${body}],"more":${records.length > limit}}`;
}
