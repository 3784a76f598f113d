import { createHash } from 'node:crypto';
import { compileRegex } from './regex.ts';

/** A label set. An absent label and an empty value mean the same (Prometheus' data model). */
export type Labels = Readonly<Record<string, string>>;

export type MatchOp = '=' | '!=' | '=~' | '!~';

/** `name op "value"`; regexes are anchored at both ends, RE2 syntax. */
export interface Matcher {
  readonly name: string;
  readonly op: MatchOp;
  readonly value: string;
}

/** One text per label set, whatever the order of its keys; empty values do not count. */
export function labelsKey(labels: Labels): string {
  let key = '';
  for (const name of Object.keys(labels).sort()) {
    const value = labels[name];
    if (value !== undefined && value !== '') key += `${name}\u0000${value}\u0001`;
  }
  return key;
}

/** 16 hex digits that identify a label set: an alert's identity, a series' id. */
export function fingerprint(labels: Labels): string {
  return createHash('sha256').update(labelsKey(labels)).digest('hex').slice(0, 16);
}

/** `{a="b", c="d"}` with names sorted, as logs and errors show a label set. */
export function formatLabels(labels: Labels): string {
  const parts = Object.keys(labels)
    .sort()
    .map((name) => `${name}=${JSON.stringify(labels[name])}`);
  return `{${parts.join(', ')}}`;
}

/** `name=~"value"`, as a selector or a matcher in a file would be written. */
export function formatMatcher({ name, op, value }: Matcher): string {
  return `${name}${op}${JSON.stringify(value)}`;
}

export type LabelTest = (labels: Labels) => boolean;

/** @throws bad_query when a regex does not compile. */
export function compileMatcher(matcher: Matcher): LabelTest {
  const { name, op, value } = matcher;
  // A name such as `constructor` must not find what every object has.
  const valueOf = (labels: Labels): string => {
    const found: unknown = labels[name];
    return typeof found === 'string' ? found : '';
  };
  if (op === '=') return (labels) => valueOf(labels) === value;
  if (op === '!=') return (labels) => valueOf(labels) !== value;
  const regex = compileRegex(value, { anchored: true });
  return op === '=~'
    ? (labels) => regex.test(valueOf(labels))
    : (labels) => !regex.test(valueOf(labels));
}

/** All must hold. No matcher at all matches everything; callers decide whether that is allowed. */
export function compileMatchers(matchers: readonly Matcher[]): LabelTest {
  const tests = matchers.map(compileMatcher);
  return (labels) => tests.every((test) => test(labels));
}
