import type { Outgoing } from '../../core/contracts/bus.ts';
import { encodeLog, lineId } from '../../core/records/codec.ts';
import { FIELD, type Position, type Stream } from '../../core/records/log.ts';
import type { Measures } from '../measures.ts';
import { deadLetter } from '../output/output.ts';

/** Characters of one message: well under what buses take, large enough to cost little. */
const MESSAGE_CHARS = 384 * 1024;

/** Gathers encoded lines to messages. */
export class LogWriter {
  readonly key: string;
  readonly kind: string;
  readonly #measures: Measures;
  #text = '';
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
    if (this.#text.length >= MESSAGE_CHARS) this.#close();
  }

  dead(
    timestamp: string,
    from: { source: string; id: string; line: string; file: string; offset: number },
    reason: string,
  ): void {
    this.#lines++;
    this.#measures.deadLetters.inc({ reason: 'not_json' });
    this.#letters.push(deadLetter(this.key, timestamp, from, reason));
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

  #close(): void {
    if (this.#records === 0) return;
    this.#values.push({ value: Buffer.from(this.#text), records: this.#records });
    this.#text = '';
    this.#records = 0;
  }
}
