import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execPath } from 'node:process';
import type { Clock } from '../../core/clock.ts';
import { messageOf, ReflexarcError } from '../../core/errors.ts';
import { fileError } from './lock.ts';

/** Whoever walks 60 s through a file's tree goes in circles. */
const TIME_LIMIT = 60_000;

/** What a file looked like when it was closed. */
interface Seen {
  readonly size: number;
  readonly mtimeMs: number;
}

const MARK = 'closed.json';

/**
 * lmdb maps its file and trusts it: a page that is damaged or missing does not fail, it ends the
 * process (SIGSEGV, SIGBUS), with no word to the user. So a file that is not as the last orderly
 * close left it is first walked in a process of its own.
 *
 * @throws corrupt, permission
 */
export async function verifyFiles(
  folder: string,
  files: readonly { readonly file: string; readonly remedy: string }[],
  clock: Clock,
): Promise<void> {
  const marks = readMarks(folder);
  // From here on the files may change at any moment.
  removeMark(folder);
  const doubtful = files.filter(({ file }) => {
    const now = look(file);
    const mark = marks[basename(file)];
    if (now === undefined) return false;
    requireAccess(file);
    if (now.size === 0) return false;
    return mark?.size !== now.size || mark.mtimeMs !== now.mtimeMs;
  });
  if (doubtful.length === 0) return;
  const problem = await walk(
    doubtful.map(({ file }) => file),
    clock,
  );
  if (problem === undefined) return;
  const remedy = doubtful.find(({ file }) => file === problem.file)?.remedy ?? '';
  throw damaged(problem.file, problem.text, remedy);
}

/** `remedy`: what is lost with the file. */
export function damaged(
  file: string,
  problem: string,
  remedy: string,
  cause?: unknown,
): ReflexarcError {
  return new ReflexarcError('corrupt', `the data file is damaged: ${problem}`, {
    cause,
    where: { file },
    hint: `restore it from a backup, or move it away to begin with an empty one: ${remedy}`,
  });
}

/** Remembers the files as they are after an orderly close. */
export function markClosed(folder: string, files: readonly string[]): void {
  const marks = Object.fromEntries(files.map((file) => [basename(file), look(file)]));
  try {
    writeFileSync(join(folder, MARK), JSON.stringify(marks), { mode: 0o600 });
  } catch {
    // A full disk: then the files are walked at the next start, and that is all.
    rmSync(join(folder, MARK), { force: true });
  }
}

function look(file: string): Seen | undefined {
  try {
    const { size, mtimeMs } = statSync(file);
    return { size, mtimeMs };
  } catch {
    // It is not there yet; whether it can be made shows when it is opened.
    return undefined;
  }
}

function removeMark(folder: string): void {
  const file = join(folder, MARK);
  try {
    rmSync(file, { force: true });
  } catch (error) {
    throw fileError(error, file);
  }
}

function requireAccess(file: string): void {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw fileError(error, file);
  }
}

function readMarks(folder: string): Readonly<Record<string, Seen | undefined>> {
  try {
    return JSON.parse(readFileSync(join(folder, MARK), 'utf8')) as Record<string, Seen>;
  } catch {
    // Not closed in order: every file is walked.
    return {};
  }
}

async function walk(
  files: readonly string[],
  clock: Clock,
): Promise<{ readonly file: string; readonly text: string } | undefined> {
  const script = join(import.meta.dirname, 'verify.worker.ts');
  const child = spawn(execPath, [script, ...files], { stdio: ['ignore', 'pipe', 'ignore'] });
  const limit = clock.after(TIME_LIMIT, () => child.kill('SIGKILL'));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (code === 0) return undefined;
    const file = files.findLast((name) => said.includes(`${name}\n`));
    if (file === undefined) throw new Error(`the check ended with ${signal ?? code}`);
    const text = said.slice(said.indexOf(`${file}\n`) + file.length + 1);
    return { file, text: text === '' ? `reading it ends with ${signal ?? `code ${code}`}` : text };
  } catch (error) {
    throw new ReflexarcError(
      'unavailable',
      `the data files cannot be checked: ${messageOf(error)}`,
      { cause: error, where: { file: files[0] ?? '' } },
    );
  } finally {
    limit.cancel();
  }
}
