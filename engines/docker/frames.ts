import type { OutputLine } from '../../core/contracts/runtime.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { normalizeRfc3339 } from '../../core/time.ts';

/** The engine's loggers cut what has no line break at this many bytes (moby, daemon/logger/copier.go). */
const PIECE = 16 * 1024;
/** Far above what any engine sends in one frame: more is a stream that is not what we take it for. */
const MOST = 16 * 1024 * 1024;

const SPACE = 0x20;
const BREAK = 0x0a;
const RETURN = 0x0d;

/**
 * Frames of eight bytes of head (stream, 0, 0, 0, length as big-endian) and a payload of
 * `timestamp SP line LF`; a piece of a line lacks the break (Docker API, "Attach to a container").
 *
 * @throws unavailable when the bytes are no such frames
 */
export async function* readFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<OutputLine> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length - at >= 8) {
      const kind = rest[at] ?? 0;
      const length = rest.readUInt32BE(at + 4);
      if (kind > 3 || length > MOST) throw notFrames();
      const end = at + 8 + length;
      if (rest.length < end) break;
      const payload = rest.subarray(at + 8, end);
      at = end;
      // 3 is an error of the engine's own, in words.
      if (kind === 3) {
        throw new ReflexarcError(
          'unavailable',
          `the Docker Engine stopped reading a log: ${payload.toString()}`,
        );
      }
      yield lineOf(kind === 2 ? 'stderr' : 'stdout', payload);
    }
    rest = rest.subarray(at);
  }
}

function lineOf(stream: OutputLine['stream'], payload: Buffer): OutputLine {
  const space = payload.indexOf(SPACE);
  const timestamp = normalizeRfc3339(payload.toString('latin1', 0, Math.max(0, space)));
  if (space === -1 || timestamp === undefined) throw notFrames();
  const broken = payload[payload.length - 1] === BREAK;
  const data = payload.subarray(space + 1, broken ? payload.length - 1 : payload.length);
  // The last piece of a line comes without its break from the driver `local`, and so does the last
  // line of a run that did not end it: only a full piece is continued.
  return { stream, timestamp, data, partial: !broken && data.length >= PIECE };
}

/** A terminal has one stream and no frames: `timestamp SP line CR LF`, one after the other. */
export async function* readTerminal(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<OutputLine> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    for (let line = nextOf(rest, false); line !== undefined; line = nextOf(rest, false)) {
      rest = rest.subarray(line.size);
      yield line.line;
    }
    if (rest.length > MOST) throw notFrames();
  }
  for (let line = nextOf(rest, true); line !== undefined; line = nextOf(rest, true)) {
    rest = rest.subarray(line.size);
    yield line.line;
  }
}

function nextOf(bytes: Buffer, ended: boolean): { line: OutputLine; size: number } | undefined {
  const space = bytes.indexOf(SPACE);
  if (space === -1) return undefined;
  const timestamp = normalizeRfc3339(bytes.toString('latin1', 0, space));
  if (timestamp === undefined) throw notFrames();
  const start = space + 1;
  const found = bytes.indexOf(BREAK, start);
  const full = start + PIECE;
  if (found !== -1 && found <= full) {
    const end = bytes[found - 1] === RETURN && found > start ? found - 1 : found;
    return line(timestamp, bytes.subarray(start, end), false, found + 1);
  }
  if (bytes.length >= full + start) {
    // All pieces of a line have its first one's time, which tells them from a line that is merely
    // long, as in output of an older engine.
    if (bytes.subarray(full, full + start).equals(bytes.subarray(0, start))) {
      return line(timestamp, bytes.subarray(start, full), true, full);
    }
    if (found !== -1) {
      const end = bytes[found - 1] === RETURN ? found - 1 : found;
      return line(timestamp, bytes.subarray(start, end), false, found + 1);
    }
  }
  if (!ended || bytes.length === start) return undefined;
  return line(timestamp, bytes.subarray(start), false, bytes.length);
}

function line(
  timestamp: string,
  data: Uint8Array,
  partial: boolean,
  size: number,
): { line: OutputLine; size: number } {
  return { line: { stream: 'stdout', timestamp, data, partial }, size };
}

const notFrames = (): ReflexarcError =>
  new ReflexarcError('unavailable', 'the Docker Engine sent a log in an unknown form');
