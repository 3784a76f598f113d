import type { BusPosition } from '../../../core/contracts/store.ts';
import type { Frame } from './wal.ts';

/** One call of `append`: its messages one after the other in `bytes`. */
export interface Call {
  readonly bytes: Uint8Array;
  readonly lengths: readonly number[];
  readonly commit: BusPosition | undefined;
  /** Wall clock, milliseconds. */
  readonly now: number;
}

export function encodeCall({ bytes, lengths, commit, now }: Call): Frame {
  return { heading: Buffer.from(JSON.stringify({ lengths, commit, now })), data: bytes };
}

export function decodeCall({ heading, data }: Frame): Call {
  const { lengths, commit, now } = JSON.parse(Buffer.from(heading).toString()) as Omit<
    Call,
    'bytes'
  >;
  return { bytes: data, lengths, commit, now };
}

export function valuesOf({ bytes, lengths }: Call): Uint8Array[] {
  let at = 0;
  return lengths.map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
}
