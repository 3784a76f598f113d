import type { Clock } from '../../core/clock.ts';
import { detectLevel } from '../../core/level.ts';
import { lineId } from '../../core/records/codec.ts';
import { formatRfc3339, normalizeRfc3339 } from '../../core/time.ts';
import type { Runs } from '../logs/runs.ts';
import type { Streams } from '../streams.ts';
import type { Framer, TailedFile } from './framer.ts';
import type { LogWriter } from './writer.ts';

export interface JsonFileOptions {
  readonly writer: LogWriter;
  readonly streams: () => Streams;
  readonly runs: Runs;
  readonly clock: Clock;
  readonly maxLine: number;
}

const OUTPUTS = ['stdout', 'stderr'] as const;
type Output = (typeof OUTPUTS)[number];

/** A line of which the end is still to come: Docker cuts lines into pieces of 16 KiB. */
interface Piece {
  readonly output: Output;
  readonly time: string;
  readonly start: string | undefined;
  text: string;
  /** Bytes that are not kept in `text`. */
  cut: number;
  readonly file: TailedFile;
  readonly offset: number;
  /** Where the newest piece is. A joined line's position is its last piece's, so that they rise. */
  lastFile: TailedFile;
}

const DEAD_LETTER_CHARS = 8192;

/**
 * Docker's json-file log: `{"log":"text\n","stream":"stdout","time":"…"}` a line.
 * https://docs.docker.com/engine/logging/drivers/json-file/
 */
export function jsonFileFramer(options: JsonFileOptions): Framer {
  const { writer, streams, runs, clock, maxLine } = options;
  const pieces = new Map<Output, Piece>();

  function write(
    file: TailedFile,
    position: number,
    time: string,
    text: string,
    cut: number,
    output: Output,
    start: string | undefined,
  ): void {
    const stream = streams().get(file, output, detectLevel(text), start);
    writer.line(time, file.id, position, text, stream, cut);
  }

  /** Gives out unfinished lines whose rest will not come; the next line begins at `end`. */
  function close(file: TailedFile, end: number, over: (piece: Piece) => boolean): void {
    // The positions lie within the line read last: above all given out, below all to come.
    for (const [index, output] of OUTPUTS.entries()) {
      const piece = pieces.get(output);
      if (piece === undefined || !over(piece)) continue;
      pieces.delete(output);
      const last = piece.lastFile;
      const position = Math.max(0, (last === file ? end : last.offset) - OUTPUTS.length + index);
      write(last, position, piece.time, piece.text, piece.cut, output, piece.start);
    }
  }

  return {
    line(text, offset, cut, file) {
      const plain = pieces.size === 0 && cut === 0 ? scanEntry(text, maxLine) : undefined;
      if (plain !== undefined) {
        const start = runs.at(plain.time);
        if (start === 'wait') return false;
        const stream = streams().get(file, plain.output, detectLevel(plain.head), start);
        writer.raw(plain.time, file.id, offset, plain.json, stream);
        return true;
      }
      const entry = cut === 0 ? parseEntry(text) : undefined;
      if (entry === undefined) {
        const reason =
          cut === 0
            ? 'not a line of a json-file log: expected an object with log, stream and time'
            : `a json-file line longer than any that Docker writes: ${text.length + cut} bytes`;
        writer.dead(
          formatRfc3339(clock.nowNanos()),
          {
            source: file.source,
            id: lineId(file.id, offset),
            line: text.slice(0, DEAD_LETTER_CHARS),
            stream: streams().get(file, 'dead-letters', 'error', undefined),
            file: file.path,
            offset,
          },
          reason,
        );
        return true;
      }
      const start = runs.at(entry.time);
      if (start === 'wait') return false;
      const { output } = entry;
      // A run's last line may lack its line break; the next run's output is no continuation.
      if (pieces.size > 0) close(file, offset, (piece) => piece.start !== start);
      const { log } = entry;
      const complete = log.charCodeAt(log.length - 1) === 10;
      const piece = pieces.get(output);
      if (complete && piece === undefined) {
        const trimmed = trim(log);
        if (trimmed.length * 3 <= maxLine) {
          write(file, offset, entry.time, trimmed, 0, output, start);
        } else {
          const [kept, lost] = limit(trimmed, maxLine);
          write(file, offset, entry.time, kept, lost, output, start);
        }
        return true;
      }
      const joined = piece ?? {
        output,
        time: entry.time,
        start,
        text: '',
        cut: 0,
        file,
        offset,
        lastFile: file,
      };
      if (piece === undefined) pieces.set(output, joined);
      joined.lastFile = file;
      add(joined, complete ? trim(log) : log, maxLine);
      if (complete) {
        pieces.delete(output);
        write(file, offset, joined.time, joined.text, joined.cut, output, start);
      }
      return true;
    },
    over: () => pieces.size > 0 && pieces.values().every((piece) => runs.isOver(piece.start)),
    takesRest: false,
    low(file) {
      let low: number | undefined;
      for (const piece of pieces.values()) {
        if (piece.file === file && (low === undefined || piece.offset < low)) low = piece.offset;
      }
      return low;
    },
    flush(file) {
      close(file, file.offset, () => true);
    },
  };
}

