import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { Counter } from 'prom-client';
import type { Clock } from '../../core/clock.ts';
import { isReflexarcError, ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { engineError } from './errors.ts';

/** How many questions to the engine may be under way at once: a storm of events must not be one of calls. */
const CONCURRENT_READS = 4;

export const READ_TIMEOUT = 10_000;

/** A response's body that is read as it comes. */
export type EngineStream = Readable & {
  readonly socket?: { setKeepAlive(on: boolean, delay: number): void };
};

export interface CallOptions {
  /** Milliseconds until `timeout`; default 10 s. */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The only place that speaks to dockerode: every call has a timeout, takes a signal, is counted,
 * and fails in our codes.
 */
export class DockerClient {
  readonly host: string;
  readonly #clock: Clock;
  /** Questions: few sockets, kept open. */
  readonly #reads: Docker;
  /** Endless answers, and calls that change something: a socket each, so that none waits for another. */
  readonly #own: Docker;
  readonly #agents: readonly (HttpAgent | HttpsAgent)[];
  readonly #calls: Counter<'call' | 'result'>;

  /** @throws bad_config when `host` is no address of an engine */
  constructor(host: string, { clock, metrics }: Telemetry) {
    this.host = host;
    this.#clock = clock;
    const address = parseHost(host);
    const Agent = address.protocol === 'https' ? HttpsAgent : HttpAgent;
    const reads = new Agent({ keepAlive: true, maxSockets: CONCURRENT_READS });
    const own = new Agent({ keepAlive: false });
    this.#agents = [reads, own];
    // dockerode passes `agent` on to Node, though its types do not know it.
    this.#reads = new Docker({ ...address, agent: reads } as Docker.DockerOptions);
    this.#own = new Docker({ ...address, agent: own } as Docker.DockerOptions);
    this.#calls = new Counter({
      name: 'reflexarc_docker_calls_total',
      help: 'Calls to the Docker Engine, by what was asked and how it ended (ok, or an error code).',
      labelNames: ['call', 'result'],
      registers: [metrics],
    });
  }

  /** A question; asked again once where a kept connection was dead. */
  async read<T>(
    call: string,
    ask: (docker: Docker, signal: AbortSignal) => Promise<T>,
    options: CallOptions = {},
  ): Promise<T> {
    try {
      return await this.#call(call, this.#reads, ask, options);
    } catch (error) {
      const cause = isReflexarcError(error)
        ? (error.cause as { code?: unknown } | undefined)
        : undefined;
      if (cause?.code !== 'ECONNRESET' && cause?.code !== 'EPIPE') throw error;
      return await this.#call(call, this.#reads, ask, options);
    }
  }

  /** A change, or a question that takes long: on a connection of its own. Never asked twice. */
  separately<T>(
    call: string,
    ask: (docker: Docker, signal: AbortSignal) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    return this.#call(call, this.#own, ask, options);
  }

  /** Opens an endless answer. The timeout is for its head; the signal ends its body as well. */
  async stream(
    call: string,
    ask: (docker: Docker, signal: AbortSignal) => Promise<NodeJS.ReadableStream>,
    options: CallOptions,
  ): Promise<EngineStream> {
    let body: EngineStream | undefined;
    let late = false;
    const opened = await this.#call(
      call,
      this.#own,
      async (docker, signal) => {
        body = (await ask(docker, signal)) as EngineStream;
        if (late) body.destroy();
        return body;
      },
      options,
    ).catch((error: unknown) => {
      late = true;
      body?.destroy();
      throw error;
    });
    // Without a listener an error between two reads would end the process.
    opened.on('error', () => {});
    opened.socket?.setKeepAlive(true, 30_000);
    const { signal } = options;
    const onAbort = (): void => {
      opened.destroy();
    };
    if (signal?.aborted === true) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    opened.once('close', () => signal?.removeEventListener('abort', onAbort));
    return opened;
  }

  #call<T>(
    call: string,
    docker: Docker,
    ask: (docker: Docker, signal: AbortSignal) => Promise<T>,
    { timeout = READ_TIMEOUT, signal }: CallOptions,
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // dockerode's promise may stay open for ever where an answer is cut off in its middle, so the
    // timeout and the signal settle ours, and the abort only frees the socket.
    const abort = new AbortController();
    const timer = this.#clock.after(timeout, () => {
      reject(
        new ReflexarcError('timeout', `${call}: the Docker Engine took longer than ${timeout} ms`, {
          hint: 'docker info shows whether the engine still answers',
        }),
      );
      abort.abort();
    });
    const onAbort = (): void => {
      reject(new ReflexarcError('cancelled', `${call}: cancelled`, { cause: signal?.reason }));
      abort.abort();
    };
    if (signal?.aborted === true) onAbort();
    else {
      signal?.addEventListener('abort', onAbort, { once: true });
      ask(docker, abort.signal).then(resolve, (error: unknown) =>
        reject(engineError(error, call, this.host)),
      );
    }
    return promise
      .then(
        (value) => {
          this.#calls.inc({ call: kindOf(call), result: 'ok' });
          return value;
        },
        (error: unknown) => {
          const result = isReflexarcError(error) ? error.code : 'internal';
          this.#calls.inc({ call: kindOf(call), result });
          throw error;
        },
      )
      .finally(() => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
      });
  }

  close(): void {
    for (const agent of this.#agents) agent.destroy();
  }
}

/** `inspect ab12` is counted as `inspect`. */
const kindOf = (call: string): string => call.split(' ', 1)[0] ?? call;

interface Address {
  socketPath?: string;
  host?: string;
  port?: number;
  protocol?: 'http' | 'https';
}

/** @throws bad_config */
export function parseHost(host: string): Address {
  const unix = /^(?:unix|npipe):\/\/(.+)$/.exec(host)?.[1];
  if (unix !== undefined) return { socketPath: unix };
  const found = /^(tcp|http|https):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(host);
  const name = found?.[2];
  if (name === undefined) {
    throw new ReflexarcError('bad_config', `not the address of a Docker Engine: ${host}`, {
      where: { field: 'sources.docker.host' },
      hint: 'write unix:///var/run/docker.sock, tcp://host:2375 or https://host:2376',
    });
  }
  const secure = found?.[1] === 'https';
  return {
    host: name.replace(/^\[(.*)\]$/, '$1'),
    port: Number(found?.[3] ?? (secure ? 2376 : 2375)),
    protocol: secure ? 'https' : 'http',
  };
}
