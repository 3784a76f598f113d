import type { BusPosition } from '../../../core/contracts/store.ts';

/** One call of `append`, as it is written into the log. */
export interface Call {
  readonly values: readonly Uint8Array[];
  readonly commit: BusPosition | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

/** Length of the heading, the heading as JSON, then all values one after the other. */
export function encodeCalls(calls: readonly Call[]): Buffer {
  const heading = Buffer.from(
    JSON.stringify(
      calls.map(({ values, commit, now }) => ({
        lengths: values.map(({ length }) => length),
        commit,
        now,
      })),
    ),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(heading.length);
  return Buffer.concat([length, heading, ...calls.flatMap(({ values }) => values)]);
}

interface Heading {
  readonly lengths: readonly number[];
  readonly commit?: BusPosition;
  readonly now: number;
}

export function decodeCalls(payload: Buffer): Call[] {
  const end = 4 + payload.readUInt32LE(0);
  let at = end;
  return (JSON.parse(payload.toString('utf8', 4, end)) as Heading[]).map(
    ({ lengths, commit, now }) => ({
      values: lengths.map((length) => {
        at += length;
        return payload.subarray(at - length, at);
      }),
      commit,
      now,
    }),
  );
}
