import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type ReflexarcConfig, reflexarcSchema } from '../core/config/reflexarc.ts';
import { type Loaded, loadYaml } from '../core/config/yaml.ts';
import { messageOf, ReflexarcError } from '../core/errors.ts';

// As problems name it: `--dir` is known to whoever reads them.
const FILE = 'reflexarc.yaml';

/** The folder that `--dir` names, as an absolute path. @throws bad_config when it is none. */
export function resolveDir(dir: string): string {
  const path = resolve(dir);
  if (!existsSync(path)) {
    throw new ReflexarcError('bad_config', `there is no folder ${path}`, {
      hint: 'create it, or name another with --dir; it may be empty',
    });
  }
  if (!statSync(path).isDirectory()) throw new ReflexarcError('bad_config', `${path} is no folder`);
  return path;
}

/** `reflexarc.yaml`, or all defaults where there is none. @throws ConfigError, bad_config */
export function loadConfig(
  dir: string,
  env: Readonly<Record<string, string | undefined>>,
): ReflexarcConfig {
  return loadConfigFile(dir, env).value;
}

/** As `loadConfig`, with where each field stands. */
export function loadConfigFile(
  dir: string,
  env: Readonly<Record<string, string | undefined>>,
): Loaded<ReflexarcConfig> {
  const path = join(dir, FILE);
  if (!existsSync(path)) return loadYaml(reflexarcSchema, '', FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ReflexarcError('bad_config', `cannot read ${path}: ${messageOf(cause)}`, {
      cause,
      hint: 'this user must be allowed to read it',
    });
  }
  return loadYaml(reflexarcSchema, text, FILE, { env });
}
