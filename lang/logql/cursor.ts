import type { Where } from '../../core/errors.ts';
import { badQuery, notSupported, Places } from '../text.ts';
import { lex, type Token } from './lex.ts';

const MAX_LENGTH = 64 * 1024;
const MAX_DEPTH = 400;

/** Walks over a query's tokens; every refusal names the place and what was expected. */
export class Cursor {
  readonly text: string;
  readonly #places: Places;
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    this.text = text;
    if (text.length > MAX_LENGTH) {
      badQuery(text, 0, `the query is longer than ${MAX_LENGTH} characters`);
    }
    this.#places = new Places(text);
    this.#tokens = lex(text);
  }

  peek(ahead = 0): Token {
    const token = this.#tokens[this.#next + ahead] ?? this.#tokens.at(-1);
    return token ?? { kind: 'end', from: 0, to: 0, text: '' };
  }

  take(): Token {
    const token = this.peek();
    this.#next++;
    return token;
  }

  is(text: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return (token.kind === 'symbol' || token.kind === 'identifier') && token.text === text;
  }

  /** Takes the token when it is this one. */
  accept(text: string): boolean {
    const found = this.is(text);
    if (found) this.#next++;
    return found;
  }

  expect(text: string): Token {
    return this.is(text) ? this.take() : this.unexpected(`\`${text}\``);
  }

  identifier(what: string): string {
    return this.peek().kind === 'identifier' ? this.take().text : this.unexpected(what);
  }

  string(what: string): string {
    const token = this.peek();
    if (token.kind !== 'string') return this.unexpected(what);
    this.#next++;
    return token.value;
  }

  /** Runs one level deeper; refuses what no person would write. */
  nested<T>(parse: () => T): T {
    if (++this.#depth > MAX_DEPTH) {
      badQuery(this.text, this.peek().from, 'the query is nested too deeply');
    }
    const result = parse();
    this.#depth--;
    return result;
  }

  where(token: Token = this.peek()): Where {
    return this.#places.where(token.from);
  }

  unexpected(expected: string, token: Token = this.peek()): never {
    const found = token.kind === 'end' ? 'end of the query' : `\`${token.text}\``;
    return badQuery(this.text, token.from, `unexpected ${found}`, `expected ${expected}`);
  }

  refuse(message: string, token: Token = this.peek(), hint?: string): never {
    return badQuery(this.text, token.from, message, hint);
  }

  unbuilt(what: string, token: Token = this.peek()): never {
    return notSupported(this.text, token.from, what);
  }
}