function trim(log: string): string {
  const end = log.length - 1;
  // A container with a terminal ends its lines with CRLF.
  return log.slice(0, log.charCodeAt(end - 1) === 13 ? end - 1 : end);
}

function add(piece: Piece, text: string, maxLine: number): void {
  if (piece.cut > 0) {
    piece.cut += Buffer.byteLength(text);
    return;
  }
  const whole = piece.text + text;
  if (whole.length * 3 <= maxLine) {
    piece.text = whole;
    return;
  }
  [piece.text, piece.cut] = limit(whole, maxLine);
}

/** The part of a text that has `max` bytes, and how many bytes are lost. */
function limit(text: string, max: number): [kept: string, lost: number] {
  const bytes = Buffer.byteLength(text);
  if (bytes <= max) return [text, 0];
  const buffer = Buffer.from(text);
  let at = max;
  while (at > 0 && ((buffer[at] ?? 0) & 0xc0) === 0x80) at--;
  return [buffer.toString('utf8', 0, at), bytes - at];
}

interface Entry {
  readonly log: string;
  readonly output: Output;
  readonly time: string;
}

const LOG = '{"log":"';
const STREAM = '","stream":"std';
/** `…out","time":"2026-01-02T03:04:05.123456789Z"}`, nine digits or fewer. */
const REST = /^(out|err)","time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z)"\}$/;
/** The inside of a JSON string: nothing else may be passed on as it is. */
const PLAIN_CHARS = String.raw`[^"\\\x00-\x1f]*`;
const STRING_BODY = new RegExp(
  String.raw`^${PLAIN_CHARS}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})${PLAIN_CHARS})*$`,
);
const HEAD = 300;

/**
 * A whole line in exactly the form that Docker writes, without decoding it: its text is passed on
 * as the JSON that it is. Undefined: look closer.
 */
function scanEntry(
  text: string,
  maxLine: number,
): { json: string; head: string; output: Output; time: string } | undefined {
  if (!text.startsWith(LOG)) return undefined;
  // Within the log's own text quotes are escaped: the first match is its end.
  const end = text.indexOf(STREAM, LOG.length) - 2;
  if (end < LOG.length || !text.startsWith('\\n', end) || 3 * end > maxLine) return undefined;
  const rest = REST.exec(text.slice(end + 2 + STREAM.length));
  const time = rest?.[2] === undefined ? undefined : engineTime(rest[2]);
  if (time === undefined) return undefined;
  const body = text.slice(LOG.length, end);
  // `\r` before the end belongs to the line break; `\\n` there would be a backslash and an n.
  if (body.endsWith('\\r') || body.endsWith('\\') || !STRING_BODY.test(body)) return undefined;
  let head = body;
  if (body.includes('\\')) {
    let cut = Math.min(HEAD, body.length);
    // Not within an escape: six characters at most.
    if (cut < body.length) {
      const escape = body.lastIndexOf('\\', cut - 1);
      if (escape > cut - 6) cut = body.charAt(escape - 1) === '\\' ? escape - 1 : escape;
    }
    try {
      head = JSON.parse(`"${body.slice(0, cut)}"`) as string;
    } catch {
      return undefined;
    }
  }
  return { json: `"${body}"`, head, output: rest?.[1] === 'err' ? 'stderr' : 'stdout', time };
}

function parseEntry(text: string): Entry | undefined {
  let parsed: { log?: unknown; stream?: unknown; time?: unknown } | null;
  try {
    parsed = JSON.parse(text) as { log?: unknown; stream?: unknown; time?: unknown } | null;
  } catch {
    return undefined;
  }
  const log = parsed?.log;
  const given = parsed?.time;
  if (typeof log !== 'string' || typeof given !== 'string') return undefined;
  const time = engineTime(given);
  if (time === undefined) return undefined;
  return { log, output: parsed?.stream === 'stderr' ? 'stderr' : 'stdout', time };
}

/** Docker leaves out a fraction's trailing zeros; adding them needs no arithmetic. */
function engineTime(given: string): string | undefined {
  const { length } = given;
  const padded =
    length < 30 && length > 20 && given.charCodeAt(19) === 46 && given.endsWith('Z')
      ? `${given.slice(0, -1).padEnd(29, '0')}Z`
      : given;
  return normalizeRfc3339(padded);
}
