import { statSync } from 'node:fs';
import { argv, exit, stdout } from 'node:process';
import { open } from 'lmdb';

/**
 * Walks an lmdb file in a process of its own (see verify.ts). Exits with 0 when it can be read, 1
 * with the reason on stdout; or dies by a signal, which says as much.
 */
const [, , file = ''] = argv;
try {
  const root = open<Buffer, string>({
    path: file,
    noSubdir: true,
    encoding: 'binary',
    maxDbs: 32,
    overlappingSync: false,
  });
  const { lastPageNumber, pageSize } = root.getStats() as {
    lastPageNumber: number;
    pageSize: number;
  };
  // Shorter than its pages is no proof of damage, since pages that were freed before they were
  // written do not count. Then only reading all of it tells.
  const whole = statSync(file).size < (lastPageNumber + 1) * pageSize;
  for (const name of root.getKeys()) {
    const table = root.openDB<Buffer, string>(name, { encoding: 'binary' });
    for (const key of table.getKeys()) if (whole) table.getBinary(key);
  }
  await root.close();
} catch (error) {
  stdout.write(error instanceof Error ? error.message : String(error));
  exit(1);
}
