import pino, { type Logger } from 'pino';
import pretty from 'pino-pretty';

/** Pretty on a terminal, JSON lines elsewhere or where asked for; always to standard error. */
export function createLogger(level: string, json: boolean): Logger {
  const options = {
    level,
    base: null,
    // Secrets have no business in a log, however they got into an object that is logged.
    redact: {
      paths: ['token', '*.token', 'authorization', '*.authorization'],
      censor: '[redacted]',
    },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (json || !process.stderr.isTTY)
    return pino(options, pino.destination({ dest: 2, sync: true }));
  return pino(
    options,
    pretty({
      destination: 2,
      sync: true,
      colorize: process.env['NO_COLOR'] === undefined,
      translateTime: 'SYS:HH:MM:ss.l',
      ignore: 'component',
      messageFormat: '{if component}{component}: {end}{msg}',
    }),
  );
}
