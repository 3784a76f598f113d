import { detectLevel } from '../../core/level.ts';
import type { Streams } from '../streams.ts';
import type { Framer, TailedFile } from './framer.ts';
import type { LogWriter } from './writer.ts';

export interface PlainOptions {
  readonly writer: LogWriter;
  readonly streams: () => Streams;
  /** The label `stream`; user's files have none. */
  readonly output?: string;
  /** RFC 3339, nine digits, rising: the time of reading. */
  readonly stamp: () => string;
  /** The start of the run that wrote what stands at an offset. */
  readonly start?: (file: TailedFile, offset: number) => string | undefined;
  /** Whether that run has ended. */
  readonly over?: () => boolean;
}

/** A line is a line. Its time is that of reading; the CR of a CRLF is no part of it. */
export function plainFramer(options: PlainOptions): Framer {
  const { writer, streams, output, stamp, start, over } = options;
  return {
    line(text, offset, cut, file) {
      const line = cut === 0 && text.endsWith('\r') ? text.slice(0, -1) : text;
      const stream = streams().get(file, output, detectLevel(line), start?.(file, offset));
      writer.line(stamp(), file.id, offset, line, stream, cut);
      return true;
    },
    over: () => over?.() === true,
    takesRest: true,
    low: () => undefined,
    flush: () => undefined,
  };
}
