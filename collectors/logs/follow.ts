import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import type { OutputLine, RuntimeReader } from '../../core/contracts/runtime.ts';
import { isReflexarcError } from '../../core/errors.ts';
import { detectLevel } from '../../core/level.ts';
import { sourceId } from '../../core/records/codec.ts';
import type { Telemetry } from '../../core/service.ts';
import { formatRfc3339, normalizeRfc3339, parseRfc3339 } from '../../core/time.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Lane } from '../output/output.ts';
import { isAfter, microsToNanos, Positions, STEP_BACK } from '../positions.ts';
import type { Streams } from '../streams.ts';
import { cutAt } from '../tail/lines.ts';
import type { LogWriter } from '../tail/writer.ts';
import type { Runs } from './runs.ts';

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 30_000;
/** What is gathered while a publish is under way. */
const GATHERED = 500;

const followCheckpoint = z.object({
  position: z.tuple([z.number(), z.number()]),
  /** Microseconds since the epoch from which on it must be read again. */
  since: z.number(),
});
type FollowCheckpoint = z.output<typeof followCheckpoint>;

export interface FollowDeps {
  readonly id: string;
  readonly source: string;
  readonly key: string;
  readonly runtime: RuntimeReader;
  readonly telemetry: Telemetry;
  readonly measures: Measures;
  readonly checkpoints: Checkpoints;
  readonly lane: Lane;
  readonly writer: LogWriter;
  readonly streams: () => Streams;
  readonly runs: Runs;
  /** Resolves when `runs` knows more. */
  readonly changed: () => Promise<void>;
  readonly maxLine: number;
}

interface Piece {
  readonly timestamp: string;
  readonly micros: number;
  readonly start: string | undefined;
  readonly kept: Buffer[];
  bytes: number;
  total: number;
}

/**
 * An instance's output through its engine's API, for logs that are in no file within reach. Resumed
 * by time, from a little before the checkpoint; what was published already is told by its position.
 */
export class Follow {
  readonly #deps: FollowDeps;
  readonly #abort = new AbortController();
  readonly #of: { readonly source: string; readonly generation: string };
  readonly #id: string;
  readonly #pieces = new Map<OutputLine['stream'], Piece>();
  #positions = new Positions();
  #newest: readonly [number, number] | undefined;
  #durable: FollowCheckpoint | undefined;
  #gathered = 0;
  /** Resolves when the instance is gone and the bus has all of its output, or on `stop`. */
  readonly finished: Promise<void>;

