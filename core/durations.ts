import { ReflexarcError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

// Units in falling order, each at most once: Prometheus' `model.ParseDuration`.
const DURATION =
  /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** `1h30m` to milliseconds. @throws bad_config, or what `fail` makes of it. */
export function parseDuration(text: string): number {
  const found = DURATION.exec(text);
  if (text === '0') return 0;
  if (found === null || text === '') {
    throw new ReflexarcError('bad_config', `not a duration: ${JSON.stringify(text)}`, {
      hint: 'write it like 30s, 5m, 1h30m, 500ms; units are y, w, d, h, m, s, ms, largest first',
    });
  }
  let total = 0;
  for (const [index, unit] of ['y', 'w', 'd', 'h', 'm', 's', 'ms'].entries()) {
    total += Number(found[index + 1] ?? 0) * (UNITS[unit] ?? 0);
  }
  return total;
}

/** Milliseconds to Prometheus' notation: 90000 is `1m30s`; 0 is `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  let rest = Math.round(ms);
  let text = rest < 0 ? '-' : '';
  rest = Math.abs(rest);
  // Years and weeks only where nothing is left over, so that the text stays readable.
  for (const [unit, exact] of [
    ['y', true],
    ['w', true],
    ['d', false],
    ['h', false],
    ['m', false],
    ['s', false],
    ['ms', false],
  ] as const) {
    const size = UNITS[unit] ?? 1;
    if (rest < size || (exact && rest % size !== 0)) continue;
    text += `${Math.floor(rest / size)}${unit}`;
    rest %= size;
  }
  return text;
}
