import './threads.ts';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { formatError } from '../core/errors.ts';
import { EXIT } from './exit.ts';
import {
  dirOption,
  healthOption,
  jsonOption,
  listenOption,
  logLevelOption,
  outputOption,
  serverOption,
  tokenOption,
} from './options.ts';
import { SERVICES, type ServiceName } from './services.ts';

/** The command line. Commands are loaded when they are called, so that --help is quick. */

interface Package {
  readonly version: string;
}
const { version } = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'),
) as Package;

const finish = (code: number): void => {
  process.exitCode = code;
};

const program = new Command('reflexarc')
  .description('Centralized logging and monitoring that heals what it watches.')
  .version(version)
  .showHelpAfterError('(--help tells more)')
  .addHelpText(
    'after',
    `
Exit codes: 0 all is well, 1 something was found or failed, 2 the command line or a file is wrong.

Examples:
  reflexarc demo                     watch three services break and be healed
  reflexarc up --dir /etc/reflexarc  watch this machine's containers
  reflexarc check --dir .            validate every file
  reflexarc query '{service="web"} |= "timeout"' --since 1h
  reflexarc tail '{level="error"}'`,
  )
  .exitOverride();

const runCommand = (name: string, description: string, services: readonly ServiceName[]): void => {
  program
    .command(name)
    .description(description)
    .addOption(dirOption())
    .addOption(services.includes('serve') ? listenOption() : healthOption())
    .addOption(logLevelOption())
    .addOption(jsonOption('log JSON lines, also on a terminal'))
    .action(async (options) => {
      const { up } = await import('./commands/up.ts');
      // All is closed: no timer or connection that is left over may hold it up.
      process.exit(await up(services, options));
    });
};

runCommand('up', 'run everything in one process, on the embedded engines', SERVICES);
const ONE: readonly (readonly [name: string, service: ServiceName, what: string])[] = [
  ['collect', 'collect', 'read logs, events and metrics, and put them on the bus'],
  ['ingest', 'ingest', 'write from the bus to the store'],
  ['alert', 'alert', 'evaluate rules on the stream and notify'],
  ['remediate', 'remediate', 'act on alerts'],
  ['serve', 'serve', 'answer the HTTP API'],
];
for (const [name, service, what] of ONE) runCommand(name, `one service alone: ${what}`, [service]);

program
  .command('check')
  .description('validate reflexarc.yaml, rules/*.yaml, notify.yaml and remediations.yaml')
  .addOption(dirOption())
  .addOption(jsonOption('one JSON object a problem'))
  .action(async (options) => {
    const { check } = await import('./commands/check.ts');
    finish(await check(options));
  });

program
  .command('query')
  .description(
    'ask a running server: LogQL if it begins with { or can be nothing else, else PromQL',
  )
  .argument('<query>', 'as in \'{service="web"} |= "timeout"\'')
  .addOption(serverOption())
  .addOption(tokenOption())
  .option('--since <duration>', 'this long back from --to (lines: 1h)')
  .option('--from <time>', 'RFC 3339, or seconds or nanoseconds since the epoch')
  .option('--to <time>', 'likewise (default: now)')
  .option('--step <duration>', 'of metric queries over a time')
  .option('--limit <n>', 'lines at most; 0: all', '100')
  .option('--batch <n>', 'lines asked for at a time')
  .option('--forward', 'oldest first')
  .option('--logql', 'it is LogQL, whatever it begins with')
  .option('--promql', 'it is PromQL, whatever it begins with')
  .addOption(outputOption())
  .addOption(jsonOption('the same as --output json'))
  .action(async (text: string, options) => {
    const { query } = await import('./commands/query.ts');
    finish(await query({ ...options, query: text }));
  });

program
  .command('tail')
  .description('print lines as they pass on a running server')
  .argument('<query>', 'a LogQL log query, as in \'{level="error"}\'')
  .addOption(serverOption())
  .addOption(tokenOption())
  .addOption(outputOption())
  .addOption(jsonOption('the same as --output json'))
  .action(async (text: string, options) => {
    const { tail } = await import('./commands/tail.ts');
    finish(await tail({ ...options, query: text }));
  });

program
  .command('demo')
  .description('three services as local processes; each breaks in its own way and is healed')
  .addOption(listenOption().default('127.0.0.1:0'))
  .addOption(logLevelOption().default('warn'))
  .option('--keep', 'stay up afterwards, so that the history can be queried')
  .addOption(jsonOption('one JSON object a step'))
  .addHelpText('after', '\nWhat else there is: npx reflexarc --help')
  .action(async (options) => {
    const { demo } = await import('./demo/demo.ts');
    finish(await demo(options));
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed it; help and version are no failure.
    finish(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
  } else {
    console.error(`error: ${formatError(error)}`);
    finish(EXIT.finding);
  }
}
