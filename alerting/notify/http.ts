import type { Clock } from '../../core/clock.ts';
import { ReflexarcError } from '../../core/errors.ts';

export interface Target {
  /** Read anew for each attempt, since its file may have changed. */
  readonly url: () => string;
  readonly headers: () => Readonly<Record<string, string>>;
  readonly followRedirects: boolean;
  /** Milliseconds for one attempt. */
  readonly timeout: number;
}

export type Outcome =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly retry: boolean;
      readonly reason: 'client_error' | 'server_error' | 'rate_limited' | 'network' | 'timeout';
      /** Milliseconds that the receiver asks us to wait. */
      readonly after?: number;
      /** Without the address and without anything secret. */
      readonly error: ReflexarcError;
    };

/** One attempt. Never throws; what it says never holds the URL, which is a secret in itself. */
export async function post(
  target: Target,
  body: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  const timeout = new AbortController();
  const timer = clock.after(target.timeout, () => timeout.abort());
  try {
    const response = await fetch(target.url(), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Reflexarc',
        ...target.headers(),
      },
      body,
      redirect: target.followRedirects ? 'follow' : 'manual',
      signal: AbortSignal.any([signal, timeout.signal]),
    });
    // Read to its end, so that the connection can be used again.
    const text = await response.text();
    return response.ok ? { ok: true } : refused(response, text, target.url(), clock);
  } catch (error) {
    const timedOut = timeout.signal.aborted;
    const word = timedOut ? `no answer within ${target.timeout} ms` : codeOf(error);
    return {
      ok: false,
      retry: true,
      reason: timedOut ? 'timeout' : 'network',
      // The cause's text may name the URL: its code says enough.
      error: new ReflexarcError(timedOut ? 'timeout' : 'unavailable', word),
    };
  } finally {
    timer.cancel();
  }
}

function refused(response: Response, text: string, url: string, clock: Clock): Outcome {
  const { status } = response;
  const answer = text.replaceAll(url, '<url>').replace(/\s+/g, ' ').trim().slice(0, 200);
  const error = new ReflexarcError(
    'unavailable',
    `the receiver answered ${status}${answer === '' ? '' : `: ${answer}`}`,
  );
  const after = retryAfter(response.headers.get('retry-after'), clock);
  const wait = after === undefined ? {} : { after };
  if (status === 429) return { ok: false, retry: true, reason: 'rate_limited', error, ...wait };
  if (status >= 500) return { ok: false, retry: true, reason: 'server_error', error, ...wait };
  return { ok: false, retry: false, reason: 'client_error', error };
}

/** Seconds, or an HTTP date. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
function retryAfter(header: string | null, clock: Clock): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - clock.now());
}

function codeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? `no connection: ${code}` : 'no connection';
}
