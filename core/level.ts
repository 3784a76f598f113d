/**
 * The severity of a log line, from its own words. One function for all collectors, so that the label
 * `level` means the same whatever wrote the line.
 */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type Level = (typeof LEVELS)[number];

/** Only this many characters are looked at. */
const HEAD = 256;

// Syslog's eight severities (RFC 5424, 6.2.1) fall on our six: emergency, alert and critical are
// fatal, notice is info.
const WORDS: ReadonlyMap<string, Level> = new Map<string, Level>([
  ['trace', 'trace'],
  ['trc', 'trace'],
  ['verbose', 'trace'],
  ['finest', 'trace'],
  ['finer', 'trace'],
  ['debug', 'debug'],
  ['dbg', 'debug'],
  ['dbug', 'debug'],
  ['fine', 'debug'],
  ['info', 'info'],
  ['inf', 'info'],
  ['information', 'info'],
  ['informational', 'info'],
  ['notice', 'info'],
  ['warn', 'warn'],
  ['wrn', 'warn'],
  ['warning', 'warn'],
  ['error', 'error'],
  ['err', 'error'],
  ['eror', 'error'],
  ['severe', 'error'],
  ['fail', 'error'],
  ['fatal', 'fatal'],
  ['ftl', 'fatal'],
  ['critical', 'fatal'],
  ['crit', 'fatal'],
  ['alert', 'fatal'],
  ['emerg', 'fatal'],
  ['emergency', 'fatal'],
  ['panic', 'fatal'],
]);
const LONGEST = 13;

const LETTERS: Readonly<Record<string, Level>> = {
  T: 'trace',
  D: 'debug',
  I: 'info',
  W: 'warn',
  E: 'error',
  F: 'fatal',
  C: 'fatal',
};

const SYSLOG: readonly Level[] = [
  'fatal',
  'fatal',
  'fatal',
  'error',
  'warn',
  'info',
  'info',
  'debug',
];

const JSON_FIELD =
  /"(?:level|severity|lvl|log\.level|loglevel|log_level|levelname|level_name)"\s*:\s*(?:"([A-Za-z]{1,13})"|(\d{1,3})[,}\s])/i;
