import { parseDuration } from '../../core/durations.ts';

const DURATION = /^(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?$/;

/** An unsigned number, or a duration as seconds. Undefined: neither. */
export function parsePromNumber(text: string): number | undefined {
  const lower = text.toLowerCase().replaceAll('_', '');
  if (lower === 'inf') return Infinity;
  if (lower === 'nan') return Number.NaN;
  if (/^0[0-7]+$/.test(lower)) return Number.parseInt(lower, 8);
  if (/^(?:0x[0-9a-f]+|0b[01]+|0o[0-7]+|(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)$/.test(lower)) {
    return Number(lower);
  }
  return lower !== '' && DURATION.test(lower) ? parseDuration(lower) / 1000 : undefined;
}

/** An unsigned duration, or a number of seconds, as milliseconds. Undefined: neither. */
export function parsePromDuration(text: string): number | undefined {
  const seconds = parsePromNumber(text);
  if (seconds === undefined || !Number.isFinite(seconds)) return undefined;
  return Math.round(seconds * 1000);
}
