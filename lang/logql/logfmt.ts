import { unquote } from '../text.ts';

/**
 * The pairs of a logfmt line, in order, as Loki reads them: what is no pair is passed over up to
 * the next space. A key alone has no value. Returns the last problem, which `--strict` reports, and
 * at which reading then stops.
 */
export function readLogfmt(
  line: string,
  strict: boolean,
  take: (key: string, value: string) => void,
): string | undefined {
  let problem: string | undefined;
  let at = 0;
  const skipToSpace = () => {
    while (at < line.length && line.charCodeAt(at) > 32) at++;
  };
  const wrong = (message: string) => {
    problem = `logfmt syntax error at pos ${at + 1} : ${message}`;
  };
  for (;;) {
    if (strict && problem !== undefined) return problem;
    while (at < line.length && line.charCodeAt(at) <= 32) at++;
    if (at >= line.length) return problem;
    const start = at;
    while (at < line.length && isPlain(line.charCodeAt(at))) at++;
    const key = line.slice(start, at);
    if (line[at] !== '=' || key === '') {
      if (line[at] === '"' || line[at] === '=') {
        wrong(`unexpected '${line[at]}'`);
        skipToSpace();
      } else take(key, '');
      continue;
    }
    at++;
    const from = at;
    if (line[at] !== '"') {
      while (at < line.length && isPlain(line.charCodeAt(at))) at++;
      if (line[at] === '=' || line[at] === '"') {
        wrong(`unexpected '${line[at]}'`);
        skipToSpace();
      } else take(key, line.slice(from, at));
      continue;
    }
    at++;
    while (at < line.length && line[at] !== '"') at += line[at] === '\\' ? 2 : 1;
    if (at >= line.length) {
      at = line.length;
      wrong('unterminated quoted value');
      continue;
    }
    at++;
    const value = unquote(line.slice(from, at));
    if (value === undefined) wrong('invalid quoted value');
    else take(key, value);
  }
}

/** Part of a key or of a value without quotes. */
const isPlain = (code: number): boolean => code > 32 && code !== 61 && code !== 34;
