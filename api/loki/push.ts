import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Outgoing } from '../../core/contracts/bus.ts';
import { messageOf } from '../../core/errors.ts';
import { formatLabels } from '../../core/labels.ts';
import { encodeLogs } from '../../core/records/codec.ts';
import type { LogRecord } from '../../core/records/log.ts';
import type { ApiContext } from '../context.ts';
import { HttpError } from '../errors.ts';
import { badRequest } from '../params.ts';
import { labelsSchema, list, lokiErrors, object, type Schema, text } from '../schemas.ts';
import { type PushedStream, readPush } from './entries.ts';

/** Of the body as it is sent, and of what it unpacks to. Shippers send 1 MiB and less. */
export const MAX_PUSH_BYTES = 8 * 1024 * 1024;
/** A bus message of one stream: well under what Kafka takes by default. */
const MAX_MESSAGE_BYTES = 512 * 1024;

const UNPACK = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
};

const bodySchema = object({
  streams: list(
    object({
      stream: { ...labelsSchema, description: 'Labels; they are kept exactly as they are' },
      values: list(
        list(
          {},
          {
            minItems: 2,
            maxItems: 3,
            description: 'Nanoseconds since the epoch as text, the line, and structured metadata',
          },
        ),
      ),
    }),
  ),
});

const example = {
  streams: [
    {
      stream: { service: 'web', env: 'prod' },
      values: [
        ['1767225600000000000', 'upstream timed out'],
        ['1767225600000000001', 'retried', { trace_id: '4bf92f3577b34da6' }],
      ],
    },
  ],
};

const response: Readonly<Record<string, Schema>> = {
  204: { description: 'Every entry is on the bus', type: 'null' },
  ...lokiErrors,
  413: { description: 'The body is too large', content: { 'text/plain': { schema: text('') } } },
  415: { description: 'Not JSON', content: { 'text/plain': { schema: text('') } } },
};

/**
 * `POST /loki/api/v1/push`: JSON, plain or packed with gzip or deflate. Resolves once everything is
 * on the bus. Nothing of a request with a bad entry is taken.
 */
export function addLokiPush(app: FastifyInstance, context: ApiContext): void {
  const { bus, config, telemetry, metrics, pushes } = context;
  const { clock } = telemetry;
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: MAX_PUSH_BYTES },
    (_request, body, done) => done(null, body),
  );
  app.route({
    method: 'POST',
    url: '/loki/api/v1/push',
    schema: {
      tags: ['Loki'],
      summary: 'Take log lines',
      description:
        'The same line of the same stream and time is one line, however often it is sent. Lines above sources.max_line are cut and marked.',
      body: { content: { 'application/json': { schema: { ...bodySchema, example } } } },
      response,
    },
    handler: async (request, reply) => {
      const streams = await readPush(await unpack(request), {
        now: clock.nowNanos(),
        maxAge: config.store.max_age,
        maxLine: config.sources.max_line,
      });
      const messages = streams.flatMap(toMessages);
      if (messages.length > 0) {
        await pushes.run(reply, (signal) => bus.publish('logs', messages, signal));
      }
      for (const { entries, truncated } of streams) {
        metrics.pushedEntries.inc(entries.length);
        metrics.truncatedEntries.inc(truncated);
        for (const { line } of entries) metrics.pushedBytes.inc(Buffer.byteLength(line));
      }
      return reply.code(204).send();
    },
  });
}

/** The parsed body. @throws bad_request, 413, 415 */
async function unpack(request: FastifyRequest): Promise<unknown> {
  let { body } = request as { body: unknown };
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (!Buffer.isBuffer(body)) throw badRequest('the body is empty', 'send {"streams": […]}');
  if (encoding !== 'identity' && encoding !== '') {
    const decode = UNPACK[encoding as keyof typeof UNPACK] as (typeof UNPACK)['gzip'] | undefined;
    if (decode === undefined || !Object.hasOwn(UNPACK, encoding)) {
      throw new HttpError(
        415,
        'not_supported',
        `Content-Encoding ${JSON.stringify(encoding)} is not supported`,
        'gzip, deflate or none',
      );
    }
    try {
      body = await decode(body, { maxOutputLength: MAX_PUSH_BYTES });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
        throw new HttpError(
          413,
          'limit_exceeded',
          `the body unpacks to more than ${MAX_PUSH_BYTES} bytes`,
          'send less in one request',
        );
      }
      throw badRequest(`the body is not ${encoding}: ${messageOf(cause)}`);
    }
  }
  try {
    return JSON.parse((body as Buffer).toString());
  } catch (cause) {
    throw badRequest(`the body is not JSON: ${messageOf(cause)}`, 'send {"streams": […]}');
  }
}

/** One stream's entries as messages of a bounded size, in order. */
function toMessages({ stream, entries }: PushedStream): Outgoing[] {
  const key = formatLabels(stream.labels);
  const messages: Outgoing[] = [];
  let batch: LogRecord[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (batch.length === 0) return;
    messages.push({ key, value: encodeLogs(batch), records: batch.length });
    batch = [];
    bytes = 0;
  };
  for (const entry of entries) {
    // JSON's escapes make lines longer; a message is only about as large as it should be.
    const size = Buffer.byteLength(entry.line) + 200;
    if (bytes + size > MAX_MESSAGE_BYTES) flush();
    batch.push(entry);
    bytes += size;
  }
  flush();
  return messages;
}
