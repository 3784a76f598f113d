import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import type { DockerConfig } from '../core/config/reflexarc.ts';

/** Whether there is a Docker Engine to watch: `auto` looks for its socket, once. */
export function dockerWanted(config: DockerConfig, log: Logger): boolean {
  if (config.enabled !== 'auto') return config.enabled;
  if (!config.host.startsWith('unix://')) return true;
  const socket = config.host.slice('unix://'.length);
  if (existsSync(socket)) return true;
  log.info({ component: 'docker' }, `no Docker Engine: there is no ${socket}`);
  return false;
}
