import { parseLokiTime } from '../../api/params.ts';
import type { Clock } from '../../core/clock.ts';
import { systemClock } from '../../core/clock.ts';
import { parseDuration } from '../../core/durations.ts';
import { formatError, isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import { formatLabels, type Labels } from '../../core/labels.ts';
import { formatMillis, type Nanos } from '../../core/time.ts';
import { parseLogQL } from '../../lang/logql/parse.ts';
import { parsePromQL } from '../../lang/promql/parse.ts';
import { EXIT } from '../exit.ts';
import { Client, type ClientOptions } from './client.ts';
import {
  formatTable,
  type Io,
  OUTPUTS,
  type Output,
  Printer,
  processIo,
  type Row,
} from './print.ts';

/** `reflexarc query`, as the command line gives it. */
export interface QueryOptions extends ClientOptions {
  /** LogQL if it begins with `{` or is no PromQL but LogQL, else PromQL; `logql` and `promql` say it outright. */
  readonly query: string;
  readonly logql?: boolean;
  readonly promql?: boolean;
  /** A duration back from `to`; an hour if nothing is said. */
  readonly since?: string;
  /** RFC 3339, or seconds or nanoseconds since the epoch. */
  readonly from?: string;
  readonly to?: string;
  /** Of metric queries: a duration or seconds. It makes the query one over a time. */
  readonly step?: string;
  /** Lines at most; 0: all. */
  readonly limit?: string | number;
  /** Lines that are asked for at a time; less where the server's query.max_lines is less. */
  readonly batch?: string | number;
  readonly forward?: boolean;
  readonly output?: string;
  /** The same as output `json`. */
  readonly json?: boolean;
  readonly io?: Io;
  readonly clock?: Clock;
}

const DEFAULT_LIMIT = 100;
const DEFAULT_BATCH = 1000;
const HOUR = 3_600_000;
/** How a refusal of Loki, or of ours, over the number of lines begins. */
const TOO_MANY = 'max entries limit per query exceeded';

/**
 * Asks a running server and prints what it answers: lines, or a table of values. A metric query is
 * evaluated at one time, `to`; over a time if since, from or step is given.
 *
 * @returns 0 also when nothing was found, as logcli does; 1 when the server cannot be reached or
 * refuses; 2 when the command line or the query is wrong
 */
export async function query(options: QueryOptions): Promise<number> {
  const io = options.io ?? processIo();
  const leave = new AbortController();
  const printer = new Printer(io, () => leave.abort());
  try {
    const request = readOptions(options);
    const client = new Client(options, io.env);
    if (request.language === 'logql' && request.query.trimStart().startsWith('{')) {
      await printLogs(client, request, printer, leave.signal);
    } else await printValues(client, request, printer, leave.signal);
    return EXIT.ok;
  } catch (error) {
    if (printer.closed) return EXIT.ok;
    printer.say(`error: ${formatError(error)}`);
    return isReflexarcError(error, 'bad_request') || isReflexarcError(error, 'bad_query')
      ? EXIT.usage
      : EXIT.finding;
  } finally {
    printer.done();
  }
}

interface Request {
  readonly query: string;
  readonly language: 'logql' | 'promql';
  readonly start: Nanos;
  readonly end: Nanos;
  /** A metric query over a time rather than at one. */
  readonly range: boolean;
  readonly step: string | undefined;
  readonly limit: number;
  readonly batch: number;
  readonly direction: 'forward' | 'backward';
  readonly output: Output;
}

/** @throws bad_request */
function readOptions(options: QueryOptions): Request {
  if (options.logql === true && options.promql === true) {
    throw usage('--logql and --promql exclude each other');
  }
  if (options.since !== undefined && options.from !== undefined) {
    throw usage('--since and --from exclude each other');
  }
  if (options.query.trim() === '') throw usage('the query is empty');
  const output = options.json === true ? 'json' : (options.output ?? 'default');
  if (!isOutput(output)) throw usage(`--output is one of ${OUTPUTS.join(', ')}, not ${output}`);
  const logs = options.query.trimStart().startsWith('{') && options.promql !== true;
  const clock = options.clock ?? systemClock;
  const end = options.to === undefined ? clock.nowNanos() : time('--to', options.to);
  const start =
    options.from === undefined
      ? end - BigInt(options.since === undefined ? HOUR : since(options.since)) * 1_000_000n
      : time('--from', options.from);
  if (start > end) throw usage('--from is after --to');
  return {
    query: options.query,
    language: logs || options.logql === true || isOnlyLogql(options) ? 'logql' : 'promql',
    start,
    end,
    range: options.since !== undefined || options.from !== undefined || options.step !== undefined,
    step: options.step,
    limit: count('--limit', options.limit, 0) ?? DEFAULT_LIMIT,
    batch: count('--batch', options.batch, 1) ?? DEFAULT_BATCH,
    direction: options.forward === true ? 'forward' : 'backward',
    output,
  };
}

/** Metric queries of both look alike; what cannot be told apart is PromQL. */
function isOnlyLogql({ query: text, promql }: QueryOptions): boolean {
  return promql !== true && !parses(parsePromQL, text) && parses(parseLogQL, text);
}

function parses(parse: (text: string) => unknown, text: string): boolean {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}

const usage = (message: string, cause?: unknown): ReflexarcError =>
  new ReflexarcError('bad_request', message, { cause });

const isOutput = (text: string): text is Output => (OUTPUTS as readonly string[]).includes(text);

function time(option: string, text: string): Nanos {
  const nanos = parseLokiTime(text);
  if (nanos === undefined) {
    throw usage(`${option} ${JSON.stringify(text)} is no time: RFC 3339, or since the epoch`);
  }
  return nanos;
}

function since(text: string): number {
  try {
    return parseDuration(text);
  } catch (cause) {
    throw usage(`--since ${JSON.stringify(text)}: ${messageOf(cause)}`, cause);
  }
}

function count(option: string, text: string | number | undefined, min: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < min || String(text).trim() === '') {
    throw usage(`${option} ${JSON.stringify(text)} is no whole number from ${min}`);
  }
  return value;
}

