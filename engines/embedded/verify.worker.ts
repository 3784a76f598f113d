import { statSync, writeSync } from 'node:fs';
import { argv, exit, stdout } from 'node:process';
import { open } from 'lmdb';

interface Stats {
  readonly entryCount: number;
  readonly lastPageNumber: number;
  readonly pageSize: number;
}

/**
 * Walks lmdb files in a process of its own (see verify.ts). Says the name of each before it begins,
 * and what is wrong with it. Exits with 0 when all can be read; else it ends at the first that
 * cannot, with 1 or by a signal, which says as much.
 */
for (const file of argv.slice(2)) {
  writeSync(stdout.fd, `${file}\n`);
  try {
    await walk(file);
  } catch (error) {
    writeSync(stdout.fd, error instanceof Error ? error.message : String(error));
    exit(1);
  }
}

async function walk(file: string): Promise<void> {
  const root = open<Buffer, string>({
    path: file,
    noSubdir: true,
    encoding: 'binary',
    maxDbs: 32,
    overlappingSync: false,
    readOnly: true,
  });
  const { entryCount, lastPageNumber, pageSize } = root.getStats() as Stats;
  // Shorter than its pages is no proof of damage, since pages that were freed before they were
  // written do not count. Then only reading all of it tells.
  const whole = statSync(file).size < (lastPageNumber + 1) * pageSize;
  const names = [...root.getKeys()];
  // A damaged page may pass for an empty one.
  expectCount('tables', names.length, entryCount);
  for (const name of names) {
    const table = root.openDB<Buffer, string>(name, { encoding: 'binary' });
    let count = 0;
    for (const key of table.getKeys()) {
      count++;
      if (whole) table.getBinary(key);
    }
    expectCount(`entries in ${name}`, count, (table.getStats() as Stats).entryCount);
  }
  await root.close();
}

function expectCount(what: string, found: number, expected: number): void {
  if (found !== expected) throw new Error(`${expected} ${what} expected, ${found} found`);
}
