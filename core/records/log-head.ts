/**
 * The part of a log record's wire form before its stream, read in place where it is exactly as
 * `encodeLog` writes it and has no further fields: no text, no object, no bigint a line.
 */
export class LogHead {
  /** Where the time's thirty characters are. */
  timeFrom = 0;
  /** Whole seconds since the epoch, and the rest. */
  seconds = 0;
  nanos = 0;
  idFrom = 0;
  idTo = 0;
  /** How many numbers the position has. */
  parts: 0 | 1 | 2 = 0;
  first = 0;
  second = 0;
  /** The message between its quotes, as JSON has it. */
  lineFrom = 0;
  lineTo = 0;
  /** It has escapes, all of them valid. */
  escaped = false;

  #bytes: Uint8Array = new Uint8Array();
  /** The same bytes in fours, from the first one whose place in its buffer is a multiple of four. */
  #words: Int32Array = new Int32Array();
  #shift = 0;
  readonly #second = new Uint8Array(19);
  #secondIs = Number.NaN;
  #day = '';
  #dayIs = Number.NaN;

  open(bytes: Uint8Array): void {
    this.#bytes = bytes;
    const shift = Math.min((4 - (bytes.byteOffset & 3)) & 3, bytes.length);
    this.#shift = shift;
    this.#words = new Int32Array(
      bytes.buffer,
      shift === bytes.length ? 0 : bytes.byteOffset + shift,
      (bytes.length - shift) >>> 2,
    );
  }

  /** False: it is of another form, and to be read as a document; what it says of itself is void. */
  read(from: number): boolean {
    const bytes = this.#bytes;
    // The shortest that there is; what follows looks no further without asking.
    if (from + SHORTEST > bytes.length || !startsWith(bytes, from, START)) return false;
    const time = from + START.length;
    const idFrom = time + 30 + ID.length;
    if (!this.#readTime(time) || !startsWith(bytes, time + 30, ID)) return false;
    let at = idFrom;
    for (; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === QUOTE) break;
      if (byte < 32 || byte === BACKSLASH) return false;
    }
    if (at === idFrom) return false;
    this.timeFrom = time;
    this.idFrom = idFrom;
    this.idTo = at;
    at++;
    this.parts = 0;
    if (startsWith(bytes, at, POSITION)) {
      at = this.#readPosition(at + POSITION.length);
      if (at === 0) return false;
    }
    if (!startsWith(bytes, at, MESSAGE)) return false;
    return this.#readLine(at + MESSAGE.length);
  }

  /** Whether the id is the one that follows from the position, as `lineId` makes it. */
  idIs(prefix: string): boolean {
    const bytes = this.#bytes;
    let at = this.idFrom + prefix.length;
    if (this.parts === 0 || at >= this.idTo) return false;
    for (let index = 0; index < prefix.length; index++) {
      if (bytes[this.idFrom + index] !== prefix.charCodeAt(index)) return false;
    }
    at = this.#skipBase36(at, this.first);
    if (this.parts === 2 && at > 0) at = this.#skipBase36(at, this.second);
    return at === this.idTo;
  }

  /** Past a point and this number; 0: it does not stand there. */
  #skipBase36(from: number, value: number): number {
    const bytes = this.#bytes;
    if (bytes[from] !== POINT) return 0;
    let found = 0;
    let at = from + 1;
    for (; at < this.idTo; at++) {
      const byte = bytes[at] ?? 0;
      if (byte >= ZERO && byte <= ZERO + 9) found = found * 36 + byte - ZERO;
      else if (byte >= A && byte < A + 26) found = found * 36 + byte - A + 10;
      else break;
    }
    const digits = at - from - 1;
    const plain = digits === 1 || (digits > 1 && digits < 12 && bytes[from + 1] !== ZERO);
    return plain && found === value ? at : 0;
  }

  #readTime(from: number): boolean {
    const bytes = this.#bytes;
    if (bytes[from + 19] !== POINT || bytes[from + 29] !== Z) return false;
    const nanos = digitsOf(bytes, from + 20, from + 29);
    let same = nanos >= 0;
    if (!same) return false;
    const second = this.#second;
    for (let index = 18; index >= 0 && same; index--) same = bytes[from + index] === second[index];
    if (!same && !this.#readSecond(from)) return false;
    this.seconds = this.#secondIs;
    this.nanos = nanos;
    return true;
  }

  #readSecond(from: number): boolean {
    const bytes = this.#bytes;
    const day = String.fromCharCode(...bytes.subarray(from, from + 10));
    if (day !== this.#day) {
      this.#day = day;
      this.#dayIs = DAY.test(day) ? Date.parse(`${day}T00:00:00Z`) / 1000 : Number.NaN;
    }
    const hours = digitsOf(bytes, from + 11, from + 13);
    const minutes = digitsOf(bytes, from + 14, from + 16);
    const seconds = digitsOf(bytes, from + 17, from + 19);
    const inDay = hours < 24 && minutes < 60 && seconds < 60;
    if (!inDay || Math.min(hours, minutes, seconds) < 0) return false;
    const separated = bytes[from + 10] === T && bytes[from + 13] === COLON;
    if (!separated || bytes[from + 16] !== COLON) return false;
    const total = this.#dayIs + hours * 3600 + minutes * 60 + seconds;
    // What nanoseconds in 64 bits can hold; not for NaN either.
    if (!(Math.abs(total) < 9.2e9)) return false;
    this.#second.set(bytes.subarray(from, from + 19));
    this.#secondIs = total;
    return true;
  }

  /** @returns where it ends; 0: it is none */
  #readPosition(from: number): number {
    const bytes = this.#bytes;
    const pair = bytes[from] === BRACKET;
    let at = pair ? from + 1 : from;
    let to = endOfNumber(bytes, at);
    if (to === 0) return 0;
    this.first = digitsOf(bytes, at, to);
    this.parts = 1;
    if (!pair) return to;
    if (bytes[to] !== COMMA) return 0;
    at = to + 1;
    to = endOfNumber(bytes, at);
    if (to === 0 || bytes[to] !== CLOSING) return 0;
    this.second = digitsOf(bytes, at, to);
    this.parts = 2;
    return to + 1;
  }

  #readLine(from: number): boolean {
    const bytes = this.#bytes;
    this.lineFrom = from;
    this.escaped = false;
    for (let at = from; at < bytes.length; ) {
      if (((at - this.#shift) & 3) === 0 && at >= this.#shift) at = this.#skipPlain(at);
      const byte = bytes[at] ?? 0;
      if (byte === QUOTE) {
        this.lineTo = at;
        return true;
      }
      if (byte < 32) return false;
      if (byte === BACKSLASH) {
        const length = escapeAt(bytes, at);
        if (length === 0) return false;
        this.escaped = true;
        at += length;
      } else {
        at++;
      }
    }
    return false;
  }

  /** Past groups of four bytes of which none is a quote, a backslash or a control character. */
  #skipPlain(from: number): number {
    const words = this.#words;
    let index = (from - this.#shift) >>> 2;
    for (; index < words.length; index++) {
      const word = words[index] ?? 0;
      const quote = word ^ 0x22222222;
      const backslash = word ^ 0x5c5c5c5c;
      // The highest bit of a byte that is below 32, or that is zero; rarely of its neighbour.
      const found =
        ((word - 0x20202020) & ~word) |
        ((quote - 0x01010101) & ~quote) |
        ((backslash - 0x01010101) & ~backslash);
      if ((found & 0x80808080) !== 0) break;
    }
    return this.#shift + index * 4;
  }
}

const codes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const START = codes('{"@timestamp":"');
const ID = codes('","event.id":"');
const POSITION = codes(',"reflexarc.position":');
const MESSAGE = codes(',"message":"');
const SHORTEST = START.length + 30 + ID.length + MESSAGE.length;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const T = 0x54;
const Z = 0x5a;
const BRACKET = 0x5b;
const CLOSING = 0x5d;
const A = 0x61;
const U = 0x75;

function startsWith(bytes: Uint8Array, from: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index++) {
    if (bytes[from + index] !== text[index]) return false;
  }
  return true;
}

/** -1: not only digits. */
function digitsOf(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = (bytes[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** Of a JSON number of digits alone that a double holds exactly; 0: it is another. */
function endOfNumber(bytes: Uint8Array, from: number): number {
  let at = from;
  for (; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < ZERO || byte > ZERO + 9) break;
  }
  const digits = at - from;
  return digits === 1 || (digits > 1 && digits < 16 && bytes[from] !== ZERO) ? at : 0;
}

/** Bytes of the escape that begins here; 0: JSON has no such. */
function escapeAt(bytes: Uint8Array, at: number): number {
  const kind = bytes[at + 1] ?? 0;
  if (kind !== U) return SIMPLE.has(kind) ? 2 : 0;
  for (let index = at + 2; index < at + 6; index++) {
    const byte = bytes[index] ?? 0;
    const lower = byte | 32;
    const hex = (byte >= ZERO && byte <= ZERO + 9) || (lower >= A && lower < A + 6);
    if (!hex) return 0;
  }
  return 6;
}

const SIMPLE: ReadonlySet<number> = new Set(codes('"\\/bfnrt'));
