import { promises as fs } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';

const DATE = String.raw`\d{4}-?\d{2}-?\d{2}(?:[-T_.:]?\d{2,6})*`;
/** What rotation adds to a name: `.1`, `-20260102`, `.2026-01-02.3`, `.old`. */
const ADDED = new RegExp(`^(?:[.-](?:\\d{1,6}|${DATE}|old))+$`);

/**
 * Files that a log at `path` may have been rotated to, oldest first: `app.log.2.gz`, `app.log.1`,
 * `app.log-20260102`, `app-2026-01-02.log`. The log itself is not among them.
 */
export async function rotatedFiles(path: string): Promise<string[]> {
  const folder = dirname(path);
  let names: string[];
  try {
    names = await fs.readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return orderRotated(basename(path), names).map((name) => join(folder, name));
}

/** The names among `names` that rotation makes of `base`, oldest first. */
export function orderRotated(base: string, names: readonly string[]): string[] {
  const found: { name: string; number: number; date: string }[] = [];
  for (const name of names) {
    const added = addition(base, name);
    if (added === undefined) continue;
    const date = new RegExp(DATE).exec(added)?.[0] ?? '';
    const number = Number(
      /[.-](\d{1,6})$/.exec(date === '' ? added : added.replace(date, ''))?.[1],
    );
    found.push({ name, number: Number.isNaN(number) ? 0 : number, date });
  }
  // Dates rise with time. Numbers fall, except behind a date, where they count up.
  found.sort((a, b) =>
    a.date === b.date
      ? a.date === ''
        ? b.number - a.number
        : a.number - b.number
      : a.date < b.date
        ? -1
        : 1,
  );
  return found.map((entry) => entry.name);
}

function addition(base: string, name: string): string | undefined {
  const plain = name.endsWith('.gz') ? name.slice(0, -3) : name;
  if (plain.startsWith(base)) {
    const added = plain.slice(base.length);
    if (ADDED.test(added)) return added;
  }
  const end = extname(base);
  const stem = base.slice(0, base.length - end.length);
  if (end === '' || !plain.startsWith(stem) || !plain.endsWith(end)) return undefined;
  const added = plain.slice(stem.length, plain.length - end.length);
  return ADDED.test(added) ? added : undefined;
}
