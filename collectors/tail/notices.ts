import { type FSWatcher, watch } from 'node:fs';
import type { Logger } from 'pino';

/** `renamed`: the name came, went, or stands for another file now; else its content changed. */
export type Notice = (name: string | undefined, renamed: boolean) => void;

/**
 * Notices of changes in folders (inotify on Linux), one watcher a folder whoever asks. A folder
 * that cannot be watched is said once; who asked goes on with polling.
 */
export class Notices {
  readonly #log: Logger;
  readonly #folders = new Map<string, { watcher: FSWatcher; notices: Set<Notice> }>();
  readonly #refused = new Set<string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @returns how to end it, or undefined when the folder cannot be watched (just now). */
  watch(folder: string, notice: Notice): (() => void) | undefined {
    let entry = this.#folders.get(folder);
    if (entry === undefined) {
      try {
        const watcher = watch(folder, { persistent: false });
        const notices = new Set<Notice>();
        entry = { watcher, notices };
        watcher.on('change', (event, name) => {
          const text = typeof name === 'string' ? name : undefined;
          for (const one of notices) one(text, event === 'rename');
        });
        watcher.on('error', (error) => {
          this.#drop(folder);
          this.#refuse(folder, error);
        });
        this.#folders.set(folder, entry);
        this.#refused.delete(folder);
      } catch (error) {
        this.#refuse(folder, error);
        return undefined;
      }
    }
    const { notices } = entry;
    notices.add(notice);
    return () => {
      notices.delete(notice);
      if (notices.size === 0) this.#drop(folder);
    };
  }

  /** Whether somebody watches the folder; a watcher that failed is gone. */
  has(folder: string): boolean {
    return this.#folders.has(folder);
  }

  close(): void {
    for (const folder of this.#folders.keys()) this.#drop(folder);
  }

  #drop(folder: string): void {
    this.#folders.get(folder)?.watcher.close();
    this.#folders.delete(folder);
  }

  #refuse(folder: string, error: unknown): void {
    if (this.#refused.has(folder)) return;
    this.#refused.add(folder);
    const code = (error as NodeJS.ErrnoException).code;
    // Not there (yet): the poll finds it.
    if (code === 'ENOENT') return;
    const hint =
      code === 'ENOSPC'
        ? 'raise fs.inotify.max_user_watches; until then it is polled'
        : 'it is polled';
    this.#log.warn({ err: error, folder, hint }, 'folder cannot be watched for changes');
  }
}
