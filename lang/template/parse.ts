import { nearest } from '../../core/config/nearest.ts';
import { ReflexarcError, type Where } from '../../core/errors.ts';
import { unquote, whereOf } from '../text.ts';
import { TEMPLATE_FUNCTIONS } from './functions.ts';
import type { Value } from './go-format.ts';

export type Expression =
  | { readonly kind: 'literal'; readonly value: Value }
  | { readonly kind: 'value' }
  | { readonly kind: 'labels'; readonly source: Source; readonly name?: string }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly args: readonly Expression[];
      readonly where: Where;
    };

export type Source = 'labels' | 'externalLabels' | 'annotations';

export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly expression: Expression }
  | {
      readonly kind: 'if';
      readonly condition: Expression;
      readonly yes: readonly Piece[];
      readonly no: readonly Piece[];
    };

const MAX_DEPTH = 100;

const ROOTS: Readonly<Record<string, Source | 'value'>> = {
  $labels: 'labels',
  $value: 'value',
  $externalLabels: 'externalLabels',
  $annotations: 'annotations',
  '.Labels': 'labels',
  '.Value': 'value',
  '.ExternalLabels': 'externalLabels',
  '.Annotations': 'annotations',
};

/** Parts of Go's templates, and functions of Prometheus, that are not built. */
const UNBUILT: readonly string[] = [
  'args',
  'block',
  'break',
  'call',
  'continue',
  'define',
  'externalURL',
  'first',
  'graphLink',
  'html',
  'js',
  'label',
  'parseDuration',
  'pathPrefix',
  'query',
  'range',
  'safeHtml',
  'slice',
  'sortByLabel',
  'strvalue',
  'tableLink',
  'template',
  'toTime',
  'urlQueryEscape',
  'value',
  'with',
];

type Token = {
  readonly kind: 'word' | 'variable' | 'field' | 'string' | 'number' | 'symbol' | 'end';
  readonly text: string;
  readonly at: number;
};

const TOKEN =
  /\s*(?:(?<variable>\$[\w]*(?:\.\w+)*)|(?<field>\.\w+(?:\.\w+)*)|(?<string>"(?:[^"\\\n]|\\[\s\S])*"|`[^`]*`)|(?<number>[+-]?(?:0x[0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?))|(?<word>[A-Za-z_]\w*)|(?<symbol>:=|[|().,=]))/y;