/** Lines, page by page, so that a limit of any size works. */
async function printLogs(
  client: Client,
  request: Request,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  const { direction, limit, output } = request;
  const wanted = limit === 0 ? Number.POSITIVE_INFINITY : limit;
  let { start, end, batch } = request;
  let printed = 0;
  // The next page begins with the last one's last time again: which of its lines were printed.
  let edge: Nanos | undefined;
  let seen = new Map<string, number>();
  while (!printer.closed) {
    const known = seen.values().reduce((sum, times) => sum + times, 0);
    // One more than wanted tells whether the limit cuts.
    const size = Math.min(batch, wanted - printed + known + 1);
    let page: Row[];
    try {
      page = await client.json(
        '/loki/api/v1/query_range',
        {
          query: request.query,
          start: String(start),
          end: String(end),
          limit: String(size),
          direction,
        },
        (body) => rowsOf(body, direction),
        signal,
      );
    } catch (error) {
      // Which limit the server has, only its refusal tells, in Loki's words.
      if (size === 1 || !messageOf(error).startsWith(TOO_MANY)) throw error;
      batch = Math.floor(size / 2);
      continue;
    }
    const skip = new Map(seen);
    let fresh = 0;
    for (const row of page) {
      const key = `${formatLabels(row.labels)}\n${row.line}`;
      if (row.time === edge) {
        const left = skip.get(key) ?? 0;
        if (left > 0) {
          skip.set(key, left - 1);
          continue;
        }
      } else {
        edge = row.time;
        seen = new Map();
      }
      if (printed === wanted) {
        const which = direction === 'backward' ? 'newest' : 'oldest';
        printer.say(
          `only the ${which} ${printed} lines are shown, there are more: --limit says how many, 0 all`,
        );
        return;
      }
      seen.set(key, (seen.get(key) ?? 0) + 1);
      await printer.row(row, output);
      printed++;
      fresh++;
    }
    if (page.length < size || edge === undefined) break;
    if (fresh === 0) {
      throw new ReflexarcError(
        'limit_exceeded',
        `more than ${size} lines have the same time: what comes after them cannot be asked for`,
        { hint: 'raise --batch, or select fewer streams' },
      );
    }
    if (direction === 'backward') end = edge + 1n;
    else start = edge;
  }
  if (printed === 0) printer.say('nothing found');
}

