import { badQuery, unquote } from '../text.ts';

export type Token = {
  readonly from: number;
  readonly to: number;
  readonly text: string;
} & (
  | { readonly kind: 'identifier' | 'number' | 'unit' | 'flag' | 'symbol' | 'end' }
  | { readonly kind: 'string'; readonly value: string }
);

const SPACE = /(?:\s+|#[^\n]*)+/y;
const IDENTIFIER = /[a-zA-Z_][\w:]*/y;
// A number with letters behind it is a duration or a size; which one, its place decides.
const NUMBER = /(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![\w.]))?)/y;
const UNIT = /(?:(?:\d+(?:\.\d*)?|\.\d+)[a-zA-Zµμ]+)+/y;
const STRING = /"(?:[^"\\\n]|\\[\s\S])*"|`[^`]*`/y;
const FLAG = /--[a-z][a-z-]*/y;
const SYMBOL = /\|=|\|~|\|>|!=|!~|!>|==|=~|>=|<=|[{}()[\],|=<>+\-*/%^@:]/y;

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** @throws bad_query at a character that begins no token, or in a broken string */
export function lex(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    at += match(SPACE, text, at)?.length ?? 0;
    if (at >= text.length) break;
    const token = next(text, at);
    tokens.push(token);
    at = token.to;
  }
  tokens.push({ kind: 'end', from: text.length, to: text.length, text: '' });
  return tokens;
}

function next(text: string, at: number): Token {
  const make = (kind: Exclude<Token['kind'], 'string'>, found: string): Token => ({
    kind,
    from: at,
    to: at + found.length,
    text: found,
  });
  const identifier = match(IDENTIFIER, text, at);
  if (identifier !== undefined) return make('identifier', identifier);
  const number = match(NUMBER, text, at);
  if (number !== undefined) {
    const unit = match(UNIT, text, at);
    return unit !== undefined && unit.length > number.length
      ? make('unit', unit)
      : make('number', number);
  }
  const string = match(STRING, text, at);
  if (string !== undefined) {
    const value = unquote(string);
    if (value === undefined) badQuery(text, at, 'the string has an unknown escape');
    return { kind: 'string', from: at, to: at + string.length, text: string, value };
  }
  const flag = match(FLAG, text, at);
  if (flag !== undefined) return make('flag', flag);
  const symbol = match(SYMBOL, text, at);
  if (symbol !== undefined) return make('symbol', symbol);
  const character = String.fromCodePoint(text.codePointAt(at) ?? 0);
  if (character === '"' || character === '`') badQuery(text, at, 'the string is not closed');
  if (character === "'") {
    badQuery(text, at, "unexpected `'`", 'strings stand between double quotes or backticks');
  }
  return badQuery(text, at, `unexpected character ${JSON.stringify(character)}`);
}
