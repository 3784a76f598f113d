import type { Outgoing } from '../../core/contracts/bus.ts';
import { encodeLog, encodeRawLine, lineId } from '../../core/records/codec.ts';
import { FIELD, type Position, type Stream } from '../../core/records/log.ts';
import type { Measures } from '../measures.ts';
import { deadLetter } from '../output/output.ts';

/** Characters of one message: well under what buses take, large enough to cost little. */
const MESSAGE_BYTES = 384 * 1024;
/** So much is gathered as text: making one of thousands of pieces costs more than encoding it. */
const TEXT_CHARS = 4096;

const EMPTY = Buffer.alloc(0);

/** Gathers encoded lines to messages. */
export class LogWriter {
  readonly key: string;
  readonly kind: string;
  readonly #measures: Measures;
  #text = '';
  #buffer: Buffer | undefined;
  #used = 0;
  #records = 0;
  #values: { value: Uint8Array; records: number }[] = [];
  #letters: Outgoing[] = [];
  #lines = 0;

  constructor(key: string, kind: string, measures: Measures) {
    this.key = key;
    this.kind = kind;
    this.#measures = measures;
  }

  /** `id` is the short name of the source's generation; `cut` the bytes that the line lost. */
  line(
    timestamp: string,
    id: string,
    position: Position,
    line: string,
    stream: Stream,
    cut: number,
  ): void {
    this.#lines++;
    if (cut > 0) this.#measures.truncatedLines.inc({ kind: this.kind });
    this.#text += encodeLog(
      cut === 0
        ? { timestamp, id: lineId(id, position), position, line, stream }
        : {
            timestamp,
            id: lineId(id, position),
            position,
            line,
            stream,
            fields: { [FIELD.truncated]: cut },
          },
    );
    this.#records++;
    if (this.#text.length >= TEXT_CHARS) this.#spill();
  }

  /** As `line`, for a whole one that is valid JSON text already, quotes included. */
  raw(timestamp: string, id: string, position: Position, json: string, stream: Stream): void {
    this.#lines++;
    this.#text += encodeRawLine(timestamp, lineId(id, position), position, json, stream);
    this.#records++;
    if (this.#text.length >= TEXT_CHARS) this.#spill();
  }

  dead(
    timestamp: string,
    from: {
      source: string;
      id: string;
      line: string;
      stream: Stream;
      file: string;
      offset: number;
    },
    reason: string,
  ): void {
    this.#lines++;
    this.#measures.deadLetters.inc({ reason: 'not_json' });
    this.#letters.push(deadLetter(this.key, timestamp, { topic: 'logs', ...from }, reason));
  }

  get empty(): boolean {
    return this.#records === 0 && this.#values.length === 0 && this.#letters.length === 0;
  }

  take(): { values: { value: Uint8Array; records: number }[]; letters: Outgoing[] } {
    this.#close();
    if (this.#lines > 0) this.#measures.lines.inc({ kind: this.kind }, this.#lines);
    const taken = { values: this.#values, letters: this.#letters };
    this.#values = [];
    this.#letters = [];
    this.#lines = 0;
    return taken;
  }

  /** The text's bytes to the message's buffer; a full one becomes a message. */
  #spill(): void {
    const most = this.#text.length * 3;
    if (this.#buffer !== undefined && this.#used + most > this.#buffer.length) this.#close();
    else {
      this.#buffer ??= Buffer.allocUnsafeSlow(Math.max(MESSAGE_BYTES, most));
      this.#used += this.#buffer.write(this.#text, this.#used);
      this.#text = '';
      // What follows needs room for a last piece, so that it need not be joined on.
      if (this.#buffer.length - this.#used < 3 * TEXT_CHARS) this.#close();
    }
  }

  #close(): void {
    if (this.#records === 0) return;
    const rest = this.#text === '' ? undefined : Buffer.from(this.#text);
    const filled = this.#buffer?.subarray(0, this.#used);
    // The buffer had no room for the rest, or there is no buffer for so little.
    if (filled === undefined || rest === undefined) {
      this.#values.push({ value: filled ?? rest ?? EMPTY, records: this.#records });
    } else {
      this.#values.push({ value: Buffer.concat([filled, rest]), records: this.#records });
    }
    this.#buffer = undefined;
    this.#used = 0;
    this.#text = '';
    this.#records = 0;
  }
}
