import { ReflexarcError } from '../../core/errors.ts';
import { unquote } from '../../lang/text.ts';

export type Expression =
  | { readonly kind: 'literal'; readonly value: string | number | boolean }
  /** `.A.B` and `$.A.B`. */
  | { readonly kind: 'path'; readonly from: 'dot' | 'root'; readonly names: readonly string[] }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] };

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly expression: Expression }
  | {
      readonly kind: 'if' | 'range' | 'with';
      readonly expression: Expression;
      readonly yes: readonly Node[];
      readonly no: readonly Node[];
    };

type Piece =
  | { readonly text: string }
  | { readonly action: string; readonly tokens: readonly Token[]; readonly at: number };

interface Token {
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /\s*(?:("(?:[^"\\]|\\.)*"|`[^`]*`)|([$]?(?:\.[A-Za-z_]\w*)+|\$|\.)|(-?\d+(?:\.\d+)?)|([A-Za-z_]\w*)|([()|]))/y;
const BLOCKS = ['if', 'range', 'with'] as const;
/** Parts of Go's templates that we know and do not have. */
const LATER: ReadonlySet<string> = new Set(['template', 'define', 'block', 'break', 'continue']);

/** @throws bad_config, not_supported; both with the place in the text */
export function parseMessageTemplate(text: string, isFunction: (name: string) => boolean): Node[] {
  return new Parser(text, isFunction).parse();
}

class Parser {
  readonly #text: string;
  readonly #isFunction: (name: string) => boolean;
  readonly #pieces: readonly Piece[];
  #next = 0;

  constructor(text: string, isFunction: (name: string) => boolean) {
    this.#text = text;
    this.#isFunction = isFunction;
    this.#pieces = this.#split();
  }

  parse(): Node[] {
    const { nodes, end } = this.#nodes();
    if (end !== undefined) this.#fail(end.at, `{{ ${end.action} }} has nothing that it belongs to`);
    return nodes;
  }

  #fail(at: number, message: string, code: 'bad_config' | 'not_supported' = 'bad_config'): never {
    const before = this.#text.slice(0, at);
    const where = { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
    throw new ReflexarcError(code, message, { where });
  }

