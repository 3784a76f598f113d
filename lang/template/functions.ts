import { compileRegex } from '../../core/regex.ts';
import { goFloat, goPrintf, goText, type Value } from './go-format.ts';

/** What a template's function takes and gives. */
export interface TemplateFunction {
  readonly least: number;
  /** Infinity: any number. */
  readonly most: number;
  /** @throws Error with one sentence when an argument does not fit */
  call(args: readonly Value[]): Value;
}

const text = (apply: (value: string) => string): TemplateFunction => ({
  least: 1,
  most: 1,
  call: ([value]) => apply(stringOf(value)),
});

const number = (apply: (value: number) => string): TemplateFunction => ({
  least: 1,
  most: 1,
  call: ([value]) => apply(numberOf(value)),
});

const compare = (test: (order: number) => boolean): TemplateFunction => ({
  least: 2,
  most: 2,
  call: ([a, b]) => test(orderOf(a, b)),
});

/**
 * | Function | Gives |
 * | --- | --- |
 * | `humanize` | a number with a metric prefix: `1.234k` |
 * | `humanize1024` | a number with a binary prefix: `1.5Mi` |
 * | `humanizeDuration` | seconds as `1d 2h 3m 4s` |
 * | `humanizePercentage` | a ratio as `12.5%` |
 * | `humanizeTimestamp` | seconds since the epoch as a time in UTC |
 * | `toUpper`, `toLower`, `title`, `trim`, `trimSpace` | the text changed |
 * | `stripPort`, `stripDomain` | a host without its port or its domain |
 * | `match re text` | whether the regex (RE2, not anchored) matches |
 * | `reReplaceAll re replacement text` | with `$1` and `${name}` in the replacement |
 * | `printf`, `print`, `println`, `len`, `index`, `urlquery` | as in Go's text/template |
 * | `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `and`, `or`, `not` | as in Go's text/template; integers and floats may be mixed |
 */
export const TEMPLATE_FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  humanize: number(humanize),
  humanize1024: number(humanize1024),
  humanizeDuration: number(humanizeDuration),
  humanizePercentage: number((v) => `${goFloat(v * 100, 'g', 4)}%`),
  humanizeTimestamp: number(humanizeTimestamp),
  toUpper: text((value) => value.toUpperCase()),
  toLower: text((value) => value.toLowerCase()),
  title: text((value) =>
    value.replaceAll(/(^|[^\p{L}\p{N}_'])(\p{L})/gu, (all) => all.toUpperCase()),
  ),
  trim: text((value) => value.trim()),
  trimSpace: text((value) => value.trim()),
  stripPort: text((value) => /^\[?([^\]]*?)\]?:\d+$/.exec(value)?.[1] ?? value),
  stripDomain: text(stripDomain),
  match: {
    least: 2,
    most: 2,
    call: ([regex, value]) => compileRegex(stringOf(regex)).test(stringOf(value)),
  },
  reReplaceAll: {
    least: 3,
    most: 3,
    call: ([regex, replacement, value]) =>
      compileRegex(stringOf(regex)).replaceAll(stringOf(value), stringOf(replacement)),
  },
  printf: { least: 1, most: Infinity, call: ([f, ...args]) => goPrintf(stringOf(f), args) },
  print: { least: 0, most: Infinity, call: (args) => print(args) },
  println: { least: 0, most: Infinity, call: (args) => `${args.map(goText).join(' ')}\n` },
  urlquery: {
    least: 1,
    most: Infinity,
    call: (args) => new URLSearchParams({ '': args.map(goText).join('') }).toString().slice(1),
  },
  len: { least: 1, most: 1, call: ([value]) => BigInt(lengthOf(value)) },
  index: {
    least: 2,
    most: 2,
    call: ([map, key]) => {
      if (typeof map !== 'object') throw new TypeError('index takes $labels or the like');
      const found: unknown = map[stringOf(key)];
      return typeof found === 'string' ? found : '';
    },
  },
  eq: {
    least: 2,
    most: Infinity,
    call: ([first, ...others]) => others.some((other) => orderOf(first, other) === 0),
  },
  ne: compare((order) => order !== 0),
  lt: compare((order) => order < 0),
  le: compare((order) => order <= 0),
  gt: compare((order) => order > 0),
  ge: compare((order) => order >= 0),
  and: { least: 1, most: Infinity, call: (args) => args.find((v) => !isTrue(v)) ?? last(args) },
  or: { least: 1, most: Infinity, call: (args) => args.find(isTrue) ?? last(args) },
  not: { least: 1, most: 1, call: ([value]) => !isTrue(value ?? '') },
};

const last = (args: readonly Value[]): Value => args.at(-1) ?? '';

/** Go's truth: empty and zero are false. */
export function isTrue(value: Value): boolean {
  return typeof value === 'object'
    ? Object.keys(value).length > 0
    : value !== '' && value !== 0 && value !== 0n && value !== false;
}

function stringOf(value: Value | undefined): string {
  if (typeof value === 'string') return value;
  throw new TypeError(
    `a text was expected, got ${value === undefined ? 'nothing' : goText(value)}`,
  );
}

/** Texts that are numbers count as such, so that labels can be humanized. */
function numberOf(value: Value | undefined): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i.test(value)) {
    return Number(value);
  }
  const special = typeof value === 'string' ? /^([+-]?)(inf|nan)$/i.exec(value) : null;
  if (special?.[2]?.toLowerCase() === 'nan') return Number.NaN;
  if (special !== null) return special[1] === '-' ? -Infinity : Infinity;
  throw new TypeError(`a number was expected, got ${JSON.stringify(goText(value ?? ''))}`);
}

