import { Option } from 'commander';
import { DEFAULT_SERVER } from './commands/client.ts';
import { OUTPUTS } from './commands/print.ts';

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

export const healthOption = (): Option =>
  new Option(
    '--listen <host:port>',
    'address of /healthz, /readyz and /metrics (default: none)',
  ).env('REFLEXARC_LISTEN');

export const logLevelOption = (): Option =>
  new Option('--log-level <level>', 'how much is logged')
    .env('REFLEXARC_LOG_LEVEL')
    .choices(LOG_LEVELS)
    .default('info');

export const jsonOption = (what: string): Option => new Option('--json', what);

export const serverOption = (): Option =>
  new Option('--server <url>', 'a running Reflexarc')
    .env('REFLEXARC_SERVER')
    .default(DEFAULT_SERVER);

export const tokenOption = (): Option =>
  new Option('--token <token>', "bearer token (else the environment's REFLEXARC_TOKEN)");

export const outputOption = (): Option =>
  new Option('-o, --output <form>', 'how it is printed').choices(OUTPUTS);
