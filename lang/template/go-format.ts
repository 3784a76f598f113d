import { formatValue } from '../format.ts';

/** Go's `fmt` for the values that a template has: floats are numbers, integers are bigints. */
export type Value = string | number | bigint | boolean | Readonly<Record<string, string>>;

/** `%v`, as `{{ … }}` prints it. */
export function goText(value: Value): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      return goFloat(value, 'g', -1);
    case 'bigint':
    case 'boolean':
      return String(value);
    default: {
      const pairs = Object.keys(value)
        .sort()
        .map((name) => `${name}:${value[name]}`);
      return `map[${pairs.join(' ')}]`;
    }
  }
}

/** `strconv.FormatFloat`; precision -1 is the shortest that reads back the same. */
export function goFloat(value: number, verb: 'e' | 'f' | 'g', precision: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const v = Math.abs(value);
  if (verb === 'f') return sign + (precision < 0 ? formatValue(v) : fixed(v, precision));
  const count = verb === 'e' ? precision + 1 : Math.max(1, precision);
  const { digits, exponent } = decimal(v, precision < 0 ? undefined : count);
  if (verb === 'e') return sign + scientific(digits, exponent);
  const short = digits.replace(/0+$/, '');
  if (exponent < -4 || exponent >= (precision < 0 ? 6 : count)) {
    return sign + scientific(short === '' ? '0' : short, exponent);
  }
  const padded = short.padEnd(exponent + 1, '0');
  if (exponent < 0)
    return short === '' ? `${sign}0` : `${sign}0.${'0'.repeat(-exponent - 1)}${short}`;
  const fraction = padded.slice(exponent + 1);
  return sign + padded.slice(0, exponent + 1) + (fraction === '' ? '' : `.${fraction}`);
}

/** Significant digits, `d.ddd` × 10^exponent; where two are as near, the even one, as in Go. */
function decimal(v: number, count: number | undefined): { digits: string; exponent: number } {
  const split = (text: string) => {
    const [mantissa = '0', exponent = '0'] = text.split('e');
    return { digits: mantissa.replace('.', ''), exponent: Number(exponent) };
  };
  if (count === undefined) return split(v.toExponential());
  const wanted = Math.min(count, 100);
  const exact = split(v.toExponential(100));
  const kept = exact.digits.slice(0, wanted);
  // JavaScript rounds a tie up.
  const tie = /^50*$/.test(exact.digits.slice(wanted));
  if (tie && Number(kept.at(-1)) % 2 === 0) return { digits: kept, exponent: exact.exponent };
  return split(v.toExponential(wanted - 1));
}

function scientific(digits: string, exponent: number): string {
  const fraction = digits.slice(1);
  return `${digits.slice(0, 1)}${fraction === '' ? '' : `.${fraction}`}${suffix(exponent)}`;
}

function fixed(v: number, precision: number): string {
  const places = Math.min(precision, 99);
  // Beyond 1e21 toFixed answers with an exponent; such a number is whole.
  if (v >= 1e21) return `${BigInt(v)}${places > 0 ? `.${'0'.repeat(places)}` : ''}`;
  const exact = v.toFixed(100);
  const cut = exact.length - 100 + places;
  const kept = exact.slice(0, places === 0 ? cut - 1 : cut);
  const tie = /^50*$/.test(exact.slice(cut));
  return tie && Number(kept.at(-1)) % 2 === 0 ? kept : v.toFixed(places);
}

const suffix = (exponent: number): string =>
  `e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;

const VERB = /%([-+# 0]*)(\d+)?(\.\d*)?([%a-zA-Z])?/g;

/** `fmt.Sprintf`, wrong verbs and missing arguments shown as Go shows them. */
export function goPrintf(format: string, args: readonly Value[]): string {
  let next = 0;
  const text = format.replaceAll(VERB, (_, ...found: (string | undefined)[]) => {
    const [flags = '', width, point, verb] = found;
    if (verb === undefined) return '%!(NOVERB)';
    if (verb === '%') return '%';
    if (next >= args.length) return `%!${verb}(MISSING)`;
    const precision = point === undefined ? undefined : Number(point.slice(1));
    const body = one(verb, args[next++] ?? '', precision, flags);
    return pad(body, Number(width ?? 0), flags, verb);
  });
  const extra = args.slice(next).map((value) => `${typeName(value)}=${goText(value)}`);
  return extra.length === 0 ? text : `${text}%!(EXTRA ${extra.join(', ')})`;
}

function one(verb: string, value: Value, precision: number | undefined, flags: string): string {
  if (verb === 'v' && typeof value !== 'number') return goText(value);
  if (typeof value === 'string') {
    if (verb === 's')
      return precision === undefined ? value : Array.from(value).slice(0, precision).join('');
    if (verb === 'q') return JSON.stringify(value);
    if (verb === 'x' || verb === 'X') {
      const hex = Buffer.from(value).toString('hex');
      return verb === 'x' ? hex : hex.toUpperCase();
    }
  } else if (typeof value === 'number') {
    const plus = flags.includes('+') && !(value < 0) ? '+' : '';
    if (verb === 'v' || verb === 'g') return plus + goFloat(value, 'g', precision ?? -1);
    if (verb === 'f' || verb === 'F') return plus + goFloat(value, 'f', precision ?? 6);
    if (verb === 'e') return plus + goFloat(value, 'e', precision ?? 6);
    if (verb === 'E') return plus + goFloat(value, 'e', precision ?? 6).toUpperCase();
    if (verb === 'G') return plus + goFloat(value, 'g', precision ?? -1).toUpperCase();
  } else if (typeof value === 'bigint') {
    const plus = flags.includes('+') && value >= 0n ? '+' : '';
    const radix = { d: 10, x: 16, X: 16, o: 8, b: 2 }[verb];
    if (radix !== undefined) {
      const text = value.toString(radix);
      return plus + (verb === 'X' ? text.toUpperCase() : text);
    }
  } else if (typeof value === 'boolean' && verb === 't') return String(value);
  return `%!${verb}(${typeName(value)}=${goText(value)})`;
}

function pad(text: string, width: number, flags: string, verb: string): string {
  const bounded = Math.min(width, 1000);
  if (flags.includes('-')) return text.padEnd(bounded);
  if (!flags.includes('0') || verb === 's' || verb === 'v' || verb === 'q') {
    return text.padStart(bounded);
  }
  const sign = /^[+-]/.exec(text)?.[0] ?? '';
  return sign + text.slice(sign.length).padStart(bounded - sign.length, '0');
}

function typeName(value: Value): string {
  switch (typeof value) {
    case 'number':
      return 'float64';
    case 'bigint':
      return 'int';
    case 'boolean':
      return 'bool';
    case 'string':
      return 'string';
    default:
      return 'map[string]string';
  }
}
