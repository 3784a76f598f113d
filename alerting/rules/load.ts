import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError, type Loaded, loadYaml } from '../../core/config/yaml.ts';
import { byPlace, isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import { compileTemplate } from '../../lang/template.ts';
import { compileQuery, type Query } from './query.ts';
import type { Rule, RuleGroup, Template, Templates } from './rule.ts';
import { type GroupSpec, type RuleSpec, rulesSchema } from './schema.ts';

export interface LoadedRules {
  /** Of the files without a problem: a file is taken whole or not at all. */
  readonly rules: readonly RuleGroup[];
  /** Of all files, each with file, line, column and field. */
  readonly problems: readonly ReflexarcError[];
}

/** Reads `rules/*.yaml` and `rules/*.yml` below the folder. No folder: no rules. */
export function loadRules(dir: string): LoadedRules {
  const rules: RuleGroup[] = [];
  const problems: ReflexarcError[] = [];
  for (const name of ruleFiles(dir, problems)) {
    const file = `rules/${name}`;
    try {
      const found = parseRules(readFileSync(join(dir, 'rules', name), 'utf8'), file);
      rules.push(...found.rules);
      problems.push(...found.problems);
    } catch (cause) {
      problems.push(
        new ReflexarcError('bad_config', `cannot be read: ${messageOf(cause)}`, {
          cause,
          where: { file },
        }),
      );
    }
  }
  return { rules, problems };
}

function ruleFiles(dir: string, problems: ReflexarcError[]): string[] {
  try {
    return readdirSync(join(dir, 'rules'))
      .filter((name) => /^[^.].*\.ya?ml$/.test(name))
      .sort();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      problems.push(
        new ReflexarcError('bad_config', `cannot be listed: ${messageOf(cause)}`, {
          cause,
          where: { file: 'rules' },
        }),
      );
    }
    return [];
  }
}

/** One file's text. Never throws for what is wrong with it. */
export function parseRules(text: string, file: string): LoadedRules {
  const problems: ReflexarcError[] = [];
  try {
    const loaded = loadYaml(rulesSchema, text, file);
    const rules = loaded.value.groups.map((spec, index) =>
      buildGroup(spec, file, new Checker(loaded, problems, index)),
    );
    return { rules: problems.length > 0 ? [] : rules, problems };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems, ...checkLoosely(text, file));
    return { rules: [], problems: problems.sort(byPlace) };
  }
}

/** Compiles what a group holds; what does not compile becomes a problem with its place. */
class Checker {
  readonly #loaded: Loaded<unknown>;
  readonly #problems: ReflexarcError[];
  readonly #group: number;

  constructor(loaded: Loaded<unknown>, problems: ReflexarcError[], group: number) {
    this.#loaded = loaded;
    this.#problems = problems;
    this.#group = group;
  }

  query(rule: number, kind: 'promql' | 'logql', text: string): Query | undefined {
    return this.#try(['groups', this.#group, 'rules', rule, 'expr'], () =>
      compileQuery(kind, text),
    );
  }

  template(path: readonly (string | number)[], text: string): Template | undefined {
    return this.#try(['groups', this.#group, ...path], () => compileTemplate(text));
  }

  #try<T>(path: readonly (string | number)[], make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      if (!isReflexarcError(error)) throw error;
      const place = error.where ?? {};
      this.#problems.push(
        new ReflexarcError(error.code, error.message, {
          cause: error,
          where: this.#loaded.inside(path, place),
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        }),
      );
      return undefined;
    }
  }
}

function buildGroup(spec: GroupSpec, file: string, check: Checker): RuleGroup {
  const seen = new Map<string, number>();
  const rules: Rule[] = [];
  for (const [index, rule] of spec.rules.entries()) {
    const built = buildRule(spec, rule, index, file, check);
    if (built === undefined) continue;
    // Two rules of one name and labels are told apart by their order.
    const nth = seen.get(built.id) ?? 0;
    seen.set(built.id, nth + 1);
    rules.push(nth === 0 ? built : { ...built, id: digest([built.id, nth]) });
  }
  return { file, name: spec.name, interval: spec.interval, limit: spec.limit, rules };
}

function buildRule(
  group: GroupSpec,
  rule: RuleSpec,
  index: number,
  file: string,
  check: Checker,
): Rule | undefined {
  const query = check.query(index, group.type, rule.expr);
  const name = rule.alert ?? rule.record ?? '';
  const labels = { ...group.labels, ...rule.labels };
  const identity = [file, group.name, name, rule.alert !== undefined, sorted(labels)];
  const base = { id: digest(identity), version: digest([identity, group.type, rule]), name };
  if (rule.alert === undefined) {
    return query === undefined ? undefined : { ...base, kind: 'record', query, labels };
  }
  const compile = (
    texts: Readonly<Record<string, string>>,
    path: readonly (string | number)[],
  ): Templates =>
    Object.entries(texts).flatMap(([key, text]) => {
      const template = check.template([...path, key], text);
      return template === undefined ? [] : [[key, template] as const];
    });
  const own = compile(rule.labels, ['rules', index, 'labels']);
  const inherited = Object.fromEntries(
    Object.entries(group.labels).filter(([key]) => rule.labels[key] === undefined),
  );
  const shared = compile(inherited, ['labels']);
  const annotations = compile(rule.annotations ?? {}, ['rules', index, 'annotations']);
  if (query === undefined) return undefined;
  return {
    ...base,
    kind: 'alert',
    query,
    ref: {
      file,
      group: group.name,
      name,
      kind: group.type,
      expr: rule.expr,
      for: rule.for ?? 0,
    },
    for: rule.for ?? 0,
    keepFiringFor: rule.keep_firing_for ?? 0,
    labels: [...shared, ...own],
    annotations,
  };
}

const sorted = (labels: Readonly<Record<string, string>>): unknown =>
  Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));

const digest = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12);

const looseText = z.union([z.string(), z.number(), z.boolean()]).transform(String).catch('');
const looseTexts = z.record(z.string(), looseText).catch({});
const looseSchema = z.object({
  groups: z
    .array(
      z
        .object({
          type: z.enum(['promql', 'logql']).catch('promql'),
          labels: looseTexts,
          rules: z
            .array(
              z
                .object({ expr: looseText, labels: looseTexts, annotations: looseTexts })
                .catch({ expr: '', labels: {}, annotations: {} }),
            )
            .catch([]),
        })
        .catch({ type: 'promql', labels: {}, rules: [] }),
    )
    .catch([]),
});

/** The expressions and templates of a file whose shape is wrong elsewhere: all errors at once. */
function checkLoosely(text: string, file: string): readonly ReflexarcError[] {
  const problems: ReflexarcError[] = [];
  let loaded: Loaded<z.output<typeof looseSchema>>;
  try {
    loaded = loadYaml(looseSchema, text, file);
  } catch (error) {
    // Not even YAML: that is reported already.
    if (error instanceof ConfigError) return [];
    throw error;
  }
  for (const [index, group] of loaded.value.groups.entries()) {
    const check = new Checker(loaded, problems, index);
    for (const [position, rule] of group.rules.entries()) {
      if (rule.expr !== '') check.query(position, group.type, rule.expr);
      for (const field of ['labels', 'annotations'] as const) {
        for (const [key, template] of Object.entries(rule[field])) {
          check.template(['rules', position, field, key], template);
        }
      }
    }
  }
  return problems;
}
