import { messageOf, ReflexarcError } from '../core/errors.ts';
import type { Matcher, MatchOp } from '../core/labels.ts';
import { compileRegex } from '../core/regex.ts';
import { unquote } from './text.ts';

/**
 * Alertmanager's matchers, as they stand in routes, inhibition rules, silences and remediations:
 * `alertname="X"`, `severity=~"a|b"`, `team=core`, and several between braces, separated by commas.
 * https://prometheus.io/docs/alerting/latest/configuration/#matcher
 */

const EXAMPLE = 'write it like alertname="X", severity=~"warning|critical" or {a="b", c!="d"}';

// Alertmanager lets an unquoted text hold anything but these.
const TOKEN = /\s*(?:("(?:[^"\\\n]|\\[\s\S])*")|([^\s{}!=~,\\"'`]+))/y;
const OPERATOR = /\s*(=~|!~|!=|=)/y;

/** @throws bad_config; `where` is the place within the text */
export function parseMatcher(text: string): Matcher {
  const matchers = parseMatchers(text);
  const [only] = matchers;
  if (only === undefined || matchers.length > 1) {
    refuse(text, 0, `expected one matcher, found ${matchers.length}`);
  }
  return only;
}

/** One or more matchers, with or without braces around all of them. `{}` is none. @throws bad_config */
export function parseMatchers(text: string): Matcher[] {
  const open = /^\s*\{/.exec(text)?.[0].length;
  const close = /\}\s*$/.exec(text)?.index;
  let at = open ?? 0;
  if (open !== undefined && close === undefined)
    refuse(text, text.length, 'the closing } is missing');
  const end = open === undefined ? text.trimEnd().length : (close ?? text.length);
  const rest = () => /^\s*/.exec(text.slice(at, end))?.[0].length ?? 0;
  const matchers: Matcher[] = [];
  if (open !== undefined && at + rest() >= end) return matchers;
  for (;;) {
    const found = matcherAt(text, at, end);
    matchers.push(found.matcher);
    at = found.to;
    at += rest();
    if (at >= end) return matchers;
    if (text[at] !== ',') refuse(text, at, `unexpected ${JSON.stringify(text[at])}`);
    at++;
    if (at + rest() >= end) return matchers;
  }
}

function matcherAt(text: string, from: number, end: number): { matcher: Matcher; to: number } {
  const name = wordAt(text, from, end);
  if (name === undefined || name.value === '') refuse(text, from, 'expected a label name');
  OPERATOR.lastIndex = name.to;
  const op = OPERATOR.exec(text)?.[1];
  if (op === undefined) refuse(text, name.to, `expected =, !=, =~ or !~ after ${name.value}`);
  const after = OPERATOR.lastIndex;
  const value = wordAt(text, after, end);
  if (value === undefined) refuse(text, after, `expected a value after ${name.value}${op}`);
  const matcher: Matcher = { name: name.value, op: op as MatchOp, value: value.value };
  if (op.endsWith('~')) {
    try {
      compileRegex(matcher.value, { anchored: true });
    } catch (error) {
      refuse(text, after, messageOf(error), error);
    }
  }
  return { matcher, to: value.to };
}

function wordAt(
  text: string,
  from: number,
  end: number,
): { value: string; to: number } | undefined {
  TOKEN.lastIndex = from;
  const found = TOKEN.exec(text);
  if (found === null || TOKEN.lastIndex > end) return undefined;
  const [, quoted, bare] = found;
  const value = quoted === undefined ? bare : unquote(quoted);
  if (value === undefined) return undefined;
  return { value, to: from + found[0].length };
}

function refuse(text: string, at: number, message: string, cause?: unknown): never {
  throw new ReflexarcError('bad_config', `not a matcher: ${JSON.stringify(text)}: ${message}`, {
    cause,
    where: { line: 1, column: at + 1 },
    hint: EXAMPLE,
  });
}
