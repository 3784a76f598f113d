import { type Matcher, RE2JS, RE2JSException } from 're2js';
import { messageOf, ReflexarcError } from './errors.ts';

/**
 * A user's regular expression in RE2 syntax, matched in linear time, as Prometheus and Loki do.
 * V8's own RegExp is for our fixed patterns only: `(a+)+$` would stop the process.
 */
export interface Regex {
  readonly source: string;
  /** Whether any part of the text matches. */
  test(text: string): boolean;
  /** Named groups of the first match; undefined when nothing matches. */
  groups(text: string): Record<string, string> | undefined;
  /**
   * The template with `$1`, `$name`, `${1}` and `${name}` filled from the first match, as Go's
   * Regexp.Expand does: `$$` is a dollar, an unknown group is empty. Undefined when nothing matches.
   */
  expand(text: string, template: string): string | undefined;
  /** Every match replaced by the template, filled as `expand` does. */
  replaceAll(text: string, template: string): string;
}

/** @throws bad_query when the pattern is not RE2 syntax. */
export function compileRegex(source: string, options: { anchored?: boolean } = {}): Regex {
  let compiled: RE2JS;
  try {
    // Prometheus and Loki match labels with `s`: a dot matches a newline too.
    compiled = RE2JS.compile(options.anchored === true ? `^(?s:${source})$` : source);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new ReflexarcError('bad_query', `invalid regular expression: ${messageOf(error)}`, {
      cause: error,
      hint: 'RE2 syntax is expected: https://github.com/google/re2/wiki/Syntax',
    });
  }
  const groups = compiled.namedGroups();
  const names = Object.keys(groups);
  const fill = (matcher: Matcher, template: string): string =>
    template.replace(/\$(?:(\$)|(\w+)|\{(\w+)\})/g, (_, dollar, bare, braced) => {
      if (dollar !== undefined) return '$';
      const name = String(bare ?? braced);
      const index = /^\d+$/.test(name) ? Number(name) : groups[name];
      const known = index !== undefined && index <= compiled.groupCount();
      return known ? (matcher.group(index) ?? '') : '';
    });
  return {
    source,
    test: (text) => compiled.matcher(text).find(),
    groups(text) {
      const matcher = compiled.matcher(text);
      if (!matcher.find()) return undefined;
      const found: Record<string, string> = {};
      for (const name of names) found[name] = matcher.group(name) ?? '';
      return found;
    },
    expand(text, template) {
      const matcher = compiled.matcher(text);
      return matcher.find() ? fill(matcher, template) : undefined;
    },
    replaceAll(text, template) {
      const matcher = compiled.matcher(text);
      let out = '';
      let from = 0;
      while (matcher.find()) {
        out += text.slice(from, matcher.start()) + fill(matcher, template);
        from = matcher.end();
      }
      return out + text.slice(from);
    },
  };
}
