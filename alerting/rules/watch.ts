import { createHash } from 'node:crypto';
import { type FSWatcher, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Timer } from '../../core/clock.ts';

/** An editor writes a file in several steps: looked at when it has been quiet so long. */
const SETTLE = 100;
/** Network file systems and folders that come later send no events. */
const POLL = 5000;

/**
 * Calls `onChange` when the text of a rule file or of `notify.yaml` has changed: by the file
 * system's events, and by looking every 5 s. What the files hold decides, not their times.
 */
export function watchFiles(dir: string, clock: Clock, onChange: () => void): { close(): void } {
  const folders = [dir, join(dir, 'rules')];
  const watchers = new Map<string, FSWatcher>();
  let seen = signature(dir);
  let timer: Timer;
  let closed = false;

  const look = (): void => {
    if (closed) return;
    for (const folder of folders) if (!watchers.has(folder)) open(folder);
    const now = signature(dir);
    if (now !== seen) {
      seen = now;
      onChange();
    }
    timer = clock.after(POLL, look);
  };
  const open = (folder: string): void => {
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        timer.cancel();
        timer = clock.after(SETTLE, look);
      });
      // The folder is gone, or may not be watched: polling goes on, and opens it again.
      watcher.on('error', () => {
        watcher.close();
        watchers.delete(folder);
      });
      watchers.set(folder, watcher);
    } catch {
      // It is not there (yet): the next look tries again.
    }
  };

  timer = clock.after(POLL, look);
  for (const folder of folders) open(folder);
  return {
    close() {
      closed = true;
      timer.cancel();
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

function signature(dir: string): string {
  const hash = createHash('sha256');
  const add = (path: string): void => {
    hash.update(`\u0000${path}\u0000`);
    try {
      hash.update(readFileSync(path));
    } catch {
      // Gone or unreadable is a state like another; loading it tells the user.
      hash.update('\u0001');
    }
  };
  add(join(dir, 'notify.yaml'));
  let names: string[] = [];
  try {
    names = readdirSync(join(dir, 'rules')).filter((name) => /^[^.].*\.ya?ml$/.test(name));
  } catch {
    // No folder: no rules.
  }
  for (const name of names.sort()) add(join(dir, 'rules', name));
  return hash.digest('hex');
}