const LOGFMT = /(?:^|[\s,])(?:level|lvl|severity|log\.level|loglevel)=(?:"?([A-Za-z]{1,13})|(\d+))/;
const ESCAPE = '\u001b';
const ANSI = new RegExp(`${ESCAPE}\\[[\\d;]*m`, 'g');
const SYSLOG_PRIORITY = /^<(\d{1,3})>/;
const KLOG = /^[IWEF]\d{4} \d\d:\d\d:\d\d/;
const UPPER_INSIDE = /(?:^|[\s:])([A-Z]{3,13})(?:[\s:]|$)/;
const MODULE_INSIDE = /:([a-z]{3,13})$/;
const CALENDAR = /^(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)/;

/** `WARNING`, `err`, `Critical` to one of ours; undefined when it is no level's name. */
export function parseLevel(word: string): Level | undefined {
  return WORDS.get(word) ?? (word.length <= LONGEST ? WORDS.get(word.toLowerCase()) : undefined);
}

/** pino's and bunyan's tens; below ten, syslog's severities. */
function numericLevel(value: number): Level | undefined {
  if (value < 8) return SYSLOG[value];
  if (value < 10 || value > 60) return undefined;
  return LEVELS[Math.floor(value / 10) - 1];
}

/**
 * The level that a line says it has, within its first 256 characters: a JSON field, logfmt's
 * `level=`, syslog's `<3>`, klog's `E0102`, and the level word of a header such as `[ERROR]`,
 * `ERROR:` or `2026-01-02 03:04:05 [main] ERROR`. A word in the middle of a sentence is none.
 *
 * @returns undefined when the line says nothing: its stream then has no label `level` (where Loki
 * would write `unknown`), so that `level=""` selects it.
 */
export function detectLevel(line: string): Level | undefined {
  let head = line.length > HEAD ? line.slice(0, HEAD) : line;
  if (head.includes(ESCAPE)) head = head.replace(ANSI, '');
  const first = head.charCodeAt(0);
  if (first === 123 /* { */) {
    const found = JSON_FIELD.exec(head);
    if (found === null) return undefined;
    return found[1] === undefined ? numericLevel(Number(found[2])) : parseLevel(found[1]);
  }
  if (first === 60 /* < */) {
    const found = SYSLOG_PRIORITY.exec(head);
    if (found !== null) return SYSLOG[Number(found[1]) & 7];
  }
  if (first >= 69 && first <= 87 && KLOG.test(head)) return LETTERS[head.charAt(0)];
  return (head.includes('=') ? logfmtLevel(head) : undefined) ?? headerLevel(head);
}

function logfmtLevel(head: string): Level | undefined {
  const found = LOGFMT.exec(head);
  if (found === null) return undefined;
  // Between quotes it is part of somebody's message.
  let quotes = 0;
  for (let at = head.indexOf('"'); at !== -1 && at < found.index; at = head.indexOf('"', at + 1)) {
    quotes++;
  }
  if (quotes % 2 === 1) return undefined;
  return found[1] === undefined ? numericLevel(Number(found[2])) : parseLevel(found[1]);
}

const isSpace = (code: number): boolean => code === 32 || code === 9;
const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122;

/**
 * Walks the line's header token by token (times, thread names, loggers, process ids) and stops at
 * the first plain word: from there on it is a sentence.
 */
function headerLevel(head: string): Level | undefined {
  let at = 0;
  let dashed = false;
  for (let tokens = 0; tokens < 10; tokens++) {
    while (isSpace(head.charCodeAt(at))) at++;
    if (at >= head.length) return undefined;
    const code = head.charCodeAt(at);
    if (code === 91 /* [ */ || code === 40 /* ( */) {
      const close = head.indexOf(code === 91 ? ']' : ')', at);
      if (close === -1) return undefined;
      const level = bracketLevel(head.slice(at + 1, close));
      if (level !== undefined) return level;
      at = close + 1;
      if (head.charCodeAt(at) === 58) at++;
      continue;
    }
    let end = at;
    while (end < head.length && !isSpace(head.charCodeAt(end))) end++;
    const level = tokenLevel(head, at, end);
    if (level !== undefined) return level;
    const next = head.charCodeAt(end + 1);
    const separated = next === 45 /* - */ || next === 124; /* | */
    if (!isHeader(head, at, end) && !(dashed && separated)) return undefined;
    dashed = end - at === 1 && (code === 45 || code === 124);
    at = end;
  }
  return undefined;
}

/** The inside of a bracket: `error`, `core:error`, `E 260102 03:04:05`, `2026-01-02T… WARN app`. */
function bracketLevel(inside: string): Level | undefined {
  const text = inside.trim();
  const letter = text.charAt(0);
  if (text.length === 1 || text.charCodeAt(1) === 32) {
    const level = LETTERS[letter];
    if (level !== undefined) return level;
  }
  if (text.length <= LONGEST) {
    const whole = parseLevel(text);
    if (whole !== undefined) return whole;
  }
  // Small letters count only as Apache's `[module:error]`.
  const word = UPPER_INSIDE.exec(text)?.[1] ?? MODULE_INSIDE.exec(text)?.[1];
  return word === undefined ? undefined : WORDS.get(word.toLowerCase());
}

/** `ERROR`, `ERROR:`, `error:`, `Error:`, `ERROR:root:…`, `|WARN|`; small letters need the colon. */
function tokenLevel(head: string, from: number, to: number): Level | undefined {
  let start = from;
  while (start < to && !isLetter(head.charCodeAt(start))) {
    const code = head.charCodeAt(start);
    if (code >= 48 && code <= 57) return undefined;
    start++;
  }
  let end = start;
  while (end < to && isLetter(head.charCodeAt(end))) end++;
  if (end - start < 3 || end - start > LONGEST) return undefined;
  const after = head.charCodeAt(end);
  const colon = end < to && after === 58;
  // `ERROR`, or with what closes it; `ERROR-42` and `INFO.txt` are names.
  if (end < to && !colon && after !== 124 && after !== 44 && after !== 93 && after !== 62) {
    return undefined;
  }
  const word = head.slice(start, end);
  if (colon && word === 'LOG') return 'info'; // PostgreSQL
  const level = parseLevel(word);
  if (level === undefined) return undefined;
  return colon || word === word.toUpperCase() ? level : undefined;
}

/** What may stand before a level: has a digit, is a path or a logger's name, a zone, a separator. */
function isHeader(head: string, from: number, to: number): boolean {
  let upper = true;
  for (let at = from; at < to; at++) {
    const code = head.charCodeAt(at);
    if (code >= 48 && code <= 57) return true;
    // A full stop or a colon at the end belongs to a sentence.
    if ((code === 46 || code === 47 || code === 58 || code === 64) && at < to - 1) return true;
    if (code < 65 || code > 90) upper = false;
  }
  if (to - from <= 3 && !isLetter(head.charCodeAt(from))) return true;
  return (upper && to - from >= 2 && to - from <= 5) || CALENDAR.test(head.slice(from, to));
}
