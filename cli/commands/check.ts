import { loadNotify } from '../../alerting/notify/load.ts';
import { loadRules } from '../../alerting/rules/load.ts';
import { ConfigError } from '../../core/config/yaml.ts';
import { formatError, ReflexarcError } from '../../core/errors.ts';
import { loadRemediations } from '../../remediation/playbooks/load.ts';
import { loadConfigFile, resolveDir } from '../config.ts';
import { EXIT } from '../exit.ts';
import { problemAsJson, problemsOf, reportProblems } from '../problems.ts';
import { unusable } from '../usable.ts';
import { labelWarnings } from './label-warnings.ts';

export interface CheckOptions {
  readonly dir: string;
  readonly json?: boolean;
}

/**
 * Validates every file; prints all problems of all files, and warnings. Exit code 1 when there is a
 * problem.
 */
export async function check(options: CheckOptions): Promise<number> {
  const json = options.json === true;
  let dir: string;
  try {
    dir = resolveDir(options.dir);
  } catch (error) {
    return reportProblems(error, json);
  }
  const problems = [
    ...(await attempt(() => unusable(loadConfigFile(dir, process.env)))),
    ...(await attempt(() => loadRules(dir).problems)),
    ...(await attempt(() => loadNotify(dir, process.env).problems)),
    ...(await attempt(() => loadRemediations(dir).problems)),
    ...(await attempt(() => strangers(dir))),
  ];
  for (const problem of problems) {
    console.log(json ? JSON.stringify(problemAsJson(problem)) : formatError(problem));
  }
  for (const warning of labelWarnings(dir)) {
    console.log(
      json
        ? JSON.stringify({ ...problemAsJson(warning), level: 'warning' })
        : `warning: ${formatError(warning)}`,
    );
  }
  if (!json) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    console.log(problems.length === 0 ? `${dir}: all files are right` : `${dir}: ${count}`);
  }
  return problems.length === 0 ? EXIT.ok : EXIT.finding;
}

/** Receivers of `notify` steps that `notify.yaml` does not have. A step alone cannot know them. */
function strangers(dir: string): readonly ReflexarcError[] {
  const notify = loadNotify(dir, process.env);
  if (notify.problems.length > 0) return [];
  const { remediations, where } = loadRemediations(dir);
  const known = [...(notify.config?.receivers.keys() ?? [])];
  return remediations.flatMap(({ steps }, nth) =>
    steps.flatMap((step, index) => {
      if (step.kind !== 'notify' || known.includes(step.receiver)) return [];
      const place = where?.(['remediations', nth, 'steps', index, 'notify', 'receiver']);
      return new ReflexarcError(
        'bad_config',
        `notify.yaml has no receiver ${JSON.stringify(step.receiver)}`,
        {
          ...(place === undefined ? {} : { where: place }),
          hint: known.length === 0 ? 'add it to notify.yaml' : `known: ${known.join(', ')}`,
        },
      );
    }),
  );
}

type Problems = readonly unknown[];

async function attempt(load: () => Problems | Promise<Problems>): Promise<Problems> {
  try {
    return await load();
  } catch (error) {
    if (error instanceof ConfigError) return problemsOf(error);
    return [error];
  }
}
