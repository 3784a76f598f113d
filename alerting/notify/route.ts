import { compileMatchers, type Labels, type LabelTest, type Matcher } from '../../core/labels.ts';

/** A node of the routing tree, with everything inherited. */
export interface Route {
  /** Names it over reloads: its matchers and those of its parents, as Alertmanager writes them. */
  readonly key: string;
  readonly receiver: string;
  readonly groupBy: readonly string[] | 'all';
  /** Milliseconds. */
  readonly groupWait: number;
  readonly groupInterval: number;
  readonly repeatInterval: number;
  readonly continue: boolean;
  readonly matches: LabelTest;
  readonly routes: readonly Route[];
}

/** The nodes that an alert ends at: the deepest that match, and only the first unless `continue`. */
export function routesFor(route: Route, labels: Labels): Route[] {
  if (!route.matches(labels)) return [];
  const found: Route[] = [];
  for (const child of route.routes) {
    const matched = routesFor(child, labels);
    found.push(...matched);
    if (matched.length > 0 && !child.continue) break;
  }
  return found.length > 0 ? found : [route];
}

export function groupLabels(route: Route, labels: Labels): Labels {
  if (route.groupBy === 'all') return labels;
  const kept: Record<string, string> = {};
  for (const name of route.groupBy) {
    const value = labels[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

/** `{severity="critical",team=~"a|b"}`. */
export const matchersText = (matchers: readonly Matcher[]): string =>
  `{${matchers.map(({ name, op, value }) => `${name}${op}${JSON.stringify(value)}`).join(',')}}`;

export const routeMatcher = (matchers: readonly Matcher[]): LabelTest => compileMatchers(matchers);