interface StreamsBody {
  readonly data?: {
    readonly resultType?: string;
    readonly result?: readonly {
      readonly stream: Labels;
      readonly values: readonly (readonly [string, string])[];
    }[];
  };
}

function rowsOf(body: unknown, direction: 'forward' | 'backward'): Row[] | undefined {
  const { data } = body as StreamsBody;
  if (data?.resultType !== 'streams' || data.result === undefined) return undefined;
  const rows = data.result.flatMap(({ stream, values }) =>
    values.map(([nanos, line]) => ({ time: BigInt(nanos), labels: stream, line })),
  );
  const sign = direction === 'forward' ? 1 : -1;
  return rows.sort((a, b) => (a.time === b.time ? 0 : a.time < b.time ? -sign : sign));
}

type Point = readonly [seconds: number, value: string];

interface ValuesData {
  readonly resultType: 'vector' | 'matrix' | 'scalar' | 'string';
  readonly result:
    | Point
    | readonly {
        readonly metric: Labels;
        readonly value?: Point;
        readonly values?: readonly Point[];
      }[];
}

async function printValues(
  client: Client,
  request: Request,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  const { language, range, start, end, output } = request;
  const at = (nanos: Nanos): string =>
    language === 'logql' ? String(nanos) : String(Number(nanos / 1_000_000n) / 1000);
  const base = language === 'logql' ? '/loki/api/v1' : '/api/v1';
  const data = await client.json(
    `${base}/${range ? 'query_range' : 'query'}`,
    range
      ? {
          query: request.query,
          start: at(start),
          end: at(end),
          step: request.step ?? step(start, end),
        }
      : { query: request.query, time: at(end) },
    (body) => {
      const { data: found } = body as { data?: ValuesData };
      return found !== undefined && Array.isArray(found.result) ? found : undefined;
    },
    signal,
  );
  if (output === 'json') {
    await printer.print(JSON.stringify(data));
    return;
  }
  const points = pointsOf(data);
  if (points.length === 0) {
    printer.say('nothing found');
    return;
  }
  if (output === 'raw') {
    for (const { value } of points) await printer.print(value);
    return;
  }
  const rows = points.map(({ seconds, value, metric }) => [
    formatMillis(Math.round(seconds * 1000)),
    value,
    ...(metric === undefined ? [] : [nameOf(metric)]),
  ]);
  const head = points[0]?.metric === undefined ? ['TIME', 'VALUE'] : ['TIME', 'VALUE', 'SERIES'];
  for (const line of formatTable([head, ...rows])) await printer.print(line);
}

/** About 60 rows a series: a table is read by people. */
function step(start: Nanos, end: Nanos): string {
  return String(Math.max(1, Math.ceil(Number((end - start) / 1_000_000_000n) / 60)));
}

interface Value {
  readonly seconds: number;
  readonly value: string;
  readonly metric?: Labels;
}

function pointsOf({ resultType, result }: ValuesData): Value[] {
  if (resultType === 'scalar' || resultType === 'string') {
    const [seconds, value] = result as Point;
    return [{ seconds, value }];
  }
  const series = result as Exclude<ValuesData['result'], Point>;
  return series.flatMap(({ metric, value, values }) =>
    (values ?? (value === undefined ? [] : [value])).map(([seconds, text]) => ({
      seconds,
      value: text,
      metric,
    })),
  );
}

/** `up{job="node"}`, as Prometheus writes a series. */
function nameOf(metric: Labels): string {
  const { __name__: name = '', ...labels } = metric;
  return name !== '' && Object.keys(labels).length === 0 ? name : `${name}${formatLabels(labels)}`;
}
