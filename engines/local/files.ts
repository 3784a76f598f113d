import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';

/**
 * What is on disk of one process: its output, in `stdout.log` and `stderr.log`, and `run.json`,
 * from which the next Reflexarc knows a process that outlived this one.
 *
 * The process writes into the files itself, so they can be changed only between two runs: at a
 * start, a file of 16 MiB or more becomes `.1`, the one before `.2`, and so on to `.4`; older ones
 * are removed. While a process runs, its files grow.
 */

const ROTATE_AT = 16 * 1024 ** 2;
const KEEP = 4;

/** The newest run. */
export interface RunRecord {
  readonly pid: number;
  /** Tells the process from another of its number; undefined where the system does not say. */
  readonly identity: string | undefined;
  readonly startedAt: string;
  readonly restarts: number;
  /** Of what it was started with: another process is wanted if that was changed. */
  readonly config: string;
  readonly ended: boolean;
  readonly byHand: boolean;
}

export class ProcessFiles {
  readonly folder: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly #record: string;

  constructor(folder: string, name: string) {
    this.folder = join(folder, name);
    this.stdout = join(this.folder, 'stdout.log');
    this.stderr = join(this.folder, 'stderr.log');
    this.#record = join(this.folder, 'run.json');
    mkdirSync(this.folder, { recursive: true });
  }

  /** Opens both files to append to, after rotating what is too large. */
  open(): { stdout: number; stderr: number; close(): void } {
    for (const path of [this.stdout, this.stderr]) rotate(path);
    const stdout = openSync(this.stdout, 'a', 0o600);
    const stderr = openSync(this.stderr, 'a', 0o600);
    return {
      stdout,
      stderr,
      close() {
        closeSync(stdout);
        closeSync(stderr);
      },
    };
  }

  /** Undefined: there is none, or it cannot be understood; then nothing is known. */
  readRecord(): RunRecord | undefined {
    try {
      const record = JSON.parse(readFileSync(this.#record, 'utf8')) as Partial<RunRecord>;
      if (!Number.isInteger(record.pid) || typeof record.startedAt !== 'string') return undefined;
      return {
        pid: record.pid ?? 0,
        identity: record.identity,
        startedAt: record.startedAt,
        restarts: record.restarts ?? 0,
        config: record.config ?? '',
        ended: record.ended === true,
        byHand: record.byHand === true,
      };
    } catch {
      return undefined;
    }
  }

  /** At once and not by and by: a process whose record is missing would be started twice. */
  writeRecord(record: RunRecord): void {
    const next = `${this.#record}.new`;
    writeFileSync(next, JSON.stringify(record), { mode: 0o600 });
    renameSync(next, this.#record);
  }

  removeRecord(): void {
    rmSync(this.#record, { force: true });
  }
}

/** The names of all processes that have a record in a folder. */
export function recordedNames(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, 'run.json')));
}

export function configHash({ command, cwd, env }: ProcessConfig): string {
  return createHash('sha256')
    .update(JSON.stringify([command, cwd, env]))
    .digest('hex');
}

function rotate(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < ROTATE_AT) return;
  for (let number = KEEP - 1; number >= 1; number--) {
    if (existsSync(`${path}.${number}`)) renameSync(`${path}.${number}`, `${path}.${number + 1}`);
  }
  renameSync(path, `${path}.1`);
}