  constructor(deps: FollowDeps) {
    this.#deps = deps;
    this.#of = { source: deps.source, generation: 'api' };
    this.#id = sourceId(deps.source, 'api');
    this.finished = this.#run();
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { checkpoints, id, key, lane, measures, runtime, telemetry } = this.#deps;
    const { signal } = this.#abort;
    this.#durable = await checkpoints.read(key, followCheckpoint);
    this.#newest = this.#durable?.position;
    let failed = false;
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      // Also within one process: what was read and is not durable yet is not read again.
      const since = this.#since();
      this.#positions = new Positions();
      this.#pieces.clear();
      try {
        const from = since === undefined ? undefined : microsToNanos(since) - STEP_BACK;
        for await (const line of runtime.follow(id, from, signal)) {
          if (failed) telemetry.log.info({ container: id }, 'log is followed again');
          failed = false;
          pause = FIRST_PAUSE;
          await this.#take(line);
          if (signal.aborted) return;
        }
        if (signal.aborted) return;
        this.#flush();
        this.#send();
        const all = Promise.withResolvers<void>();
        lane.push({ topic: 'logs', values: [], done: all.resolve });
        await all.promise;
        return;
      } catch (error) {
        if (signal.aborted) return;
        const code = isReflexarcError(error) ? error.code : 'internal';
        measures.readErrors.inc({ kind: 'api', code });
        if (!failed) telemetry.log.warn({ err: error, container: id }, 'cannot follow log');
        failed = true;
        await telemetry.clock.sleep(pause, signal).catch(() => undefined);
      }
    }
  }

  #since(): number | undefined {
    let since = this.#newest?.[0];
    for (const { micros } of this.#pieces.values()) since = Math.min(since ?? micros, micros);
    return since === undefined
      ? this.#durable?.since
      : Math.min(since, this.#durable?.since ?? since);
  }

  async #take(line: OutputLine): Promise<void> {
    const { lane, measures, runs, changed } = this.#deps;
    const time = parseRfc3339(line.timestamp);
    if (time === undefined) {
      measures.dropped.inc({ reason: 'no_time' });
      this.#deps.telemetry.log.warn({ time: line.timestamp }, 'a followed line has no time');
      return;
    }
    const position = this.#positions.next(time);
    const timestamp = normalizeRfc3339(line.timestamp) ?? formatRfc3339(time);
    let start = runs.at(timestamp);
    while (start === 'wait' && !this.#abort.signal.aborted) {
      this.#send();
      await changed();
      start = runs.at(timestamp);
    }
    measures.bytes.inc({ kind: 'api' }, line.data.byteLength);
    const known = this.#pieces.get(line.stream);
    const piece = known ?? {
      timestamp,
      micros: position[0],
      start,
      kept: [],
      bytes: 0,
      total: 0,
    };
    this.#keep(piece, line.data);
    if (line.partial) {
      this.#pieces.set(line.stream, piece);
      return;
    }
    this.#pieces.delete(line.stream);
    this.#write(line.stream, piece, position);
    if (lane.full) {
      this.#send();
      await lane.room();
    } else if (!lane.busy || this.#gathered >= GATHERED) this.#send();
  }

  /** Bounded: beyond the limit bytes are only counted. */
  #keep(piece: Piece, data: Uint8Array): void {
    piece.total += data.byteLength;
    const room = this.#deps.maxLine + 4 - piece.bytes;
    if (room <= 0) return;
    const part = Buffer.from(data.subarray(0, room));
    piece.kept.push(part);
    piece.bytes += part.length;
  }

  #write(output: OutputLine['stream'], piece: Piece, position: readonly [number, number]): void {
    if (!isAfter(position, this.#newest)) {
      this.#deps.measures.redelivered.inc({ reason: 'resumed' });
      return;
    }
    const { maxLine, measures, streams, writer } = this.#deps;
    let bytes = Buffer.concat(piece.kept);
    if (bytes.length > maxLine) bytes = bytes.subarray(0, cutAt(bytes, 0, maxLine));
    if (!isUtf8(bytes)) measures.invalidUtf8.inc({ kind: 'api' });
    const cut = piece.total - bytes.length;
    const text = bytes.toString();
    const line = cut === 0 && text.endsWith('\r') ? text.slice(0, -1) : text;
    const stream = streams().get(this.#of, output, detectLevel(line), piece.start);
    writer.line(piece.timestamp, this.#id, position, line, stream, cut);
    this.#newest = position;
    this.#gathered++;
  }

  /** Unfinished lines of an instance that is gone. */
  #flush(): void {
    for (const [output, piece] of this.#pieces) {
      this.#write(output, piece, this.#positions.next(microsToNanos(piece.micros)));
    }
    this.#pieces.clear();
  }

  #send(): void {
    const { checkpoints, key, lane, writer } = this.#deps;
    const position = this.#newest;
    if (writer.empty || position === undefined) return;
    this.#gathered = 0;
    let since = position[0];
    for (const { micros } of this.#pieces.values()) since = Math.min(since, micros);
    const { values } = writer.take();
    lane.push({
      topic: 'logs',
      values,
      done: () => {
        this.#durable = { position: [...position], since };
        checkpoints.write(key, () => this.#durable);
        // What came meanwhile, unless the loop is at it.
        if (!this.#abort.signal.aborted) this.#send();
      },
    });
  }
}
