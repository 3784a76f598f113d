/**
 * The closed set of error codes. A code is part of the product's surface: logs, HTTP answers and
 * tests name it. Add one only for a failure that its reader has to treat differently.
 */
export const ERROR_CODES = [
  'bad_config', // a file the user wrote is wrong; `where` says which file, line, column, field
  'bad_query', // a query does not parse or type-check; `where` has the position
  'bad_request', // an HTTP request or a command line is malformed
  'bad_record', // a record cannot be decoded: it becomes a dead letter
  'not_supported', // understood, and not built (yet): never silently ignored
  'limit_exceeded', // a configured limit refused the work; the message says which and how to narrow
  'not_found',
  'conflict', // create-only met an existing key, or compare-and-swap an unexpected version
  'lease_lost', // a lease passed to somebody else, or could not be renewed in time
  'locked', // another process owns the data folder
  'corrupt', // a data file or a checkpoint cannot be read back
  'disk_full',
  'permission', // a file or socket exists, and may not be read
  'unavailable', // an engine cannot be reached or does not answer; worth a retry
  'timeout',
  'cancelled', // the caller's signal fired
  'unauthorized',
  'ambiguous', // a name matches more than one thing, and acting on either could be wrong
  'internal', // a bug of ours
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** A place in something a user wrote. Lines and columns count from 1. */
export interface Where {
  file?: string;
  line?: number;
  column?: number;
  /** Path of the field, as in `groups[0].rules[2].expr`. */
  field?: string;
}

export interface ErrorDetails {
  cause?: unknown;
  where?: Where;
  /** What would be right, or what to do; one sentence. */
  hint?: string;
}

/** Every error that crosses a module's border. `message` states the fact, `hint` the remedy. */
export class ReflexarcError extends Error {
  override readonly name = 'ReflexarcError';
  readonly code: ErrorCode;
  readonly where: Where | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.where = details.where;
    this.hint = details.hint;
  }
}

export function isReflexarcError(error: unknown, code?: ErrorCode): error is ReflexarcError {
  return error instanceof ReflexarcError && (code === undefined || error.code === code);
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `file:line:column: field: message. hint`, the one form in which users see a problem. */
export function formatError(error: unknown): string {
  if (!(error instanceof ReflexarcError)) return messageOf(error);
  const { file, line, column, field } = error.where ?? {};
  const place = [file, line, line === undefined ? undefined : column].filter(
    (p) => p !== undefined,
  );
  const parts = [place.join(':'), field, error.message].filter((p) => p !== undefined && p !== '');
  return parts.join(': ') + (error.hint === undefined ? '' : ` (${error.hint})`);
}

/** Order of problems within a file. */
export function byPlace({ where: a }: ReflexarcError, { where: b }: ReflexarcError): number {
  return (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0);
}

/** Throws `cancelled` once the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new ReflexarcError('cancelled', 'cancelled', { cause: signal.reason });
  }
}
