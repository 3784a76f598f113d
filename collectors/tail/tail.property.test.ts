import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { comparePositions, type LogRecord } from '../../core/records/log.ts';
import { Checkpoints } from '../checkpoints.ts';
import { Runs } from '../logs/runs.ts';
import { collectMeasures } from '../measures.ts';
import { Output } from '../output/output.ts';
import { Streams } from '../streams.ts';
import { MemoryBus, MemoryState, testTelemetry, until } from '../testing/fakes.ts';
import { inodeKey } from './bytes.ts';
import { jsonFileFramer } from './json-file.ts';
import { plainFramer } from './plain.ts';
import { risingStamps } from './stamps.ts';
import type { Tail } from './tail.ts';
import { Tailing } from './tailing.ts';

type Format = 'plain' | 'json-file';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reflexarc-tail-'));
  path = join(folder, 'app.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A tail as the program would run it, on a bus and state that survive it. */
class Reader {
  readonly tail: Tail;
  readonly #tailing: Tailing;
  readonly #output: Output;
  readonly #checkpoints: Checkpoints;
  #truncations = 0;

  constructor(format: Format, bus: MemoryBus, state: MemoryState) {
    const telemetry = testTelemetry();
    const measures = collectMeasures(telemetry.metrics);
    measures.truncations.inc = () => void this.#truncations++;
    this.#checkpoints = new Checkpoints({ state, telemetry, measures });
    this.#output = new Output({ bus, telemetry, measures });
    this.#tailing = new Tailing({
      telemetry,
      measures,
      checkpoints: this.#checkpoints,
      output: this.#output,
      maxLine: 300,
    });
    const streams = new Streams({ service: 's' }, {});
    const stamp = risingStamps(systemClock);
    this.tail = this.#tailing.add(
      {
        path,
        key: 'collect/test',
        kind: 'test',
        from: 'beginning',
        older: true,
        maxLine: format === 'plain' ? 300 : 256 * 1024,
        linger: 0,
        name: (place, fingerprint, incarnation) => ({
          source: 'test',
          generation:
            format === 'plain' ? `${inodeKey(place)}:${fingerprint}:${incarnation}` : fingerprint,
        }),
      },
      'test',
      (writer) =>
        format === 'plain'
          ? plainFramer({ writer, streams: () => streams, stamp })
          : jsonFileFramer({
              writer,
              streams: () => streams,
              runs: knownRuns(),
              clock: systemClock,
              maxLine: 300,
            }),
    );
  }

  /** As kill -9 would: nothing more is read, written or remembered. */
  async kill(): Promise<void> {
    await this.#tailing.stop();
    this.#output.close();
    await this.#output.stop(0);
    await this.#tailing.close();
  }

  async stop(): Promise<void> {
    await this.#tailing.stop();
    await this.#output.stop(5000);
    await this.#checkpoints.stop();
    await this.#tailing.close();
  }

  get truncations(): number {
    return this.#truncations;
  }

  checkpoint(): Promise<void> {
    return this.#checkpoints.flush();
  }
}

function knownRuns(): Runs {
  const runs = new Runs(systemClock, () => undefined);
  runs.started('2025-01-01T00:00:00Z');
  return runs;
}

/** Per source and generation in order; what is not above the highest position seen is a repeat. */
function withoutRepeats(records: readonly LogRecord[]): string[] {
  const highest = new Map<string, LogRecord>();
  const lines: string[] = [];
  for (const record of records) {
    const { resource } = record.stream;
    const key = `${resource['reflexarc.source']} ${resource['reflexarc.generation']}`;
    const newest = highest.get(key);
    if (
      newest?.position !== undefined &&
      record.position !== undefined &&
      comparePositions(record.position, newest.position) <= 0
    ) {
      continue;
    }
    highest.set(key, record);
    lines.push(record.line);
  }
  return lines;
}

type Step =
  | { readonly kind: 'write'; readonly lines: readonly string[] }
  | { readonly kind: 'half'; readonly text: string }
  | { readonly kind: 'rotate' }
  | { readonly kind: 'compress' }
  | { readonly kind: 'truncate' }
  | { readonly kind: 'wait' }
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'kill' }
  | { readonly kind: 'restart' };

// The same first line again and again, so that it does not tell the files apart.
const text = fc.oneof(
  fc.constantFrom('banner', '', 'x'),
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom('é'.repeat(149), 'a'.repeat(299)),
);
const clean = (line: string): string => line.replaceAll(/[\n\r\0]/g, '_');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      lines: fc.array(text, { maxLength: 5 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('half' as const), text }) },
  ...(['rotate', 'compress', 'truncate', 'checkpoint', 'kill', 'restart'] as const).map((kind) => ({
    weight: kind === 'rotate' ? 3 : 1,
    arbitrary: fc.constant({ kind }),
  })),
  { weight: 3, arbitrary: fc.constant({ kind: 'wait' as const }) },
);

