import type { FastifyError } from 'fastify';
import { type ErrorCode, formatError, messageOf, ReflexarcError } from '../core/errors.ts';

/** 429: nothing is wrong with the request, there are only too many at once. */
export class BusyError extends ReflexarcError {
  constructor(message: string, hint: string) {
    super('limit_exceeded', message, { hint });
  }
}

/** A refusal whose HTTP status its code alone does not tell: 403, 413, 415, … */
export class HttpError extends ReflexarcError {
  readonly status: number;

  constructor(status: number, code: ErrorCode, message: string, hint?: string) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = status;
  }
}

type Row = readonly [own: number, loki: number, prometheus: number, errorType: string];

/**
 * From an error's code to HTTP. Loki answers 400 to every query it will not run and 504 to one that
 * takes too long (pkg/util/server/error.go); Prometheus tells `bad_data`, `execution`, `timeout`,
 * `canceled`, `unavailable` and `internal` apart (web/api/v1/api.go).
 */
const TABLE: Readonly<Record<ErrorCode, Row>> = {
  bad_query: [400, 400, 400, 'bad_data'],
  bad_request: [400, 400, 400, 'bad_data'],
  bad_record: [400, 400, 400, 'bad_data'],
  not_supported: [400, 400, 400, 'bad_data'],
  limit_exceeded: [422, 400, 422, 'execution'],
  ambiguous: [409, 400, 422, 'execution'],
  not_found: [404, 404, 404, 'not_found'],
  conflict: [409, 409, 409, 'execution'],
  unauthorized: [401, 401, 401, 'unauthorized'],
  timeout: [504, 504, 503, 'timeout'],
  // nginx's status for a client that closed the connection; nobody reads it but our metrics.
  cancelled: [499, 499, 499, 'canceled'],
  unavailable: [503, 503, 503, 'unavailable'],
  lease_lost: [503, 503, 503, 'unavailable'],
  locked: [503, 503, 503, 'unavailable'],
  disk_full: [503, 503, 503, 'unavailable'],
  bad_config: [500, 500, 500, 'internal'],
  corrupt: [500, 500, 500, 'internal'],
  permission: [500, 500, 500, 'internal'],
  internal: [500, 500, 500, 'internal'],
};

/** Whose habits an answer follows: each family of routes speaks as the server it stands for. */
export type Dialect = 'own' | 'loki' | 'prometheus';

export function dialectOf(url: string): Dialect {
  if (url.startsWith('/loki/') || /^\/ready(?:$|\?)/.test(url)) return 'loki';
  return url.startsWith('/api/v1/') ? 'prometheus' : 'own';
}

export interface ErrorAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export function answerError(error: ReflexarcError, dialect: Dialect): ErrorAnswer {
  const [own, loki, prometheus, errorType] = TABLE[error.code];
  const special =
    error instanceof BusyError ? 429 : error instanceof HttpError ? error.status : undefined;
  if (dialect === 'loki') {
    return {
      status: special ?? loki,
      type: 'text/plain; charset=utf-8',
      body: `${lokiText(error)}\n`,
    };
  }
  const json = 'application/json; charset=utf-8';
  if (dialect === 'prometheus') {
    const body = JSON.stringify({ status: 'error', errorType, error: prometheusText(error) });
    return { status: special ?? prometheus, type: json, body };
  }
  const { code, message, hint, where } = error;
  return {
    status: special ?? own,
    type: json,
    body: JSON.stringify({ error: { code, message, hint, where } }),
  };
}

const withHint = (text: string, error: ReflexarcError): string =>
  error.hint === undefined ? text : `${text} (${error.hint})`;

/** `parse error at line 1, col 5: …`: what clients of Loki look for. */
function lokiText(error: ReflexarcError): string {
  const { line, column } = error.where ?? {};
  if (error.code !== 'bad_query') return formatError(error);
  const place = line === undefined ? '' : ` at line ${line}, col ${column ?? 0}`;
  return withHint(`parse error${place}: ${withoutLead(error.message)}`, error);
}

/** `1:5: parse error: …`, as Prometheus writes it. */
function prometheusText(error: ReflexarcError): string {
  if (error.code !== 'bad_query') return formatError(error);
  const { line, column } = error.where ?? {};
  const place = line === undefined ? '' : `${line}:${column ?? 0}: `;
  return withHint(`${place}parse error: ${withoutLead(error.message)}`, error);
}

const withoutLead = (message: string): string => message.replace(/^parse error:?\s*/i, '');

/** Whatever was thrown, as an error of ours. */
export function toReflexarcError(error: unknown): ReflexarcError {
  if (error instanceof ReflexarcError) return error;
  const { statusCode, code } = (error ?? {}) as Partial<FastifyError>;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new HttpError(
      statusCode,
      statusCode === 404 ? 'not_found' : 'bad_request',
      messageOf(error),
      HINTS[code ?? ''],
    );
  }
  return new ReflexarcError('internal', 'something went wrong inside; the log has the details', {
    cause: error,
  });
}

const HINTS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE:
    'queries take application/x-www-form-urlencoded, push takes application/json',
  FST_ERR_CTP_BODY_TOO_LARGE: 'send less in one request',
};