/** @throws bad_config, not_supported */
export function parseTemplate(text: string): Piece[] {
  return new Parser(text).all();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #tokens: Token[] = [];
  #next = 0;
  #trim = false;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  all(): Piece[] {
    const { pieces, end } = this.#pieces();
    if (end !== undefined)
      this.#refuse(end.at, `unexpected {{${end.text}}}`, 'there is no if to it');
    return pieces;
  }

  /** Up to the end of the text, or the `else` or `end` that closes what is open. */
  #pieces(): { pieces: Piece[]; end: Token | undefined } {
    const pieces: Piece[] = [];
    for (;;) {
      const open = this.#text.indexOf('{{', this.#at);
      let plain = this.#text.slice(this.#at, open === -1 ? undefined : open);
      if (this.#trim) plain = plain.trimStart();
      this.#trim = false;
      if (open !== -1 && /^\{\{-\s/.test(this.#text.slice(open, open + 4))) plain = plain.trimEnd();
      if (plain !== '') pieces.push({ kind: 'text', text: plain });
      if (open === -1) {
        this.#at = this.#text.length;
        return { pieces, end: undefined };
      }
      if (!this.#action(open)) continue;
      const first = this.#peek();
      if (first.kind === 'word' && (first.text === 'else' || first.text === 'end')) {
        this.#next++;
        return { pieces, end: first };
      }
      if (first.kind === 'word' && first.text === 'if') {
        this.#next++;
        pieces.push(this.#if(first));
      } else {
        pieces.push({ kind: 'print', expression: this.#pipeline() });
        this.#done();
      }
    }
  }

  /** Reads `{{ … }}` into tokens. False: it is a comment. */
  #action(open: number): boolean {
    let at = open + 2;
    if (/^-\s/.test(this.#text.slice(at, at + 2))) at += 1;
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*(-?)\}\}/.exec(this.#text.slice(at));
    if (comment !== null) {
      this.#trim = comment[1] === '-';
      this.#at = at + comment[0].length;
      return false;
    }
    this.#tokens = [];
    this.#next = 0;
    for (;;) {
      const close = /^(?:\s+-|\s*)\}\}/.exec(this.#text.slice(at, at + 1000))?.[0];
      if (close !== undefined) {
        const brace = at + close.length - 2;
        this.#tokens.push({ kind: 'end', text: '', at: brace });
        this.#trim = close.includes('-');
        this.#at = at + close.length;
        return true;
      }
      TOKEN.lastIndex = at;
      const found = TOKEN.exec(this.#text);
      if (found === null) this.#badToken(open, at);
      const [kind, token] =
        Object.entries(found.groups ?? {}).find(([, v]) => v !== undefined) ?? [];
      if (kind === undefined || token === undefined) this.#badToken(open, at);
      at = TOKEN.lastIndex;
      this.#tokens.push({ kind: kind as Token['kind'], text: token, at: at - token.length });
    }
  }

  #badToken(open: number, at: number): never {
    const rest = this.#text.slice(at).trimStart();
    if (rest === '') this.#refuse(open, 'the action is not closed', 'write }} behind it');
    return this.#refuse(
      this.#text.length - rest.length,
      `unexpected ${JSON.stringify(String.fromCodePoint(rest.codePointAt(0) ?? 0))}`,
    );
  }

  #if(start: Token): Piece {
    if (++this.#depth > MAX_DEPTH) this.#refuse(start.at, 'the template is nested too deeply');
    const condition = this.#pipeline();
    this.#done();
    const yes = this.#pieces();
    let no: readonly Piece[] = [];
    if (yes.end === undefined) this.#refuse(start.at, 'if without {{ end }}');
    if (yes.end.text === 'else') {
      const next = this.#peek();
      if (next.kind === 'word' && next.text === 'if') {
        this.#next++;
        no = [this.#if(next)];
      } else {
        this.#done();
        const other = this.#pieces();
        if (other.end?.text !== 'end') {
          this.#refuse(other.end?.at ?? start.at, 'expected {{ end }} after else');
        }
        this.#done();
        no = other.pieces;
      }
    } else this.#done();
    this.#depth--;
    return { kind: 'if', condition, yes: yes.pieces, no };
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', text: '', at: this.#at };
  }

  #done(): void {
    const token = this.#peek();
    if (token.kind !== 'end') this.#refuse(token.at, `unexpected ${JSON.stringify(token.text)}`);
  }

  /** What is before a `|` becomes the last argument of what is behind it. */
  #pipeline(): Expression {
    let value = this.#command(undefined);
    while (this.#peek().kind === 'symbol' && this.#peek().text === '|') {
      this.#next++;
      value = this.#command(value);
    }
    return value;
  }

  #command(piped: Expression | undefined): Expression {
    const first = this.#peek();
    const isCall = first.kind === 'word' && first.text !== 'true' && first.text !== 'false';
    if (!isCall) {
      if (piped !== undefined) {
        this.#refuse(first.at, 'expected a function after |', 'as in {{ $value | humanize }}');
      }
      return this.#operand();
    }
    this.#next++;
    const args: Expression[] = [];
    while (this.#startsOperand()) args.push(this.#operand());
    return this.#call(first, piped === undefined ? args : [...args, piped]);
  }

  #call(token: Token, args: readonly Expression[]): Expression {
    const name = token.text;
    const known = Object.hasOwn(TEMPLATE_FUNCTIONS, name) ? TEMPLATE_FUNCTIONS[name] : undefined;
    if (known === undefined) {
      if (UNBUILT.includes(name)) {
        throw new ReflexarcError('not_supported', `template: \`${name}\` is not supported yet`, {
          where: whereOf(this.#text, token.at),
        });
      }
      const near = nearest(name, Object.keys(TEMPLATE_FUNCTIONS));
      this.#refuse(
        token.at,
        `unknown function \`${name}\``,
        near === undefined ? undefined : `did you mean \`${near}\`?`,
      );
    }
    if (args.length < known.least || args.length > known.most) {
      const wanted = known.least === known.most ? `${known.least}` : `at least ${known.least}`;
      this.#refuse(token.at, `\`${name}\` takes ${wanted} argument(s), got ${args.length}`);
    }
    return { kind: 'call', name, args, where: whereOf(this.#text, token.at) };
  }

  #startsOperand(): boolean {
    const token = this.#peek();
    return token.kind === 'symbol' ? token.text === '(' : token.kind !== 'end';
  }

  #operand(): Expression {
    const token = this.#peek();
    this.#next++;
    switch (token.kind) {
      case 'string': {
        const value = unquote(token.text);
        if (value === undefined) this.#refuse(token.at, 'the text has an unknown escape');
        return { kind: 'literal', value };
      }
      case 'number': {
        const whole = /^[+-]?\d+$/.test(token.text);
        const value = whole ? BigInt(token.text.replace('+', '')) : Number(token.text);
        return { kind: 'literal', value };
      }
      case 'variable':
      case 'field':
        return this.#path(token);
      case 'word':
        if (token.text === 'true' || token.text === 'false') {
          return { kind: 'literal', value: token.text === 'true' };
        }
        return this.#call(token, []);
      case 'symbol': {
        if (token.text !== '(') break;
        if (++this.#depth > MAX_DEPTH) this.#refuse(token.at, 'the template is nested too deeply');
        const inner = this.#pipeline();
        const close = this.#peek();
        if (close.text !== ')') this.#refuse(close.at, 'the closing ) is missing');
        this.#next++;
        this.#depth--;
        return inner;
      }
      case 'end':
        return this.#refuse(token.at, 'expected a value, as in {{ $labels.service }}');
    }
    return this.#refuse(token.at, `unexpected ${JSON.stringify(token.text)}`);
  }

  /** `$labels.x` or `.Labels.x`. */
  #path(token: Token): Expression {
    const parts = token.text.split('.');
    const root = token.kind === 'field' ? `.${parts[1] ?? ''}` : (parts[0] ?? '');
    const rest = parts.slice(token.kind === 'field' ? 2 : 1);
    const source = Object.hasOwn(ROOTS, root) ? ROOTS[root] : undefined;
    if (source === undefined) {
      const near = nearest(root, Object.keys(ROOTS));
      this.#refuse(
        token.at,
        `unknown variable \`${root}\``,
        `known are ${Object.keys(ROOTS).slice(0, 4).join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`,
      );
    }
    const [name] = rest;
    if (source === 'value') {
      if (name !== undefined) this.#refuse(token.at, `${root} is a number and has no fields`);
      return { kind: 'value' };
    }
    if (rest.length > 1) {
      this.#refuse(
        token.at,
        `${root}.${name} is a text and has no fields`,
        `a label with a dot in its name is written index ${root} "${rest.join('.')}"`,
      );
    }
    return { kind: 'labels', source, ...(name === undefined ? {} : { name }) };
  }

  #refuse(at: number, message: string, hint?: string): never {
    throw new ReflexarcError('bad_config', `template: ${message}`, {
      where: whereOf(this.#text, at),
      ...(hint === undefined ? {} : { hint }),
    });
  }
}
