import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from './wait.ts';

/** The program as users run it: a process of its own. */
export interface Program {
  readonly url: string;
  readonly process: ChildProcess;
  /** All that it has written to standard error. */
  log(): string;
  /** Ends it with the signal and resolves to its exit code (null: killed). */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

// As its first line has it started.
const MAIN = [
  '--max-semi-space-size=16',
  join(import.meta.dirname, '..', '..', 'cli', 'reflexarc.js'),
];

interface ProgramOptions {
  /** Instead of `up`. */
  readonly command?: string;
  readonly args?: readonly string[];
  /** Runs as another user; takes root. */
  readonly uid?: number;
}

/** `reflexarc up --dir dir` on a free port; resolves when it is ready. */
export async function startUp(
  dir: string,
  env: Record<string, string> = {},
  options: ProgramOptions = {},
): Promise<Program> {
  const { command = 'up', args = ['--listen', '127.0.0.1:0', '--log-level', 'info'] } = options;
  const child = spawn(process.execPath, [...MAIN, command, '--dir', dir, '--json', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let log = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const exited = once(child, 'exit');
  const url = await until('the program to be up', () => {
    if (child.exitCode !== null) return 'ended';
    const found = /"url":"(http:[^"]+)"[^\n]*"msg":"up on/.exec(log)?.[1];
    if (found === undefined) throw new Error(log);
    return found;
  });
  if (url === 'ended') throw new Error(`ended with ${child.exitCode}:\n${log}`);
  return {
    url,
    process: child,
    log: () => log,
    async end(signal) {
      child.kill(signal);
      await exited;
      return child.exitCode;
    },
  };
}

/** Runs a command to its end. */
export async function runCommand(
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

export interface Stream {
  readonly stream: Record<string, string>;
  readonly values: readonly (readonly [time: string, line: string])[];
}

/** All lines that a LogQL query finds in the last hour, oldest first. */
export async function queryLines(url: string, query: string, limit = 5000): Promise<string[]> {
  const parameters = new URLSearchParams({
    query,
    limit: String(limit),
    direction: 'forward',
    since: '1h',
  });
  const response = await fetch(`${url}/loki/api/v1/query_range?${parameters.toString()}`);
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const body = (await response.json()) as { data: { result: Stream[] } };
  return body.data.result
    .flatMap((stream) => stream.values)
    .sort((a, b) => (BigInt(a[0]) < BigInt(b[0]) ? -1 : BigInt(a[0]) > BigInt(b[0]) ? 1 : 0))
    .map(([, line]) => line);
}
