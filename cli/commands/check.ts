import { loadNotify } from '../../alerting/notify/load.ts';
import { loadRules } from '../../alerting/rules/load.ts';
import { ConfigError } from '../../core/config/yaml.ts';
import { formatError } from '../../core/errors.ts';
import { loadRemediations } from '../../remediation/playbooks/load.ts';
import { loadConfig, resolveDir } from '../config.ts';
import { EXIT } from '../exit.ts';
import { problemAsJson, problemsOf, reportProblems } from '../problems.ts';

export interface CheckOptions {
  readonly dir: string;
  readonly json?: boolean;
}

/** Validates every file; prints all problems of all files. Exit code 1 when there is one. */
export function check(options: CheckOptions): number {
  const json = options.json === true;
  let dir: string;
  try {
    dir = resolveDir(options.dir);
  } catch (error) {
    return reportProblems(error, json);
  }
  const problems = [
    ...attempt(() => void loadConfig(dir, process.env)),
    ...attempt(() => loadRules(dir).problems),
    ...attempt(() => loadNotify(dir, process.env).problems),
    ...attempt(() => loadRemediations(dir).problems),
  ];
  for (const problem of problems) {
    console.log(json ? JSON.stringify(problemAsJson(problem)) : formatError(problem));
  }
  if (!json) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    console.log(problems.length === 0 ? `${dir}: all files are right` : `${dir}: ${count}`);
  }
  return problems.length === 0 ? EXIT.ok : EXIT.finding;
}

function attempt(load: () => readonly unknown[] | undefined | void): readonly unknown[] {
  try {
    return load() ?? [];
  } catch (error) {
    if (error instanceof ConfigError) return problemsOf(error);
    return [error];
  }
}
