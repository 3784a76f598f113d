import type { FastifyRequest } from 'fastify';
import { parseDuration } from '../core/durations.ts';
import { isReflexarcError, ReflexarcError } from '../core/errors.ts';
import { type Nanos, parseRfc3339 } from '../core/time.ts';

/** Request parameters as Go's `Request.Form` gives them: the form's first, then the URL's. */
export class Params {
  readonly #form: URLSearchParams;
  readonly #query: URLSearchParams;

  constructor(query: string, form = '') {
    this.#query = new URLSearchParams(query);
    this.#form = new URLSearchParams(form);
  }

  static of(request: FastifyRequest): Params {
    const { url, body } = request;
    const mark = url.indexOf('?');
    return new Params(
      mark === -1 ? '' : url.slice(mark + 1),
      typeof body === 'string' ? body : undefined,
    );
  }

  /** An empty value is an absent one. */
  get(name: string): string | undefined {
    const value = this.#form.get(name) ?? this.#query.get(name);
    return value === null || value === '' ? undefined : value;
  }

  names(): string[] {
    return [...this.#form.keys(), ...this.#query.keys()];
  }

  /** Every value of any of the names. */
  all(...names: readonly string[]): string[] {
    return names.flatMap((name) => [...this.#form.getAll(name), ...this.#query.getAll(name)]);
  }
}

/** What 64 bits of nanoseconds hold; Loki and Prometheus have no other times either. */
const MAX_NANOS = 2n ** 63n - 1n;
const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

export const badRequest = (message: string, hint?: string): ReflexarcError =>
  new ReflexarcError('bad_request', message, hint === undefined ? {} : { hint });

const inRange = (nanos: Nanos | undefined): Nanos | undefined =>
  nanos !== undefined && nanos <= MAX_NANOS && nanos >= -MAX_NANOS ? nanos : undefined;

/** Decimal text to a number; undefined for anything else, infinities and NaN among it. */
export function parseFloatText(text: string): number | undefined {
  if (!FLOAT.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/** Seconds with a fraction, to the millisecond: what a double holds of today's times. */
function secondsToNanos(seconds: number): Nanos | undefined {
  const ms = Math.round(seconds * 1000);
  return Math.abs(ms) < 1e13 ? inRange(BigInt(ms) * 1_000_000n) : undefined;
}

/**
 * Loki's times: RFC 3339, whole nanoseconds, seconds; a number up to 1e10 counts as seconds
 * (pkg/loghttp/params.go). Undefined: none of them.
 */
export function parseLokiTime(text: string): Nanos | undefined {
  const time = parseRfc3339(text);
  if (time !== undefined) return inRange(time);
  if (/^[+-]?\d+$/.test(text)) {
    const value = BigInt(text.replace('+', ''));
    return inRange(value <= 10_000_000_000n ? value * 1_000_000_000n : value);
  }
  const value = parseFloatText(text);
  if (value === undefined) return undefined;
  if (value <= 1e10) return secondsToNanos(value);
  return value < 2 ** 63 ? BigInt(Math.trunc(value)) : undefined;
}

/** Prometheus' times, in milliseconds: seconds or RFC 3339. Undefined: neither. */
export function parsePrometheusTime(text: string): number | undefined {
  const seconds = parseFloatText(text);
  const nanos = seconds === undefined ? inRange(parseRfc3339(text)) : secondsToNanos(seconds);
  // Both round down to the millisecond, as Prometheus' timestamps do.
  return nanos === undefined ? undefined : Number(nanos / 1_000_000n);
}

/** Seconds (`15`, `0.5`) or a duration (`1m30s`), in milliseconds. Undefined: neither. */
export function parseSecondsOrDuration(text: string): number | undefined {
  const seconds = parseFloatText(text);
  // Beyond this, 64 bits of nanoseconds overflow.
  if (seconds !== undefined) return Math.abs(seconds) < 9e9 ? seconds * 1000 : undefined;
  return tryDuration(text.startsWith('-') ? text.slice(1) : text, text.startsWith('-') ? -1 : 1);
}

function tryDuration(text: string, sign: number): number | undefined {
  try {
    const ms = parseDuration(text);
    return ms < 9e12 ? sign * ms : undefined;
  } catch (error) {
    if (isReflexarcError(error, 'bad_config')) return undefined;
    throw error;
  }
}

/** `1h30m` in milliseconds. @throws bad_request that names the parameter */
export function durationParam(name: string, text: string): number {
  const ms = tryDuration(text, 1);
  if (ms === undefined) {
    throw badRequest(`could not parse '${name}' parameter: not a duration: ${quote(text)}`);
  }
  return ms;
}

/** A whole number of at most nine digits. @throws bad_request that names the parameter */
export function integerParam(name: string, text: string): number {
  if (!/^[+-]?\d{1,9}$/.test(text)) {
    throw badRequest(`could not parse '${name}' parameter: not a whole number: ${quote(text)}`);
  }
  return Number(text);
}

/** User text in a message: quoted, and cut, since it can be as long as a body. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