/** Writes as the steps say, reads all the while. @returns what was written and what was read. */
async function play(
  format: Format,
  steps: readonly Step[],
): Promise<{ expected: string[]; seen: string[] }> {
  const bus = new MemoryBus();
  const state = new MemoryState();
  let reader = new Reader(format, bus, state);
  const expected: string[] = [];
  let half = '';
  let number = 0;
  const seen = (): string[] => withoutRepeats(bus.logs());
  const caughtUp = (): Promise<void> =>
    until(() => seen().length >= expected.length, `${expected.length} lines`);
  const put = (line: string, rest: string): void => {
    if (format === 'plain') {
      appendFileSync(path, rest);
      expected.push(clean(line));
    } else {
      const pieces = line.length > 4 ? [line.slice(0, 3), line.slice(3)] : [line];
      for (const [index, piece] of pieces.entries()) {
        const end = index === pieces.length - 1 ? '\n' : '';
        const time = `2026-01-01T00:00:00.${String(++number).padStart(9, '0')}Z`;
        appendFileSync(path, `${JSON.stringify({ log: piece + end, stream: 'stdout', time })}\n`);
        // A line of the other output in between: pieces are joined for each on its own.
        if (index === 0 && pieces.length > 1) {
          const other = `${JSON.stringify({ log: 'err\n', stream: 'stderr', time })}\n`;
          appendFileSync(path, other);
          expected.push('err');
        }
      }
      expected.push(clean(line));
    }
  };
  const finishHalf = (): void => {
    if (half === '') return;
    appendFileSync(path, '\n');
    expected.push(clean(half));
    half = '';
  };
  const shift = (): void => {
    for (let index = 9; index >= 1; index--) {
      for (const end of ['', '.gz']) {
        const from = `${path}.${index}${end}`;
        if (existsSync(from)) renameSync(from, `${path}.${index + 1}${end}`);
      }
    }
  };
  try {
    for (const one of steps) {
      switch (one.kind) {
        case 'write':
          for (const line of one.lines) {
            const whole = clean(line);
            if (half !== '') finishHalf();
            put(whole, `${whole}\n`);
          }
          break;
        case 'half':
          if (format === 'plain' && half === '' && clean(one.text) !== '') {
            half = clean(one.text);
            appendFileSync(path, half);
          }
          break;
        case 'rotate':
          if (!existsSync(path)) break;
          finishHalf();
          shift();
          renameSync(path, `${path}.1`);
          break;
        case 'compress':
          if (!existsSync(`${path}.1`)) break;
          if (format === 'plain') {
            // A plain file's lines are named by its inode, so that it must have been read before.
            finishHalf();
            const sentinel = `compressed after ${expected.length}`;
            put(sentinel, `${sentinel}\n`);
            await until(() => seen().includes(sentinel), 'the newest line');
            await reader.checkpoint();
          }
          execFileSync('gzip', ['-f', `${path}.1`]);
          break;
        case 'truncate':
          if (!existsSync(path)) break;
          finishHalf();
          if (statSync(path).size === 0) break;
          if (format === 'json-file') {
            shift();
            copyFileSync(path, `${path}.1`);
          }
          await caughtUp();
          await until(() => reader.tail.open > 0 && reader.tail.lag === 0, 'all is read');
          {
            // Written over with the very same bytes before anyone looks, it was never truncated.
            const before = reader.truncations;
            truncateSync(path);
            await until(() => reader.truncations > before, 'the truncation');
          }
          break;
        case 'wait':
          await caughtUp();
          break;
        case 'checkpoint':
          await reader.checkpoint();
          break;
        case 'kill':
          await reader.kill();
          reader = new Reader(format, bus, state);
          break;
        case 'restart':
          await reader.stop();
          reader = new Reader(format, bus, state);
          break;
      }
    }
    finishHalf();
    await caughtUp();
    await reader.stop();
    return { expected, seen: seen() };
  } finally {
    await reader.kill();
  }
}

describe('tail', () => {
  it.each(['plain', 'json-file'] as const)(
    '%s: whatever is done to the file, each line arrives, in order, and once without its repeats',
    async (format) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
          rmSync(folder, { recursive: true, force: true });
          folder = mkdtempSync(join(tmpdir(), 'reflexarc-tail-'));
          path = join(folder, 'app.log');
          const { expected, seen } = await play(format, steps);
          expect(seen).toEqual(expected);
        }),
        { numRuns: Number(process.env['TAIL_RUNS'] ?? 60), endOnFailure: true },
      );
    },
    120_000,
  );
});
