import { formatError } from '../../core/errors.ts';
import { loadConfig, resolveDir } from '../config.ts';
import { EXIT } from '../exit.ts';
import { createLogger } from '../logger.ts';
import { reportProblems } from '../problems.ts';
import { type Running, run } from '../run.ts';
import type { ServiceName } from '../services.ts';
import { stopOnSignals } from '../signals.ts';

export interface UpOptions {
  readonly dir: string;
  readonly listen?: string;
  readonly logLevel: string;
  readonly json?: boolean;
}

/** Runs the services until a signal. Exit code 2: a file or an option is wrong; 1: it cannot start. */
export async function up(services: readonly ServiceName[], options: UpOptions): Promise<number> {
  const log = createLogger(options.logLevel, options.json === true);
  let running: Running;
  let dir: string;
  try {
    dir = resolveDir(options.dir);
    const config = loadConfig(dir, process.env);
    running = await run({
      dir,
      config,
      log,
      env: process.env,
      services: new Set(services),
      ...(options.listen === undefined ? {} : { listen: options.listen }),
    });
  } catch (error) {
    const code = reportProblems(error, options.json === true);
    log.debug({ err: error }, formatError(error));
    return code;
  }
  log.info(
    { url: running.url, dir, services },
    `up${running.url === undefined ? '' : ` on ${running.url}`}`,
  );
  await stopOnSignals(running, log);
  return EXIT.ok;
}
