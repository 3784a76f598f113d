import { readToken } from '../api/access.ts';
import { isLoopback, parseAddress } from '../api/listen.ts';
import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import type { Loaded } from '../core/config/yaml.ts';
import { isReflexarcError, ReflexarcError } from '../core/errors.ts';
import { parseHost } from '../engines/docker/client.ts';

/**
 * What a start would refuse of a file whose form is right: by the functions that would refuse it,
 * and with the place in the file.
 */
export async function unusable(file: Loaded<ReflexarcConfig>): Promise<readonly ReflexarcError[]> {
  const config = file.value;
  const problems: ReflexarcError[] = [];
  const attempt = async (
    path: readonly (string | number)[],
    use: () => unknown,
  ): Promise<boolean> => {
    try {
      await use();
      return true;
    } catch (error) {
      if (!isReflexarcError(error)) throw error;
      const { code, message, hint } = error;
      const place = { where: file.where(path), cause: error };
      problems.push(
        new ReflexarcError(code, message, hint === undefined ? place : { ...place, hint }),
      );
      return false;
    }
  };

  await attempt(['listen'], async () => {
    const { host } = parseAddress(config.listen);
    if (config.tokens.length > 0 || (await isLoopback(host))) return;
    throw new ReflexarcError(
      'bad_config',
      `listening on ${config.listen} would let others in without a token`,
      { hint: 'configure tokens, or listen on 127.0.0.1' },
    );
  });
  for (const [index, token] of config.tokens.entries()) {
    const key = token.token_file === undefined ? [] : ['token_file'];
    await attempt(['tokens', index, ...key], () => readToken(token, index));
  }
  const { docker } = config.sources;
  if (docker.enabled !== false) {
    await attempt(['sources', 'docker', 'host'], () => parseHost(docker.host));
  }
  return problems;
}
