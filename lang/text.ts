import { ReflexarcError, type Where } from '../core/errors.ts';

/** Line and column, counted from 1, of an offset. */
export function whereOf(text: string, offset: number): Where {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}

/** Many places in one text: the lines are counted once. */
export class Places {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
      this.#starts.push(at + 1);
    }
  }

  where(offset: number): Where {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 };
  }
}

export function badQuery(text: string, offset: number, message: string, hint?: string): never {
  throw new ReflexarcError('bad_query', message, {
    where: whereOf(text, offset),
    ...(hint === undefined ? {} : { hint }),
  });
}

export function notSupported(text: string, offset: number, what: string): never {
  throw new ReflexarcError('not_supported', `${what} is not supported yet`, {
    where: whereOf(text, offset),
  });
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
};

// One escape of Go's string literals: https://go.dev/ref/spec#String_literals
const ESCAPE =
  /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([^xuU0-7])|([\s\S]|$))/g;

/**
 * The text of a Go string literal with its quotes: '…', "…" or `…`. Bytes written as \x or octal
 * are taken together as UTF-8. Undefined: an escape is wrong.
 */
export function unquote(literal: string): string | undefined {
  const inner = literal.slice(1, -1);
  if (literal[0] === '`' || !inner.includes('\\')) return inner;
  const parts: Buffer[] = [];
  let last = 0;
  for (const found of inner.matchAll(ESCAPE)) {
    const bytes = escapedBytes(found);
    if (bytes === undefined) return undefined;
    parts.push(Buffer.from(inner.slice(last, found.index)), bytes);
    last = found.index + found[0].length;
  }
  parts.push(Buffer.from(inner.slice(last)));
  return Buffer.concat(parts).toString('utf8');
}

function escapedBytes(found: RegExpMatchArray): Buffer | undefined {
  const [, hex, short, long, octal, single] = found;
  if (hex !== undefined) return Buffer.from([Number.parseInt(hex, 16)]);
  if (octal !== undefined) {
    const byte = Number.parseInt(octal, 8);
    return byte < 256 ? Buffer.from([byte]) : undefined;
  }
  const code = short ?? long;
  if (code !== undefined) {
    const point = Number.parseInt(code, 16);
    const surrogate = point >= 0xd800 && point <= 0xdfff;
    return point <= 0x10ffff && !surrogate ? Buffer.from(String.fromCodePoint(point)) : undefined;
  }
  const text = single === undefined ? undefined : ESCAPES[single];
  return text === undefined ? undefined : Buffer.from(text);
}
