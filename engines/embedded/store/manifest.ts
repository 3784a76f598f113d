import { existsSync, readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { messageOf, ReflexarcError } from '../../../core/errors.ts';
import { replaceFile } from './files.ts';

/**
 * What counts: which segments, from which log on, and what was known when the last segment was
 * made. One file a lane, replaced whole. Nanoseconds are texts, since JSON's numbers are too small.
 */
const nanos = z
  .string()
  .regex(/^-?\d+$/)
  .transform(BigInt);

const segmentSchema = z.object({
  /** Under the lane's folder. */
  file: z.string(),
  min: nanos,
  max: nanos,
  rows: z.number(),
  bytes: z.number(),
  /** CRC-32 of the file. */
  crc: z.number(),
  /** Ids of the streams (series) that it holds rows of; none for documents. */
  streams: z.array(z.number()),
  /** Whether it has rows that are told apart by id. */
  ids: z.boolean(),
  /** Milliseconds since the epoch. */
  sealed: z.number(),
});

const manifestSchema = z.object({
  version: z.literal(1),
  /** The oldest log whose rows are in no segment. */
  wal: z.number(),
  /** Arrival number of the next row. */
  seq: z.number(),
  /** How many bytes of the dictionary count, and of which of its files. */
  dictionary: z.object({ number: z.number(), bytes: z.number() }),
  segments: z.array(segmentSchema),
  /** Source, generation, position, when it was last seen. */
  marks: z.array(z.tuple([z.string(), z.string(), z.number(), z.number(), z.number()])),
  /** Group, topic, partition, next offset. */
  commits: z.array(z.tuple([z.string(), z.string(), z.number(), z.number()])),
});

export type Manifest = z.output<typeof manifestSchema>;
export type SegmentEntry = z.output<typeof segmentSchema>;

export const EMPTY_MANIFEST: Manifest = {
  version: 1,
  wal: 1,
  seq: 0,
  dictionary: { number: 1, bytes: 0 },
  segments: [],
  marks: [],
  commits: [],
};

export function writeManifest(path: string, manifest: Manifest): void {
  const body = JSON.stringify(manifest, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  replaceFile(path, Buffer.from(`${body}\n${crc32(body)}\n`));
}

/** @returns undefined when there is none. @throws corrupt */
export function readManifest(path: string): Manifest | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const [body = '', checksum = ''] = readFileSync(path, 'utf8').split('\n');
    if (checksum !== String(crc32(body))) throw new Error('its checksum does not match');
    return manifestSchema.parse(JSON.parse(body));
  } catch (cause) {
    throw new ReflexarcError('corrupt', `cannot read the list of segments: ${messageOf(cause)}`, {
      cause,
      where: { file: path },
      hint: 'it is made again from the segments themselves; keep a copy of the folder if lines seem to be missing',
    });
  }
}
