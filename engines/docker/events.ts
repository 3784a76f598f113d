import type { Nanos } from '../../core/time.ts';
import { OWN_WORDS } from './identity.ts';

/** One message of the engine's event stream about a container. */
export interface EngineEvent {
  readonly time: Nanos;
  /** Without what follows a colon: `health_status`, not `health_status: unhealthy`. */
  readonly action: string;
  readonly id: string;
  /** As the engine sent them: the container's labels, `name`, `image`, `exitCode`, … */
  readonly raw: Readonly<Record<string, string>>;
  /** In our words: `exit_code`, `signal`, `health_status`, … */
  readonly attributes: Readonly<Record<string, string>>;
  /** The same event sent twice has the same key. */
  readonly key: string;
}

/**
 * What is asked for. Health checks alone would make three `exec_*` events a probe, and push all
 * else out of what the engine remembers of us; `attach`, `top`, `resize` say nothing of a service.
 */
export const ACTIONS = [
  'create',
  'start',
  'restart',
  'die',
  'oom',
  'kill',
  'stop',
  'pause',
  'unpause',
  'health_status',
  'rename',
  'update',
  'destroy',
] as const;

interface Message {
  readonly Type?: unknown;
  readonly Action?: unknown;
  readonly status?: unknown;
  readonly id?: unknown;
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: Record<string, string> | null };
  readonly time?: unknown;
}

/** @returns undefined for what is no container's event. @throws SyntaxError */
export function parseEvent(line: string): EngineEvent | undefined {
  const message = JSON.parse(line) as Message;
  const action = message.Action ?? message.status;
  const id = message.Actor?.ID ?? message.id;
  if (message.Type !== 'container' || typeof action !== 'string' || typeof id !== 'string') {
    return undefined;
  }
  // A double has not digits enough for nanoseconds: they are taken from the text.
  const nanos = /"timeNano":(\d+)/.exec(line.slice(line.lastIndexOf('"timeNano"')))?.[1];
  const time = nanos === undefined ? BigInt(Number(message.time)) * 1_000_000_000n : BigInt(nanos);
  const colon = action.indexOf(':');
  const word = colon === -1 ? action : action.slice(0, colon);
  const rest = colon === -1 ? undefined : action.slice(colon + 1).trim();
  const raw = message.Actor?.Attributes ?? {};
  return {
    time,
    action: word,
    id,
    raw,
    attributes: attributesOf(raw, word, rest),
    key: `${time} ${id} ${action}`,
  };
}

function attributesOf(
  raw: Readonly<Record<string, string>>,
  action: string,
  rest: string | undefined,
): Record<string, string> {
  const attributes: Record<string, string> = {};
  if (rest !== undefined) attributes[action === 'health_status' ? action : 'detail'] = rest;
  for (const [key, value] of Object.entries(raw)) {
    // The rest are the container's labels, and they are its instance's.
    if (!OWN_WORDS.has(key) || key === 'name' || key === 'image') continue;
    if (key === 'signal') attributes['signal'] = signalName(value);
    else attributes[snake(key)] = key === 'oldName' ? value.replace(/^\//, '') : value;
  }
  return attributes;
}

const snake = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// Linux' numbers, as containers have them, whatever this process runs on: signal(7).
const SIGNALS: Readonly<Record<string, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  6: 'SIGABRT',
  9: 'SIGKILL',
  10: 'SIGUSR1',
  11: 'SIGSEGV',
  12: 'SIGUSR2',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  18: 'SIGCONT',
  19: 'SIGSTOP',
  28: 'SIGWINCH',
};

/** `9`, `KILL` and `SIGKILL` are one. */
export function signalName(signal: string): string {
  const known = SIGNALS[signal];
  if (known !== undefined) return known;
  if (/^\d+$/.test(signal)) return signal;
  const upper = signal.toUpperCase();
  return upper.startsWith('SIG') ? upper : `SIG${upper}`;
}

/** Cuts a stream of bytes at line breaks; what is left of a cut connection is no line. */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let to = rest.indexOf('\n'); to !== -1; to = rest.indexOf('\n', from)) {
      if (to > from) yield rest.slice(from, to);
      from = to + 1;
    }
    rest = rest.slice(from);
  }
}
