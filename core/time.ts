import { ReflexarcError } from './errors.ts';

/**
 * Instants. Logs have nanoseconds: as RFC 3339 text on the wire (`2026-01-02T03:04:05.123456789Z`)
 * and as a bigint of nanoseconds since the epoch in queries. Metrics, alerts and actions have
 * milliseconds, as Prometheus does.
 */
export type Nanos = bigint;

const RFC3339 =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:[.,](\d{1,9})\d*)?(?:[Zz]|([+-]\d{2}:?\d{2}))?$/;

/** @returns undefined when the text is no RFC 3339 time. A missing zone means UTC. */
export function parseRfc3339(text: string): Nanos | undefined {
  const found = RFC3339.exec(text);
  if (found === null) return undefined;
  const zone = found[4] ?? 'Z';
  const ms = Date.parse(`${found[1]}T${found[2]}${zone}`);
  if (Number.isNaN(ms)) return undefined;
  return BigInt(ms) * 1_000_000n + BigInt((found[3] ?? '').padEnd(9, '0'));
}

/** Always nine digits of fraction and `Z`, so that texts sort as times do. */
export function formatRfc3339(nanos: Nanos): string {
  const seconds = nanos / 1_000_000_000n - (nanos < 0n && nanos % 1_000_000_000n !== 0n ? 1n : 0n);
  const fraction = nanos - seconds * 1_000_000_000n;
  const head = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${head}.${fraction.toString().padStart(9, '0')}Z`;
}

/** Any RFC 3339 text to the one form of the wire; undefined when it is no time. */
export function normalizeRfc3339(text: string): string | undefined {
  // The engine's own form, `…Z` with up to nine digits, needs no arithmetic: this is the hot path.
  const length = text.length;
  if (length === 30 && text.charCodeAt(29) === 90 && text.charCodeAt(19) === 46) {
    return RFC3339.test(text) ? text : undefined;
  }
  const nanos = parseRfc3339(text);
  return nanos === undefined ? undefined : formatRfc3339(nanos);
}

export const millisToNanos = (ms: number): Nanos => BigInt(Math.round(ms * 1000)) * 1000n;
export const nanosToMillis = (nanos: Nanos): number => Number(nanos / 1000n) / 1000;
export const formatMillis = (ms: number): string => new Date(ms).toISOString();

/** @throws bad_record when the text is no time. */
export function parseMillis(text: string): number {
  const nanos = parseRfc3339(text);
  if (nanos === undefined) throw new ReflexarcError('bad_record', `not a time: ${text}`);
  return nanosToMillis(nanos);
}
