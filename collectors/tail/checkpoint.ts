import { z } from 'zod';

/** Where a log's reading goes on: its open files, oldest first, and those read before. */
export const tailCheckpoint = z.object({
  at: z.number(),
  files: z.array(
    z.object({
      device: z.string(),
      inode: z.string(),
      birth: z.string(),
      fingerprint: z.string().optional(),
      incarnation: z.int().min(0),
      source: z.string(),
      generation: z.string(),
      offset: z.int().min(0),
      checkedAt: z.int().min(0),
      check: z.string(),
    }),
  ),
  /** Files read to their end: by inode, and by content for when they are compressed. */
  past: z.array(
    z.object({
      inode: z.string(),
      fingerprint: z.string().optional(),
      at: z.int().min(0),
      check: z.string(),
    }),
  ),
});
export type TailCheckpoint = z.output<typeof tailCheckpoint>;
