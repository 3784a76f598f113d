import {
  type Bytes,
  fingerprint,
  hash,
  type Inode,
  openFile,
  sameInode,
  statFile,
} from './bytes.ts';
import { openGzip } from './gzip.ts';
import { rotatedFiles } from './rotated.ts';

export interface Found extends Inode {
  readonly path: string;
}

/** How a file is known by what is in it, when its inode tells nothing. */
export interface Content {
  readonly fingerprint: string | undefined;
  /** So many bytes were read of it, and the hash of the last of them. */
  readonly at: number;
  readonly check: string;
}

const OVERLAP = 64;
const MOST_LOOKS = 5;

export const openAny = (path: string): Promise<Bytes> =>
  path.endsWith('.gz') ? openGzip(path) : openFile(path);

/**
 * The rotated files of a log, oldest first, and last the one at the path. Looked at until two looks
 * agree: a rotation in between shifts every name by one.
 */
export async function candidates(path: string): Promise<Found[]> {
  let before = await look(path);
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const now = await look(path);
    const same = (found: Found, at: number): boolean => {
      const other = before[at];
      return other !== undefined && other.path === found.path && sameInode(other, found);
    };
    if (now.length === before.length && now.every(same)) return now;
    before = now;
  }
  return before;
}

async function look(path: string): Promise<Found[]> {
  const paths = [...(await rotatedFiles(path)), path];
  const all: Found[] = [];
  for (const one of paths) {
    // While a file is being compressed it is there twice.
    if (one.endsWith('.gz') && one !== path && paths.includes(one.slice(0, -3))) continue;
    const inode = await statFile(one);
    if (inode !== undefined) all.push({ ...inode, path: one });
  }
  return all;
}

/** The first that has these bytes. One that cannot be opened is none. */
export async function findContent(
  all: readonly Found[],
  content: Content,
): Promise<Found | undefined> {
  for (const found of all) {
    if (!found.path.endsWith('.gz') && found.size < content.at) continue;
    let bytes: Bytes;
    try {
      bytes = await openAny(found.path);
    } catch {
      // The caller opens what it needs, and reports what it cannot.
      continue;
    }
    try {
      if (await hasContent(bytes, content)) return found;
    } finally {
      await bytes.close();
    }
  }
  return undefined;
}

async function hasContent(bytes: Bytes, content: Content): Promise<boolean> {
  if (content.fingerprint !== undefined) {
    const own = (await fingerprint(bytes)) ?? (await fingerprint(bytes, true));
    if (own !== content.fingerprint) return false;
  }
  const length = Math.min(OVERLAP, content.at);
  const buffer = Buffer.alloc(length);
  const read = await bytes.read(buffer, length, content.at - length);
  return read === length && hash(buffer) === content.check;
}
