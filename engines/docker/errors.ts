import { messageOf, ReflexarcError } from '../../core/errors.ts';

/** What dockerode and Node's sockets put on their errors. */
interface Failure {
  readonly statusCode?: unknown;
  readonly code?: unknown;
  readonly name?: unknown;
}

// What a socket says when nobody is at its other end, or no longer.
const AWAY = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/**
 * Any failure of a call to the engine, in our codes. `what` is the call in words, as in
 * `inspect container ab12`; `host` is the address as configured.
 */
export function engineError(error: unknown, what: string, host: string): ReflexarcError {
  if (error instanceof ReflexarcError) return error;
  const { statusCode, code, name } = (error ?? {}) as Failure;
  const details = { cause: error };
  const message = `${what}: ${messageOf(error).trim()}`;
  if (statusCode === 404) return new ReflexarcError('not_found', message, details);
  if (statusCode === 409) return new ReflexarcError('conflict', message, details);
  if (statusCode === 400) return new ReflexarcError('internal', message, details);
  if (statusCode === 401 || statusCode === 403) {
    return new ReflexarcError('permission', message, details);
  }
  if (statusCode === 501) return new ReflexarcError('not_supported', message, details);
  if (typeof statusCode === 'number') return new ReflexarcError('unavailable', message, details);
  if (code === 'EACCES' || code === 'EPERM') {
    return new ReflexarcError(
      'permission',
      `${what}: this user may not open the Docker socket ${host}`,
      {
        ...details,
        hint: 'add the user to the group docker (usermod -aG docker USER, then log in again), or set sources.docker.host to a socket that it may open',
      },
    );
  }
  if (name === 'AbortError' || code === 'ABORT_ERR') {
    return new ReflexarcError('cancelled', `${what}: cancelled`, details);
  }
  if (
    (typeof code === 'string' && AWAY.has(code)) ||
    /socket hang up|aborted|premature close/i.test(messageOf(error))
  ) {
    return new ReflexarcError(
      'unavailable',
      `${what}: no Docker Engine answers at ${host}: ${messageOf(error)}`,
      {
        ...details,
        hint: 'start the engine (systemctl start docker), set sources.docker.host to where it listens, or sources.docker.enabled to false',
      },
    );
  }
  return new ReflexarcError('unavailable', message, details);
}
