import { Option } from 'commander';

/** Options that several commands share; one place, so that they read the same everywhere. */

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const dirOption = (): Option =>
  new Option(
    '--dir <dir>',
    'folder with reflexarc.yaml, rules/, notify.yaml, remediations.yaml, data/',
  )
    .env('REFLEXARC_DIR')
    .default('.');

export const listenOption = (): Option =>
  new Option(
    '--listen <host:port>',
    'address of the HTTP API (default: reflexarc.yaml, else 127.0.0.1:4440)',
  ).env('REFLEXARC_LISTEN');

export const logLevelOption = (): Option =>
  new Option('--log-level <level>', 'how much is logged')
    .env('REFLEXARC_LOG_LEVEL')
    .choices(LOG_LEVELS)
    .default('info');

export const jsonOption = (what: string): Option => new Option('--json', what);