  #split(): Piece[] {
    const pieces: Piece[] = [];
    let from = 0;
    let trim = false;
    for (;;) {
      const open = this.#text.indexOf('{{', from);
      let plain = this.#text.slice(from, open === -1 ? undefined : open);
      if (trim) plain = plain.trimStart();
      if (open !== -1 && /^\{\{-\s/.test(this.#text.slice(open, open + 4))) plain = plain.trimEnd();
      if (plain !== '') pieces.push({ text: plain });
      if (open === -1) return pieces;
      const close = this.#text.indexOf('}}', open);
      if (close === -1) this.#fail(open, 'the closing }} is missing');
      const inner = this.#text.slice(open + 2, close);
      trim = /\s-$/.test(inner);
      from = close + 2;
      const start = open + 2 + (/^-\s/.test(inner) ? 1 : 0);
      const end = trim ? close - 1 : close;
      if (/^\s*\/\*[\s\S]*\*\/\s*$/.test(this.#text.slice(start, end))) continue;
      const tokens = this.#tokens(start, end);
      if (tokens[0] === undefined) this.#fail(open, 'an empty {{ }}');
      pieces.push({ action: tokens[0].text, tokens, at: tokens[0].at });
    }
  }

  #tokens(start: number, end: number): Token[] {
    const tokens: Token[] = [];
    let at = start;
    while (this.#text.slice(at, end).trim() !== '') {
      TOKEN.lastIndex = at;
      const found = TOKEN.exec(this.#text);
      if (found === null || TOKEN.lastIndex > end) {
        const place = at + (/^\s*/.exec(this.#text.slice(at, end))?.[0].length ?? 0);
        if (this.#text[place] === '$' || this.#text.startsWith(':=', place)) {
          this.#fail(place, 'variables are not supported in templates yet', 'not_supported');
        }
        this.#fail(place, `unexpected ${JSON.stringify(this.#text[place])}`);
      }
      const text = found[0].trimStart();
      at = TOKEN.lastIndex;
      if (text === '$' && /\w/.test(this.#text[at] ?? '')) {
        this.#fail(at - 1, 'variables are not supported in templates yet', 'not_supported');
      }
      tokens.push({ text, at: at - text.length });
    }
    return tokens;
  }

  /** Up to the `else` or `end` that closes the block, or the text's end. */
  #nodes(): { nodes: Node[]; end?: Extract<Piece, { action: string }> } {
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#next++];
      if (piece === undefined) return { nodes };
      if ('text' in piece) nodes.push({ kind: 'text', text: piece.text });
      else if (piece.action === 'end' || piece.action === 'else') return { nodes, end: piece };
      else nodes.push(this.#action(piece.tokens));
    }
  }

  #action(tokens: readonly Token[]): Node {
    const [first = { text: '', at: 0 }, ...rest] = tokens;
    const block = BLOCKS.find((name) => name === first.text);
    if (block !== undefined) return this.#block(block, first.at, rest);
    if (LATER.has(first.text)) {
      this.#fail(
        first.at,
        `{{ ${first.text} }} is not supported in templates yet`,
        'not_supported',
      );
    }
    return { kind: 'print', expression: this.#pipeline(tokens) };
  }

  #block(kind: (typeof BLOCKS)[number], at: number, tokens: readonly Token[]): Node {
    if (tokens.length === 0) this.#fail(at, `{{ ${kind} }} needs a value`);
    const expression = this.#pipeline(tokens);
    const { nodes: yes, end } = this.#nodes();
    if (end === undefined) this.#fail(at, `the {{ end }} of this {{ ${kind} }} is missing`);
    if (end.action === 'end') return { kind, expression, yes, no: [] };
    const [, ...more] = end.tokens;
    if (more[0] !== undefined) {
      if (more[0].text !== 'if' || kind !== 'if') this.#fail(more[0].at, 'unexpected after else');
      return { kind, expression, yes, no: [this.#block('if', more[0].at, more.slice(1))] };
    }
    const { nodes: no, end: last } = this.#nodes();
    if (last?.action !== 'end') this.#fail(at, `the {{ end }} of this {{ ${kind} }} is missing`);
    return { kind, expression, yes, no };
  }

  /** `a | f x`: what stands before a pipe is the last argument of what follows. */
  #pipeline(tokens: readonly Token[]): Expression {
    let depth = 0;
    let from = 0;
    let value: Expression | undefined;
    for (let index = 0; index <= tokens.length; index++) {
      const token = tokens[index];
      if (token?.text === '(') depth++;
      else if (token?.text === ')') depth--;
      else if (token === undefined || (token.text === '|' && depth === 0)) {
        const at = token?.at ?? tokens[index - 1]?.at ?? 0;
        value = this.#command(tokens.slice(from, index), value, at);
        from = index + 1;
      }
    }
    if (value === undefined || depth !== 0)
      this.#fail(tokens[0]?.at ?? 0, 'unbalanced parentheses');
    return value;
  }

  #command(tokens: readonly Token[], piped: Expression | undefined, at: number): Expression {
    const [first] = tokens;
    if (first === undefined) this.#fail(at, 'a value is missing');
    const args: Expression[] = [];
    const isCall = /^[A-Za-z_]/.test(first.text) && !/^(?:true|false)$/.test(first.text);
    for (let index = isCall ? 1 : 0; index < tokens.length; index++) {
      const token = tokens[index] ?? first;
      if (token.text === '(') {
        let depth = 1;
        let end = index + 1;
        for (; end < tokens.length && depth > 0; end++) {
          if (tokens[end]?.text === '(') depth++;
          else if (tokens[end]?.text === ')') depth--;
        }
        if (depth > 0) this.#fail(token.at, 'the closing ) is missing');
        args.push(this.#pipeline(tokens.slice(index + 1, end - 1)));
        index = end - 1;
      } else args.push(this.#operand(token));
    }
    if (piped !== undefined) args.push(piped);
    if (isCall) {
      if (!this.#isFunction(first.text)) this.#fail(first.at, `there is no function ${first.text}`);
      return { kind: 'call', name: first.text, args };
    }
    const [only] = args;
    if (only === undefined || args.length > 1)
      this.#fail(first.at, 'only functions take arguments');
    return only;
  }

  #operand({ text, at }: Token): Expression {
    if (text.startsWith('"')) {
      const value = unquote(text);
      if (value === undefined) this.#fail(at, `not a string: ${text}`);
      return { kind: 'literal', value };
    }
    if (text.startsWith('`')) return { kind: 'literal', value: text.slice(1, -1) };
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (/^-?\d/.test(text)) return { kind: 'literal', value: Number(text) };
    if (text.startsWith('.') || text.startsWith('$')) {
      const names = text
        .replace(/^\$/, '')
        .split('.')
        .filter((name) => name !== '');
      return { kind: 'path', from: text.startsWith('$') ? 'root' : 'dot', names };
    }
    if (this.#isFunction(text)) return { kind: 'call', name: text, args: [] };
    return this.#fail(at, `unexpected ${text}`);
  }
}