function lengthOf(value: Value | undefined): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'object') return Object.keys(value).length;
  throw new TypeError('len takes a text or labels');
}

const isNumber = (value: Value | undefined): value is number | bigint =>
  typeof value === 'number' || typeof value === 'bigint';

/** Negative, zero or positive; NaN when neither is smaller. */
function orderOf(a: Value | undefined, b: Value | undefined): number {
  if (isNumber(a) && isNumber(b))
    return a < b ? -1 : a > b ? 1 : Number(a) === Number(b) ? 0 : Number.NaN;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b);
  throw new TypeError('values of different kinds cannot be compared');
}

/** Go puts a space between two operands where neither is a text. */
function print(args: readonly Value[]): string {
  let out = '';
  for (const [index, value] of args.entries()) {
    const before = args[index - 1];
    if (before !== undefined && typeof before !== 'string' && typeof value !== 'string') out += ' ';
    out += goText(value);
  }
  return out;
}

const short = (v: number): string => goFloat(v, 'g', 4);

function scaled(v: number, base: number, prefixes: readonly string[]): string {
  let value = v;
  let prefix = '';
  for (const next of prefixes) {
    if (Math.abs(value) < base) break;
    prefix = next;
    value /= base;
  }
  return short(value) + prefix;
}

function small(v: number): string {
  let value = v;
  let prefix = '';
  for (const next of ['m', 'u', 'n', 'p', 'f', 'a', 'z', 'y']) {
    if (Math.abs(value) >= 1) break;
    prefix = next;
    value *= 1000;
  }
  return short(value) + prefix;
}

function humanize(v: number): string {
  if (v === 0 || !Number.isFinite(v)) return short(v);
  return Math.abs(v) >= 1 ? scaled(v, 1000, ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']) : small(v);
}

function humanize1024(v: number): string {
  if (Math.abs(v) <= 1 || !Number.isFinite(v)) return short(v);
  return scaled(v, 1024, ['ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi']);
}

function humanizeDuration(v: number): string {
  if (!Number.isFinite(v)) return short(v);
  if (v === 0) return '0s';
  if (Math.abs(v) < 1) return `${small(v)}s`;
  const sign = v < 0 ? '-' : '';
  const total = Math.abs(v);
  const whole = Math.trunc(total);
  const seconds = whole % 60;
  const minutes = Math.trunc(whole / 60) % 60;
  const hours = Math.trunc(whole / 3600) % 24;
  const days = Math.trunc(whole / 86_400);
  if (days > 0) return `${sign}${days}d ${hours}h ${minutes}m ${seconds}s`;
  if (hours > 0) return `${sign}${hours}h ${minutes}m ${seconds}s`;
  if (minutes > 0) return `${sign}${minutes}m ${seconds}s`;
  return `${sign}${short(total)}s`;
}

function humanizeTimestamp(v: number): string {
  if (!Number.isFinite(v)) return short(v);
  const ms = Math.round(v * 1000);
  if (Math.abs(ms) > 8.64e15) throw new RangeError(`not a time: ${short(v)}`);
  const iso = new Date(ms).toISOString();
  const fraction = iso.slice(19, 23).replace(/\.?0+$/, '');
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction} +0000 UTC`;
}

function stripDomain(host: string): string {
  const [, name = host, port = ''] = /^(.*?)(:\d+)?$/.exec(host) ?? [];
  // An address has no domain.
  if (/^[\d.]+$/.test(name) || name.includes(':')) return host;
  return (name.split('.')[0] ?? name) + port;
}
