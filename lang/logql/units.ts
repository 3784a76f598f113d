/** Units of values in label filters, as Go writes them. Pure functions; undefined: not such a value. */

const NANOSECONDS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
  d: 86_400e9,
  w: 604_800e9,
  y: 31_536_000e9,
};

const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|[smhdwy])/gy;

/** `1h15m30.5s` to nanoseconds. Days, weeks and years count as in Prometheus. */
export function parseGoDuration(text: string): number | undefined {
  const signed = /^([+-]?)(.+)$/.exec(text);
  const body = signed?.[2];
  if (body === undefined) return undefined;
  const sign = signed?.[1] === '-' ? -1 : 1;
  if (body === '0') return 0;
  let total = 0;
  let end = 0;
  PART.lastIndex = 0;
  for (let found = PART.exec(body); found !== null; found = PART.exec(body)) {
    total += Number(found[1]) * (NANOSECONDS[found[2] ?? ''] ?? 0);
    end = PART.lastIndex;
  }
  return end === body.length ? sign * total : undefined;
}

const POWERS = ['', 'k', 'm', 'g', 't', 'p', 'e'];

/** `10KB`, `1.5 MiB`, `100`: with `i` powers of 1024, without it of 1000. */
export function parseByteSize(text: string): number | undefined {
  const found = /^(\d[\d,]*(?:\.\d*)?|\.\d+)\s*([kmgtpe]?)(i?)(b?)$/i.exec(text.trim());
  if (found === null) return undefined;
  const [, digits = '', unit = '', binary = ''] = found;
  if (unit === '' && binary !== '') return undefined;
  const power = POWERS.indexOf(unit.toLowerCase());
  return Math.trunc(Number(digits.replaceAll(',', '')) * (binary === '' ? 1000 : 1024) ** power);
}

/** As Go's `strconv.ParseFloat`. */
export function parseFloatStrict(text: string): number | undefined {
  if (/^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) return Number(text);
  if (/^[+-]?inf(?:inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return /^nan$/i.test(text) ? Number.NaN : undefined;
}
