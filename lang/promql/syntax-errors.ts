import type { SyntaxNode, Tree } from '@lezer/common';
import { nearest } from '../../core/config/nearest.ts';
import { badQuery } from '../text.ts';
import { FUNCTIONS, UNBUILT_FUNCTIONS } from './functions.ts';

/** What the grammar would have taken inside a node of this name. */
const EXPECTED: Readonly<Record<string, string>> = {
  PromQL: 'an expression',
  ParenExpr: 'an expression, or `)`',
  FunctionCallBody: 'an argument, or `)`',
  GroupingLabels: 'a label name, or `)`',
  LabelMatchers: 'a matcher such as name="value", a comma, or `}`',
  UnquotedLabelMatcher: '=, !=, =~ or !~ and a quoted string',
  QuotedLabelMatcher: '=, !=, =~ or !~ and a quoted string',
  MatrixSelector: 'a duration such as 5m, and `]`',
  SubqueryExpr: 'a duration such as 5m:1m, and `]`',
  BinaryExpr: 'an expression after the operator',
  UnaryExpr: 'an expression after the sign',
  OffsetExpr: 'a duration such as 5m after offset',
  StepInvariantExpr: 'a time, start() or end() after @',
  AggregateExpr: 'an expression in parentheses',
  VectorSelector: 'an operator, or the end of the query',
};

/** @throws bad_query at the first place that the grammar does not take. */
export function refuseErrors(text: string, tree: Tree): void {
  let wrong: SyntaxNode | undefined;
  tree.iterate({
    enter(node) {
      if (wrong === undefined && node.type.isError) wrong = node.node;
      return wrong === undefined;
    },
  });
  if (wrong === undefined) return;
  const offset = wrong.from + (/^\s*/.exec(text.slice(wrong.from))?.[0].length ?? 0);
  const called = /([a-zA-Z_][\w]*)\s*$/.exec(text.slice(0, offset))?.[1];
  if (text[offset] === '(' && called !== undefined) {
    const hint = nearest(called, [...Object.keys(FUNCTIONS), ...UNBUILT_FUNCTIONS]);
    badQuery(
      text,
      text.lastIndexOf(called, offset),
      `unknown function \`${called}\``,
      hint === undefined ? undefined : `did you mean \`${hint}\`?`,
    );
  }
  const token = /^(?:[\w:.]+|"[^"\n]{0,20}"?|[^\s\w])/.exec(text.slice(offset))?.[0];
  const found = token === undefined ? 'end of the query' : `\`${token}\``;
  const expected = EXPECTED[wrong.parent?.name ?? 'PromQL'] ?? 'an expression';
  badQuery(text, offset, `unexpected ${found}`, `expected ${expected}`);
}
