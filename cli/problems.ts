import { ConfigError } from '../core/config/yaml.ts';
import { formatError, isReflexarcError, messageOf } from '../core/errors.ts';
import { EXIT } from './exit.ts';

/** All that an error has to say, one sentence a line. */
export function problemsOf(error: unknown): readonly unknown[] {
  return error instanceof ConfigError ? error.problems : [error];
}

/** One problem as a JSON line's object. */
export function problemAsJson(error: unknown): Record<string, unknown> {
  if (!isReflexarcError(error)) return { code: 'internal', message: messageOf(error) };
  return { code: error.code, message: error.message, hint: error.hint, ...error.where };
}

/** Prints what is wrong to standard error and chooses the exit code. */
export function reportProblems(error: unknown, json: boolean): number {
  for (const problem of problemsOf(error)) {
    console.error(json ? JSON.stringify(problemAsJson(problem)) : `error: ${formatError(problem)}`);
  }
  return isReflexarcError(error, 'bad_config') ? EXIT.usage : EXIT.finding;
}
