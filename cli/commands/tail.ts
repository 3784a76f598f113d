import type { Clock } from '../../core/clock.ts';
import { systemClock } from '../../core/clock.ts';
import { formatError, isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import { EXIT } from '../exit.ts';
import { Client, type ClientOptions } from './client.ts';
import { type Io, OUTPUTS, type Output, Printer, processIo } from './print.ts';

/** `reflexarc tail`, as the command line gives it. */
export interface TailOptions extends ClientOptions {
  /** A LogQL log query. */
  readonly query: string;
  readonly output?: string;
  /** The same as output `json`. */
  readonly json?: boolean;
  /** Ends it; absent: SIGINT and SIGTERM do. */
  readonly signal?: AbortSignal;
  readonly io?: Io;
  readonly clock?: Clock;
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

/**
 * Prints lines as they pass, until it is stopped. A connection that is lost is made again after a
 * pause, with a message: what passed meanwhile is not shown.
 *
 * @returns 0 when it is stopped; 1 when the server could not be reached at first, or refuses; 2
 * when the command line or the query is wrong
 */
export async function tail(options: TailOptions): Promise<number> {
  const io = options.io ?? processIo();
  const clock = options.clock ?? systemClock;
  const left = new AbortController();
  const stopped = options.signal === undefined ? onSignals() : undefined;
  const given = options.signal ?? stopped?.signal;
  const signal = given === undefined ? left.signal : AbortSignal.any([given, left.signal]);
  const printer = new Printer(io, () => left.abort());
  try {
    const output = readOutput(options);
    const client = new Client(options, io.env);
    let pause = FIRST_PAUSE;
    for (let first = true; !signal.aborted; first = false) {
      try {
        const response = await client.get('/api/tail', { query: options.query }, signal);
        if (!first) printer.say('connected again; lines of the meantime are not shown');
        pause = FIRST_PAUSE;
        await follow(response, output, printer);
        if (!signal.aborted) printer.say(`${client.server} ended the tail; connecting again`);
      } catch (error) {
        if (signal.aborted) break;
        // What is wrong at first stays wrong; what was right once may come back.
        if (first || !isReflexarcError(error, 'unavailable')) throw error;
        printer.say(`${formatError(error)}; trying again in ${pause / 1000} s`);
      }
      if (!signal.aborted) await sleep(clock, pause, signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
    return EXIT.ok;
  } catch (error) {
    printer.say(`error: ${formatError(error)}`);
    return isReflexarcError(error, 'bad_request') || isReflexarcError(error, 'bad_query')
      ? EXIT.usage
      : EXIT.finding;
  } finally {
    stopped?.dispose();
    printer.done();
  }
}

function readOutput(options: TailOptions): Output {
  const text = options.json === true ? 'json' : (options.output ?? 'default');
  const output = OUTPUTS.find((one) => one === text);
  if (output === undefined) {
    throw new ReflexarcError(
      'bad_request',
      `--output is one of ${OUTPUTS.join(', ')}, not ${text}`,
    );
  }
  return output;
}

interface TailLine {
  readonly timestamp?: string;
  readonly labels?: Labels;
  readonly line?: string;
  /** Lines that were not sent, since this end was too slow. */
  readonly dropped?: number;
}

/** Resolves when the server ends the answer. @throws unavailable when the connection breaks */
async function follow(response: Response, output: Output, printer: Printer): Promise<void> {
  if (response.body === null) return;
  for await (const text of linesOf(response.body)) {
    const { timestamp, labels, line, dropped } = JSON.parse(text) as TailLine;
    if (dropped !== undefined) printer.say(`${dropped} lines left out: too many to print`);
    else if (timestamp !== undefined && labels !== undefined && line !== undefined) {
      await printer.row({ time: BigInt(timestamp), labels, line }, output);
    }
  }
}

/**
 * Lines that are not empty. Not with readline: it takes U+2028 for a line break, which JSON does
 * not escape.
 */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for await (const chunk of body) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) if (part !== '') yield part;
    }
  } catch (cause) {
    throw new ReflexarcError('unavailable', `the connection broke: ${messageOf(cause)}`, { cause });
  }
}

/** Keeps the process alive too, which a clock's timer does not. */
async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const alive = setInterval(() => undefined, 1 << 30);
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(alive);
  }
}

function onSignals(): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const names = ['SIGINT', 'SIGTERM'] as const;
  for (const name of names) process.once(name, stop);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of names) process.removeListener(name, stop);
    },
  };
}
