import { PassThrough } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { Timer } from '../../core/clock.ts';
import type { Delivery, Subscription } from '../../core/contracts/bus.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { decodeLogs, metadataOf, StreamCache } from '../../core/records/codec.ts';
import { type Nanos, parseRfc3339 } from '../../core/time.ts';
import { parseLogQL } from '../../lang/logql/parse.ts';
import { compilePipeline, type Pipeline, type Processed } from '../../lang/logql/pipeline.ts';
import { rowLabels } from '../../lang/logql/rows.ts';
import type { ApiContext } from '../context.ts';
import { BusyError } from '../errors.ts';
import { addQueryRoute } from '../forms.ts';
import { badRequest } from '../params.ts';
import { object, ownErrors, text } from '../schemas.ts';
import { readParams } from './params.ts';

/** Each tail tests every line that passes: so many at once. */
const MAX_TAILS = 32;
/** What may wait for a client that reads slowly. */
const MAX_BUFFER = 1024 * 1024;
/** An empty line at this distance shows either side that the other is there. */
const HEARTBEAT = 15_000;

const response = {
  200: {
    description:
      'One JSON object a line, until the client leaves: a log line, or {"dropped": n} for lines that the client did not take in time. Empty lines are a heartbeat',
    content: {
      'application/x-ndjson': {
        schema: {
          type: 'string',
          example:
            '{"timestamp":"1767225600000000000","labels":{"service":"web"},"line":"GET / 200"}\n{"dropped":12}\n',
        },
      },
    },
  },
  ...ownErrors,
};

/** `GET /api/tail?query=`: lines as they pass over the bus. */
export function addTail(app: FastifyInstance, context: ApiContext): void {
  const { bus, metrics, stopping, telemetry } = context;
  let open = 0;
  addQueryRoute(
    app,
    {
      url: '/api/tail',
      tag: 'Reflexarc',
      summary: 'Live tail',
      methods: ['GET'],
      parameters: object({ query: text('A LogQL log query', '{service="web"} |= "error"') }),
      response,
    },
    async (request, reply) => {
      const query = readParams(request, ['query']).get('query');
      if (query === undefined) throw badRequest("the parameter 'query' is required");
      const expr = parseLogQL(query);
      if (expr.kind !== 'logs') {
        throw badRequest('only log queries can be tailed', 'such as {service="web"} |= "error"');
      }
      const pipeline = compilePipeline(expr);
      if (open >= MAX_TAILS) {
        metrics.refused.inc({ reason: 'tails' });
        throw new BusyError(`${open} tails are open; no more are taken`, 'close one first');
      }
      metrics.tails.set(++open);
      const tail = new Tail(context, pipeline);
      try {
        await tail.begin(bus);
      } catch (error) {
        metrics.tails.set(--open);
        throw error;
      }
      const end = (): void => tail.end();
      stopping.addEventListener('abort', end, { once: true });
      reply.raw.once('close', end);
      tail.closed
        .catch((error: unknown) => {
          telemetry.log.warn({ err: error }, 'a tail did not close as it should');
        })
        .finally(() => {
          stopping.removeEventListener('abort', end);
          metrics.tails.set(--open);
        });
      if (stopping.aborted || reply.raw.destroyed) end();
      return reply
        .header('Cache-Control', 'no-store')
        .header('X-Accel-Buffering', 'no')
        .type('application/x-ndjson')
        .send(tail.output);
    },
  );
}

class Tail {
  /** Ends the answer when it ends. */
  readonly output = new PassThrough({ highWaterMark: MAX_BUFFER });
  /** Settles when nothing of it is left. */
  readonly closed: Promise<void>;
  readonly #context: ApiContext;
  readonly #pipeline: Pipeline;
  readonly #cache = new StreamCache();
  readonly #ended = Promise.withResolvers<undefined>();
  #subscription: Subscription | undefined;
  #heartbeat: Timer | undefined;
  #dropped = 0;

  constructor(context: ApiContext, pipeline: Pipeline) {
    this.#context = context;
    this.#pipeline = pipeline;
    this.output.on('drain', () => this.#tellDropped());
    // The client is gone in the middle of a line: that is no error of ours.
    this.output.on('error', () => this.end());
    this.closed = this.#close();
  }

  /** When it resolves, nothing that is published from now on is missed. */
  async begin(bus: ApiContext['bus']): Promise<void> {
    try {
      this.#subscription = await bus.subscribe(
        'logs',
        'tail',
        (delivery) => {
          this.#handle(delivery);
          return Promise.resolve(undefined);
        },
        { start: 'latest', ephemeral: true },
      );
    } catch (cause) {
      this.end();
      throw cause instanceof ReflexarcError
        ? cause
        : new ReflexarcError('unavailable', 'the bus cannot be read', { cause });
    }
    // Sends the head of the answer.
    this.#beat();
  }

  end(): void {
    this.#ended.resolve(undefined);
  }

  async #close(): Promise<void> {
    await this.#ended.promise;
    this.#heartbeat?.cancel();
    this.output.end();
    await this.#subscription?.close();
  }

  #beat(): void {
    this.output.write('\n');
    this.#heartbeat = this.#context.telemetry.clock.after(HEARTBEAT, () => this.#beat());
  }

  /** Never waits: the bus has other readers, and the lines of a slow client are dropped. */
  #handle({ messages }: Delivery): void {
    for (const { value } of messages) {
      for (const record of decodeLogs(value, this.#cache).records) {
        if (!this.#pipeline.matches(record.stream.labels)) continue;
        const metadata = metadataOf(record);
        const time = parseRfc3339(record.timestamp) ?? 0n;
        const labels = rowLabels({
          timestamp: time,
          line: record.line,
          id: record.id,
          labels: record.stream.labels,
          ...(metadata === undefined ? {} : { metadata }),
        });
        const row = this.#pipeline.process(record.line, labels);
        if (row !== undefined) this.#send(time, row);
      }
    }
  }

  #send(time: Nanos, { line, labels }: Processed): void {
    if (this.output.writableEnded) return;
    if (this.output.writableNeedDrain) {
      this.#dropped++;
      this.#context.metrics.tailDropped.inc();
      return;
    }
    this.output.write(`${JSON.stringify({ timestamp: time.toString(), labels, line })}\n`);
    this.#context.metrics.tailSent.inc();
  }

  #tellDropped(): void {
    if (this.#dropped === 0 || this.output.writableEnded) return;
    this.output.write(`${JSON.stringify({ dropped: this.#dropped })}\n`);
    this.#dropped = 0;
  }
}
