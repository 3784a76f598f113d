import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  visit,
} from 'yaml';
import type { z } from 'zod';
import { byPlace, ERROR_CODES, type ErrorCode, ReflexarcError, type Where } from '../errors.ts';
import { nearest } from './nearest.ts';

/** Everything that is wrong with a file, at once. */
export class ConfigError extends ReflexarcError {
  readonly problems: readonly ReflexarcError[];

  constructor(file: string, problems: readonly ReflexarcError[]) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    super('bad_config', `${file} has ${count}`, { where: { file }, cause: problems[0] });
    this.problems = problems;
  }
}

export interface LoadOptions {
  /** Names for `${VAR}`; absent: the file is taken as it is. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface Loaded<T> {
  readonly value: T;
  /** Where a field stands, for problems that are found later: `['groups', 0, 'rules', 1, 'expr']`. */
  where(path: readonly (string | number)[]): Where;
  /**
   * Where a character of a text value stands, for errors inside an expression; `line` and `column`
   * count from 1 within the value.
   */
  inside(path: readonly (string | number)[], place: Pick<Where, 'line' | 'column'>): Where;
}

/**
 * A YAML file to a checked value: strict, an unknown key is an error that names the nearest known
 * one; each problem with file, line, column and field. An empty file is an empty map.
 *
 * @throws ConfigError with all problems
 */
export function loadYaml<S extends z.ZodType>(
  schema: S,
  text: string,
  file: string,
  options: LoadOptions = {},
): Loaded<z.output<S>> {
  const counter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: counter,
    prettyErrors: false,
    uniqueKeys: true,
  });
  const problems: ReflexarcError[] = [];
  const at = (offset: number): Where => {
    const { line, col } = counter.linePos(offset);
    return { file, line, column: col };
  };
  for (const error of document.errors) {
    problems.push(
      new ReflexarcError('bad_config', error.message, { cause: error, where: at(error.pos[0]) }),
    );
  }
  if (problems.length > 0) throw new ConfigError(file, problems);

  // What a value without its variable breaks besides is no news.
  const unexpanded = new Set<unknown>();
  if (options.env !== undefined) {
    const { env } = options;
    visit(document, {
      Scalar(key, node) {
        if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('$')) return;
        try {
          node.value = expand(node.value, env);
        } catch (error) {
          unexpanded.add(node);
          const where = at(node.range?.[0] ?? 0);
          problems.push(
            new ReflexarcError('bad_config', (error as Error).message, { cause: error, where }),
          );
        }
      },
    });
  }

  const where = (path: readonly (string | number)[]): Where => {
    const offset = offsetOf(document.contents, path);
    const field = formatPath(path);
    return { ...at(offset), ...(field === '' ? {} : { field }) };
  };
  const parsed = schema.safeParse(document.toJS() ?? {}, { error: explain });
  if (parsed.success && problems.length === 0) {
    return {
      value: parsed.data,
      where,
      inside(path, place) {
        const node = document.getIn(path, true);
        if (!isScalar(node) || (node.range ?? undefined) === undefined) return where(path);
        const { field } = where(path);
        return {
          ...at(offsetInside(text, node, place)),
          ...(field === undefined ? {} : { field }),
        };
      },
    };
  }
  for (const issue of flatten(parsed.error?.issues ?? [])) {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    if (unexpanded.has(document.getIn(path, true))) continue;
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const [message, hint] = unknownKey(key, knownKeys.get(issue.message) ?? []);
        problems.push(
          new ReflexarcError('bad_config', message, {
            where: where([...path, key]),
            ...(hint === undefined ? {} : { hint }),
          }),
        );
      }
    } else {
      problems.push(new ReflexarcError(codeOf(issue), issue.message, { where: where(path) }));
    }
  }
  throw new ConfigError(file, problems.sort(byPlace));
}

/** `${VAR}` and `${VAR:-default}`, as Compose writes them; `$$` is a dollar. */
function expand(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return text.replace(/\$\$|\$\{([^}]*)\}/g, (whole, inside: string | undefined) => {
    if (whole === '$$' || inside === undefined) return '$';
    const found = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/.exec(inside);
    if (found?.[1] === undefined) throw new Error(`not a variable: ${whole}`);
    const value = env[found[1]];
    if (value !== undefined && value !== '') return value;
    if (found[2] !== undefined) return found[2];
    throw new Error(`the environment has no variable ${found[1]}`);
  });
}

