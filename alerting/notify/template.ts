import type { Labels } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import { formatTime, type Message, NO_TIME } from './message.ts';
import { type Expression, type Node, parseMessageTemplate } from './template-parse.ts';

/**
 * The part of Alertmanager's notification templates that messages are written with: fields of the
 * data, `if`, `range`, `with`, pipes and the usual functions.
 * https://prometheus.io/docs/alerting/latest/notifications/
 */
type Value = string | number | boolean | Value[] | Pairs | { readonly [name: string]: Value };

/** A label set; a map in Go. */
class Pairs {
  readonly labels: Labels;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  get names(): string[] {
    return Object.keys(this.labels).sort();
  }
}

/** @throws bad_config with the place in the text; not_supported for other parts of Go's templates */
export function compileMessageTemplate(text: string): (message: Message) => string {
  const nodes = parseMessageTemplate(text, (name) => FUNCTIONS[name] !== undefined);
  return (message) => {
    const data = dataOf(message);
    return render(nodes, data, data);
  };
}

function dataOf(message: Message): Value {
  return {
    Receiver: message.receiver,
    Status: message.status,
    Alerts: message.alerts.map((alert) => ({
      Status: alert.endsAt === undefined ? 'firing' : 'resolved',
      Labels: new Pairs(alert.labels),
      Annotations: new Pairs(alert.annotations),
      StartsAt: formatTime(alert.startsAt),
      EndsAt: alert.endsAt === undefined ? NO_TIME : formatTime(alert.endsAt),
      GeneratorURL: alert.generatorUrl,
      Fingerprint: alert.fingerprint,
    })),
    GroupLabels: new Pairs(message.groupLabels),
    CommonLabels: new Pairs(message.commonLabels),
    CommonAnnotations: new Pairs(message.commonAnnotations),
    ExternalURL: message.externalUrl,
  };
}

function render(nodes: readonly Node[], dot: Value, root: Value): string {
  let out = '';
  for (const node of nodes) {
    if (node.kind === 'text') out += node.text;
    else if (node.kind === 'print') out += show(evaluate(node.expression, dot, root));
    else {
      const value = evaluate(node.expression, dot, root);
      if (!isTrue(value)) out += render(node.no, dot, root);
      else if (node.kind === 'if') out += render(node.yes, dot, root);
      else if (node.kind === 'with') out += render(node.yes, value, root);
      else for (const item of listOf(value)) out += render(node.yes, item, root);
    }
  }
  return out;
}

function evaluate(expression: Expression, dot: Value, root: Value): Value {
  if (expression.kind === 'literal') return expression.value;
  if (expression.kind === 'path') {
    return expression.names.reduce(field, expression.from === 'root' ? root : dot);
  }
  const args = expression.args.map((arg) => evaluate(arg, dot, root));
  return FUNCTIONS[expression.name]?.(args) ?? '';
}

/** As in Go's maps what is missing is empty. */
function field(value: Value, name: string): Value {
  if (value instanceof Pairs) {
    if (name === 'SortedPairs') {
      return value.names.map((each) => ({ Name: each, Value: value.labels[each] ?? '' }));
    }
    if (name === 'Names') return value.names;
    if (name === 'Values') return value.names.map((each) => value.labels[each] ?? '');
    return Object.hasOwn(value.labels, name) ? (value.labels[name] ?? '') : '';
  }
  if (Array.isArray(value)) {
    if (name === 'Firing' || name === 'Resolved') {
      return value.filter((alert) => field(alert, 'Status') === name.toLowerCase());
    }
    return '';
  }
  return typeof value === 'object' && Object.hasOwn(value, name) ? (value[name] ?? '') : '';
}

const listOf = (value: Value): readonly Value[] => {
  if (Array.isArray(value)) return value;
  return value instanceof Pairs ? value.names.map((name) => value.labels[name] ?? '') : [];
};

function lengthOf(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  return listOf(value).length;
}

function isTrue(value: Value): boolean {
  if (typeof value === 'object')
    return Array.isArray(value) || value instanceof Pairs ? lengthOf(value) > 0 : true;
  return Boolean(value);
}

function show(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`;
  if (value instanceof Pairs) {
    return `map[${value.names.map((name) => `${name}:${value.labels[name]}`).join(' ')}]`;
  }
  if (typeof value === 'object') return `{${Object.values(value).map(show).join(' ')}}`;
  return String(value);
}

const text = (value: Value | undefined): string => (value === undefined ? '' : show(value));
const compare = (a: Value | undefined, b: Value | undefined): number =>
  typeof a === 'number' && typeof b === 'number'
    ? a - b
    : text(a) < text(b)
      ? -1
      : text(a) > text(b)
        ? 1
        : 0;

const FUNCTIONS: Readonly<Record<string, (args: readonly Value[]) => Value>> = {
  toUpper: ([a]) => text(a).toUpperCase(),
  toLower: ([a]) => text(a).toLowerCase(),
  title: ([a]) => text(a).replace(/(^|\s)(\S)/g, (all: string) => all.toUpperCase()),
  trimSpace: ([a]) => text(a).trim(),
  join: ([separator, list]) =>
    listOf(list ?? [])
      .map(show)
      .join(text(separator)),
  stringSlice: (args) => [...args],
  match: ([pattern, a]) => compileRegex(text(pattern)).test(text(a)),
  len: ([a]) => lengthOf(a ?? ''),
  index: ([of, name]) =>
    Array.isArray(of) && typeof name === 'number' ? (of[name] ?? '') : field(of ?? '', text(name)),
  print: (args) => args.map(show).join(''),
  printf: ([format, ...args]) => printf(text(format), args),
  eq: ([a, ...rest]) => rest.some((b) => compare(a, b) === 0),
  ne: ([a, b]) => compare(a, b) !== 0,
  lt: ([a, b]) => compare(a, b) < 0,
  le: ([a, b]) => compare(a, b) <= 0,
  gt: ([a, b]) => compare(a, b) > 0,
  ge: ([a, b]) => compare(a, b) >= 0,
  and: (args) => args.find((arg) => !isTrue(arg)) ?? args.at(-1) ?? '',
  or: (args) => args.find(isTrue) ?? args.at(-1) ?? '',
  not: ([a]) => !isTrue(a ?? ''),
};

function printf(format: string, args: readonly Value[]): string {
  let next = 0;
  return format.replace(/%([%sdvq])/g, (_, verb: string) => {
    if (verb === '%') return '%';
    const value = text(args[next++]);
    return verb === 'q' ? JSON.stringify(value) : value;
  });
}
