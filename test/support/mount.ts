import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';

/** A file system of its own in memory, as small as a test wants it. Takes the right to mount. */
export function mountSmall(folder: string, options: string): () => void {
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'pipe' });
  return () => {
    execFileSync('umount', ['-l', folder], { stdio: 'pipe' });
  };
}

function missing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root on Linux can';
  const folder = mkdtempSync(join(tmpdir(), 'reflexarc-mount-'));
  try {
    mountSmall(folder, 'size=64k')();
    return undefined;
  } catch (error) {
    return String(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const reason = missing();

/** `describe` for tests that mount a file system. */
export function describeMount(name: string, run: () => void): void {
  if (reason === undefined) {
    describe(name, run);
    return;
  }
  console.warn(`SKIPPED: ${name}: no file system can be mounted: ${reason}`);
  describe.skip(`${name} (skipped: no file system can be mounted)`, run);
}
