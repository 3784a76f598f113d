import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OutputLine } from '../../core/contracts/runtime.ts';
import { readFrames, readTerminal } from './frames.ts';

const TIME = '2026-01-02T03:04:05.123456789Z';

function frame(kind: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head[0] = kind;
  head.writeUInt32BE(payload.length, 4);
  return Buffer.concat([head, payload]);
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(lines: AsyncIterable<OutputLine>): Promise<OutputLine[]> {
  const read: OutputLine[] = [];
  for await (const line of lines) read.push({ ...line, data: new Uint8Array(line.data) });
  return read;
}

const data = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => bytes.map((byte) => (byte === 10 || byte === 13 ? 32 : byte)));

describe('frames', () => {
  it('reads every line, whatever its bytes and wherever the chunks end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ data, stderr: fc.boolean(), partial: fc.boolean() })),
        fc.integer({ min: 1, max: 40 }),
        async (lines, size) => {
          const bytes = Buffer.concat(
            lines.map((line) =>
              frame(
                line.stderr ? 2 : 1,
                Buffer.concat([
                  Buffer.from(`${TIME} `),
                  line.data,
                  Buffer.from(line.partial ? '' : '\n'),
                ]),
              ),
            ),
          );
          expect(await all(readFrames(inPieces(bytes, size)))).toEqual(
            lines.map((line) => ({
              stream: line.stderr ? 'stderr' : 'stdout',
              timestamp: TIME,
              data: line.data,
              // Too short to be continued: the end of a run.
              partial: false,
            })),
          );
        },
      ),
    );
  });

  it('takes a full piece for continued, and a shorter one for the end', async () => {
    const bytes = Buffer.concat(
      [16_384, 16_384, 8192].map((length) =>
        frame(1, Buffer.concat([Buffer.from(`${TIME} `), Buffer.alloc(length, 0x61)])),
      ),
    );
    const read = await all(readFrames(inPieces(bytes, 5000)));
    expect(read.map(({ partial }) => partial)).toEqual([true, true, false]);
  });

  it.each([
    ['no frames', Buffer.from('2026-01-02T03:04:05Z hello\n')],
    ['no time', frame(1, Buffer.from('hello\n'))],
    ["an error of the engine's own", frame(3, Buffer.from('cannot read'))],
  ])('refuses %s', async (_, bytes) => {
    await expect(all(readFrames(inPieces(bytes, 100)))).rejects.toMatchObject({
      code: 'unavailable',
    });
  });
});

describe('a terminal', () => {
  // One byte in the middle of 16 KiB pieces must not be taken for a time or a break.
  const length = fc.oneof(
    fc.integer({ min: 0, max: 80 }),
    fc.integer({ min: 16_380, max: 40_000 }),
  );

  it('reads lines, and the pieces of long ones', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(length, fc.nat(9)), { maxLength: 5 }),
        fc.integer({ min: 1000, max: 30_000 }),
        async (lines, size) => {
          const parts: Buffer[] = [];
          const wanted: { length: number; partial: boolean }[] = [];
          for (const [total, second] of lines) {
            const time = `2026-01-02T03:04:0${second}.000000001Z `;
            let rest = total;
            // As the engine does it: pieces as long as its buffer, which the break may just miss.
            while (rest + 2 > 16_384) {
              parts.push(Buffer.from(time), Buffer.alloc(Math.min(rest, 16_384), 0x61));
              wanted.push({ length: Math.min(rest, 16_384), partial: true });
              if (rest < 16_384) break;
              rest -= 16_384;
            }
            if (rest + 2 > 16_384) {
              wanted.pop();
              parts.pop();
              parts.pop();
            }
            parts.push(Buffer.from(time), Buffer.alloc(rest, 0x61), Buffer.from('\r\n'));
            wanted.push({ length: rest, partial: false });
          }
          const read = await all(readTerminal(inPieces(Buffer.concat(parts), size)));
          expect(read.map((line) => ({ length: line.data.length, partial: line.partial }))).toEqual(
            wanted,
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('gives what is left without a break as a line', async () => {
    const bytes = Buffer.from(`${TIME} one\r\n${TIME} tw`);
    expect(await all(readTerminal(inPieces(bytes, 7)))).toMatchObject([
      { partial: false },
      { partial: false },
    ]);
  });
});