/** A schema's own check may name another code than `bad_config`: see `notYet`. */
function codeOf(issue: z.core.$ZodIssue): ErrorCode {
  const code: unknown = issue.code === 'custom' ? issue.params?.['code'] : undefined;
  return ERROR_CODES.find((known) => known === code) ?? 'bad_config';
}

// The error map knows the schema that complains, the issue does not: the message carries it over.
const knownKeys = new Map<string, readonly string[]>();

function explain(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'unrecognized_keys') {
    const def = issue.inst?._zod.def as { shape?: Record<string, unknown> } | undefined;
    const keys = Object.keys(def?.shape ?? {});
    const id = `unknown key; known: ${keys.join(', ')}`;
    knownKeys.set(id, keys);
    return id;
  }
  const missing = issue.code === 'invalid_type' || issue.code === 'invalid_union';
  if (missing && issue.input === undefined) return 'is required';
  if (issue.code === 'invalid_union') {
    const kinds = issue.errors
      .flat()
      .flatMap((inner) => (inner.code === 'invalid_type' ? [inner.expected] : []));
    if (kinds.length > 0) return `Invalid input: expected ${[...new Set(kinds)].join(' or ')}`;
  }
  return undefined;
}

function unknownKey(key: string, known: readonly string[]): [message: string, hint?: string] {
  const best = nearest(key, known);
  if (best !== undefined) return [`unknown key ${JSON.stringify(key)}`, `did you mean ${best}?`];
  if (known.length === 0) return [`unknown key ${JSON.stringify(key)}`];
  return [`unknown key ${JSON.stringify(key)}`, `known here: ${known.join(', ')}`];
}

/** What is wrong with a key; of a union's branches, the one that came nearest to fitting. */
function flatten(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'invalid_key') {
      return issue.issues.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
    }
    if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
    const deepest = (branch: readonly z.core.$ZodIssue[]): number =>
      Math.max(...branch.map((inner) => inner.path.length));
    const best = [...issue.errors].sort(
      (a, b) => deepest(b) - deepest(a) || a.length - b.length,
    )[0];
    if (best === undefined || deepest(best) === 0) return [issue];
    return flatten(best.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })));
  });
}

/** Offset of the node at a path; of the key where the last part is one; else of the nearest parent. */
function offsetOf(root: unknown, path: readonly (string | number)[]): number {
  let node: unknown = root;
  let offset = (root as Node | null)?.range?.[0] ?? 0;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isScalar(item.key) && String(item.key.value) === String(part),
      );
      if (pair === undefined) return offset;
      offset = ((pair as Pair<Node>).key as Node | undefined)?.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}

/**
 * The offset in the file of a place in a scalar's value. YAML's styles differ in white space and
 * escapes only, so that counting the other characters finds it in each of them.
 */
function offsetInside(
  text: string,
  node: Scalar,
  { line = 1, column = 1 }: Pick<Where, 'line' | 'column'>,
): number {
  const [start, end] = node.range ?? [0, 0];
  const before = String(node.value)
    .split('\n')
    .slice(0, line)
    .map((part, index) => (index === line - 1 ? part.slice(0, column - 1) : part))
    .join('');
  let left = before.replace(/\s/g, '').length;
  const block = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED';
  const double = node.type === 'QUOTE_DOUBLE';
  const quoted = double || node.type === 'QUOTE_SINGLE';
  let offset = block ? text.indexOf('\n', start) + 1 : start + (quoted ? 1 : 0);
  while (offset < end) {
    const char = text.charAt(offset);
    const next = text.charAt(offset + 1);
    const blank = /\s/.test(char) || (double && char === '\\' && /[nrt\s]/.test(next));
    if (!blank && left-- <= 0) return offset;
    offset += quoted && (double ? char === '\\' : char === "'" && next === "'") ? 2 : 1;
  }
  return Math.max(start, end - 1);
}

function formatPath(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  }
  return text;
}
