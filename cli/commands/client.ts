import { messageOf, ReflexarcError } from '../../core/errors.ts';

/** HTTP to a running server, for the commands that ask it. */

export const DEFAULT_SERVER = 'http://127.0.0.1:4440';

export interface ClientOptions {
  /** URL of the server; a bare `host:port` is http. */
  readonly server?: string;
  /** Bearer token; else that of the environment's REFLEXARC_TOKEN. */
  readonly token?: string;
}

export class Client {
  readonly #base: URL;
  readonly #token: string | undefined;

  /** @throws bad_request when the address is no URL */
  constructor(options: ClientOptions, env: Readonly<Record<string, string | undefined>>) {
    this.#base = baseUrl(options.server ?? DEFAULT_SERVER);
    this.#token = options.token ?? (env['REFLEXARC_TOKEN'] || undefined);
  }

  /** As messages name it. */
  get server(): string {
    return this.#base.href.replace(/\/$/, '');
  }

  /**
   * @throws unavailable when nothing answers; unauthorized; bad_query when the server finds the
   * request wrong; else what it says
   */
  async get(
    path: string,
    params: Readonly<Record<string, string | undefined>>,
    signal?: AbortSignal,
  ): Promise<Response> {
    const url = new URL(this.#base.pathname.replace(/\/$/, '') + path, this.#base);
    for (const [name, value] of Object.entries(params)) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    let response: Response;
    try {
      response = await fetch(url, {
        headers: this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` },
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      throw signal?.aborted === true
        ? new ReflexarcError('cancelled', 'cancelled', { cause })
        : unreachable(this.server, cause);
    }
    if (!response.ok) throw await refusal(response, this.server);
    return response;
  }

  /** @throws also unavailable when the answer is not of the shape that `read` wants */
  async json<T>(
    path: string,
    params: Readonly<Record<string, string | undefined>>,
    read: (body: unknown) => T | undefined,
    signal?: AbortSignal,
  ): Promise<T> {
    const response = await this.get(path, params, signal);
    let value: T | undefined;
    let cause: unknown;
    try {
      value = read(await response.json());
    } catch (error) {
      cause = error;
    }
    if (value === undefined) {
      throw new ReflexarcError('unavailable', `${this.server} answers, but not as Reflexarc does`, {
        cause,
        hint: 'is --server right?',
      });
    }
    return value;
  }
}

function baseUrl(text: string): URL {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(full);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ReflexarcError('bad_request', `--server ${JSON.stringify(text)} is no URL`, {
      hint: `write it like ${DEFAULT_SERVER}`,
    });
  }
  url.search = '';
  url.hash = '';
  return url;
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection is refused',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the host name cannot be looked up',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  ETIMEDOUT: 'it does not answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'it does not answer in time',
  EHOSTUNREACH: 'there is no way to that host',
};

export function unreachable(server: string, cause: unknown): ReflexarcError {
  const inner = (cause as { cause?: unknown } | undefined)?.cause ?? cause;
  // Several addresses of one name fail together.
  const first = inner instanceof AggregateError ? (inner.errors[0] as unknown) : inner;
  const code = (first as NodeJS.ErrnoException | undefined)?.code;
  return new ReflexarcError(
    'unavailable',
    `no server at ${server}: ${REASONS[code ?? ''] ?? messageOf(first)}`,
    { cause, hint: 'start one with `reflexarc up`, or name another with --server' },
  );
}

async function refusal(response: Response, server: string): Promise<ReflexarcError> {
  const body = await response.text();
  const said = wordsOf(body) ?? `status ${response.status}`;
  if (response.status === 401) {
    return new ReflexarcError('unauthorized', `${server} wants a token: ${said}`, {
      hint: 'give it with --token or in REFLEXARC_TOKEN',
    });
  }
  if (response.status === 400) return new ReflexarcError('bad_query', said);
  return new ReflexarcError('unavailable', `${server} refuses: ${said}`);
}

/** The message of any of the forms in which the server refuses. */
function wordsOf(body: string): string | undefined {
  const text = body.trim();
  if (text.startsWith('{')) {
    try {
      const { error } = JSON.parse(text) as { error?: unknown };
      if (typeof error === 'string') return error;
      const { message, hint } = (error ?? {}) as { message?: unknown; hint?: unknown };
      if (typeof message !== 'string') return undefined;
      return typeof hint === 'string' ? `${message} (${hint})` : message;
    } catch {
      return undefined;
    }
  }
  return text === '' || text.startsWith('<') ? undefined : text.slice(0, 2000);
}
