import { type FSWatcher, watch } from 'node:fs';
import type { Clock } from '../../core/clock.ts';

/** Editors write a file in several steps. */
const QUIET = 100;

/**
 * Calls back when something in the folder changed, so that its file is read again. The folder and
 * not the file, since editors and Kubernetes' config maps put another file in its place.
 */
export function watchFolder(
  dir: string,
  clock: Clock,
  onChange: () => void,
  onProblem: (error: unknown) => void,
): { close(): void } {
  let watcher: FSWatcher | undefined;
  let timer: { cancel(): void } | undefined;
  try {
    watcher = watch(dir, { persistent: false }, () => {
      timer?.cancel();
      timer = clock.after(QUIET, onChange);
    });
    watcher.on('error', onProblem);
  } catch (error) {
    onProblem(error);
  }
  return {
    close() {
      timer?.cancel();
      watcher?.close();
    },
  };
}
