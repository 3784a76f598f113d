import { loadRules } from '../../alerting/rules/load.ts';
import { nearest } from '../../core/config/nearest.ts';
import type { ReflexarcConfig } from '../../core/config/reflexarc.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { loadConfig } from '../config.ts';

/** What every stream and container metric can carry. */
const LABELS = ['service', 'project', 'container', 'host', 'stream', 'level', 'image'];

/**
 * Rules that select by a label that looks like a typing error of one that there is. Such a rule is
 * right and never fires; that a label is no typing error cannot be known, since whoever pushes lines
 * chooses their labels.
 */
export function labelWarnings(dir: string): readonly ReflexarcError[] {
  const known = new Set([...LABELS, ...configured(dir)]);
  return loadRules(dir).rules.flatMap(({ file, name: group, rules }) =>
    rules.flatMap(({ name: rule, query }) => {
      const selections = [...query.logs.map(({ pipeline }) => pipeline), ...query.samples];
      const names = new Set(selections.flatMap(({ matchers }) => matchers.map(({ name }) => name)));
      return [...names].flatMap((name) => {
        const meant = known.has(name) ? undefined : nearest(name, [...known]);
        // Who mistypes mostly begins right; `team` is no `stream`.
        if (meant === undefined || meant[0] !== name[0]) return [];
        return new ReflexarcError(
          'bad_config',
          `group ${group}, rule ${rule}: nothing collected has a label ${JSON.stringify(name)}`,
          { where: { file }, hint: `did you mean ${meant}?` },
        );
      });
    }),
  );
}

/** Labels that `reflexarc.yaml` adds to what is collected. */
function configured(dir: string): readonly string[] {
  let config: ReflexarcConfig;
  try {
    config = loadConfig(dir, process.env);
  } catch {
    // Its problems are reported as such.
    return [];
  }
  const { docker, files } = config.sources;
  return [
    ...Object.keys(config.labels),
    ...docker.labels,
    ...files.flatMap(({ labels }) => Object.keys(labels)),
  ];
}
