import { once } from 'node:events';
import { formatLabels, type Labels } from '../../core/labels.ts';
import { formatRfc3339, type Nanos } from '../../core/time.ts';

/** Where a command writes, and what it may know of its surroundings; tests bring their own. */
export interface Io {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export const processIo = (): Io => ({
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
});

export const OUTPUTS = ['default', 'raw', 'json'] as const;
export type Output = (typeof OUTPUTS)[number];

export interface Row {
  readonly time: Nanos;
  readonly labels: Labels;
  readonly line: string;
}

/** Writes lines; `closed` once the reader of a pipe has left, which is no failure. */
export class Printer {
  readonly #io: Io;
  readonly #colour: boolean;
  readonly #onLeave: (() => void) | undefined;
  #closed = false;

  constructor(io: Io, onLeave?: () => void) {
    this.#io = io;
    this.#onLeave = onLeave;
    // https://no-color.org
    this.#colour = io.stdout.isTTY === true && (io.env['NO_COLOR'] ?? '') === '';
    io.stdout.on('error', this.#failed);
  }

  get closed(): boolean {
    return this.#closed;
  }

  done(): void {
    this.#io.stdout.removeListener('error', this.#failed);
  }

  readonly #failed = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error;
    this.#closed = true;
    this.#onLeave?.();
  };

  async print(text: string): Promise<void> {
    if (this.#closed) return;
    if (this.#io.stdout.write(`${text}\n`) || this.#closed) return;
    const left = new AbortController();
    try {
      await Promise.race([
        once(this.#io.stdout, 'drain', { signal: left.signal }),
        once(this.#io.stdout, 'close', { signal: left.signal }),
      ]);
    } catch {
      // The error is the listener's.
    } finally {
      left.abort();
    }
  }

  async row(row: Row, output: Output): Promise<void> {
    await this.print(this.#format(row, output));
  }

  #format({ time, labels, line }: Row, output: Output): string {
    if (output === 'raw') return line;
    const timestamp = formatRfc3339(time);
    if (output === 'json') return JSON.stringify({ timestamp, labels, line });
    const stream = formatLabels(labels);
    if (this.#io.stdout.isTTY !== true) return `${timestamp} ${stream} ${line}`;
    return this.#colour
      ? `${timestamp} \x1b[${colourOf(stream)}m${stream}\x1b[0m ${harmless(line, true)}`
      : `${timestamp} ${stream} ${harmless(line, false)}`;
  }

  /** Beside the results, for people. */
  say(text: string): void {
    this.#io.stderr.write(`${text}\n`);
  }
}

/** Red is left to errors, black and white to backgrounds. */
const COLOURS = [32, 33, 34, 35, 36, 92, 93, 94, 95, 96] as const;

function colourOf(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) {
    hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  }
  return COLOURS[Math.abs(hash) % COLOURS.length] ?? 32;
}

/**
 * A line for a terminal: whoever writes logs must not move the cursor or set the title of whoever
 * reads them. Colours stay where they are wanted, and end with the line.
 */
function harmless(line: string, colours: boolean): string {
  // oxlint-disable-next-line no-control-regex
  const safe = line.replaceAll(/\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (found) => {
    if (found.length > 1) return colours ? found : '';
    return `\\x${found.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return safe.includes('\x1b') ? `${safe}\x1b[0m` : safe;
}

/** Columns, all but the last padded to the widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    }
  }
  return rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join('  '),
  );
}
