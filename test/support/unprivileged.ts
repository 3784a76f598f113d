import { spawnSync } from 'node:child_process';
import { chownSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'vitest';

/** Somebody who may do little: `nobody` on Debian. */
export const NOBODY = 65_534;

/** Why no program can be run as somebody else; undefined: it can. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can run programs as another user';
  const main = join(import.meta.dirname, '..', '..', 'cli', 'reflexarc.js');
  const look = spawnSync(process.execPath, ['-e', `require('fs').accessSync('${main}')`], {
    uid: NOBODY,
    gid: NOBODY,
  });
  return look.status === 0 ? undefined : `another user may not read ${main}`;
}

const reason = missing();
if (reason !== undefined) console.warn(`SKIPPED: tests with another user: ${reason}`);

/** `describe` for tests that run the program as a user without rights. */
export const describeUnprivileged = (name: string, run: () => void): void => {
  if (reason === undefined) describe(name, run);
  else describe.skip(`${name} (skipped: ${reason})`, run);
};

/** Gives a folder and all that is in it to that user. */
export function giveAway(folder: string): void {
  chownSync(folder, NOBODY, NOBODY);
  for (const name of readdirSync(folder, { recursive: true })) {
    chownSync(join(folder, String(name)), NOBODY, NOBODY);
  }
}
