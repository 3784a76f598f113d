import ddb, { type Vector } from '@duckdb/node-bindings';

/**
 * Rows by column, in the form in which DuckDB takes them: no object, no bigint and mostly no string
 * a row. A column is NULL wherever nothing was set.
 */

/** DuckDB's vector size. */
export const CHUNK = 2048;

export interface ColumnData {
  clear(): void;
  /** Only these rows stay, in this order, which rises. */
  keep(rows: Uint32Array): void;
  /** Before the first `write`; what it holds on to is let go of by `clear`. */
  begin?(): void;
  /** At most CHUNK rows; `from` is a multiple of CHUNK. */
  write(vector: Vector, from: number, to: number): void;
}

/** The rows of one insert: their times, and the columns that the table has besides. */
export class Rows {
  readonly times = new Nanos();
  readonly columns: readonly ColumnData[];
  count = 0;

  constructor(columns: readonly ColumnData[]) {
    this.columns = columns;
  }

  keep(rows: Uint32Array): void {
    this.times.keep(rows);
    for (const column of this.columns) column.keep(rows);
    this.count = rows.length;
  }

  clear(): void {
    this.times.clear();
    for (const column of this.columns) column.clear();
    this.count = 0;
  }
}

const ALL_NULL = new ArrayBuffer(CHUNK / 8);

/** Which rows have a value: one bit each. */
class Mask {
  #words = new Uint32Array(CHUNK / 32);
  #last = -1;
  #set = 0;

  /** Each row once. */
  set(row: number): void {
    const word = row >>> 5;
    if (word >= this.#words.length) this.#words = grown(this.#words, word);
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (row & 31));
    this.#set++;
    if (row > this.#last) this.#last = row;
  }

  has(row: number): boolean {
    return ((this.#words[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0;
  }

  get none(): boolean {
    return this.#set === 0;
  }

  clear(): void {
    if (this.#set > 0) this.#words.fill(0, 0, (this.#last >>> 5) + 1);
    this.#last = -1;
    this.#set = 0;
  }

  keep(rows: Uint32Array): void {
    if (this.none) return;
    const had = Uint8Array.from(rows, (row) => (this.has(row) ? 1 : 0));
    this.clear();
    for (let row = 0; row < had.length; row++) if (had[row] === 1) this.set(row);
  }

  write(vector: Vector, from: number, to: number): void {
    // Rows are set in their order: as many as there are rows up to here means all of them.
    if (this.#set === this.#last + 1 && this.#last + 1 >= to) return;
    ddb.vector_ensure_validity_writable(vector);
    const bytes = Math.ceil((to - from) / 64) * 8;
    const word = from >>> 5;
    if (this.none || word >= this.#words.length) {
      ddb.copy_data_to_vector_validity(vector, 0, ALL_NULL, 0, bytes);
      return;
    }
    const end = word + bytes / 4;
    if (end > this.#words.length) this.#words = grown(this.#words, end);
    ddb.copy_data_to_vector_validity(vector, 0, this.#words.buffer, word * 4, bytes);
  }
}

type Type = 'INTEGER' | 'BIGINT' | 'DOUBLE';

// What a chunk's values become on their way into a vector; one thread, one write at a time.
const halves = new Uint32Array(CHUNK * 2);
const integers = new Int32Array(CHUNK);
const strings = new Uint32Array(CHUNK * 4);

/** Numbers; a BIGINT only as far as a double is exact. */
export class Numbers implements ColumnData {
  readonly #type: Type;
  readonly #mask = new Mask();
  #values = new Float64Array(CHUNK);

  constructor(type: Type) {
    this.#type = type;
  }

  set(row: number, value: number): void {
    if (row >= this.#values.length) this.#values = grown(this.#values, row);
    this.#values[row] = value;
    this.#mask.set(row);
  }

  /** NaN where nothing was set. */
  get(row: number): number {
    return this.#mask.has(row) ? (this.#values[row] ?? Number.NaN) : Number.NaN;
  }

  clear(): void {
    this.#mask.clear();
  }

  keep(rows: Uint32Array): void {
    if (this.#mask.none) return;
    const values = this.#values;
    for (let to = 0; to < rows.length; to++) values[to] = values[rows[to] ?? 0] ?? 0;
    this.#mask.keep(rows);
  }

  write(vector: Vector, from: number, to: number): void {
    this.#mask.write(vector, from, to);
    if (this.#mask.none) return;
    const values = this.#values;
    const rows = to - from;
    if (this.#type === 'DOUBLE') {
      ddb.copy_data_to_vector(vector, 0, values.buffer, from * 8, rows * 8);
    } else if (this.#type === 'INTEGER') {
      for (let row = 0; row < rows; row++) integers[row] = values[from + row] ?? 0;
      ddb.copy_data_to_vector(vector, 0, integers.buffer, 0, rows * 4);
    } else {
      for (let row = 0; row < rows; row++) putLong(row, values[from + row] ?? 0);
      ddb.copy_data_to_vector(vector, 0, halves.buffer, 0, rows * 8);
    }
  }
}

/** Numbers that follow upon each other. */
export function writeCounter(vector: Vector, first: number, rows: number): void {
  for (let row = 0; row < rows; row++) putLong(row, first + row);
  ddb.copy_data_to_vector(vector, 0, halves.buffer, 0, rows * 8);
}

const HALF = 2 ** 32;

function putLong(row: number, value: number): void {
  const high = Math.floor(value / HALF);
  halves[row * 2] = value - high * HALF;
  halves[row * 2 + 1] = high;
}

/** Nanoseconds since the epoch, in 64 bits. */
export class Nanos implements ColumnData {
  /** Low and high half of each. */
  #halves = new Uint32Array(CHUNK * 2);
  #count = 0;
  #second = Number.NaN;
  #low = 0;
  #high = 0;

  push(seconds: number, nanos: number): void {
    if (seconds !== this.#second) {
      const whole = BigInt(seconds) * 1_000_000_000n;
      this.#low = Number(BigInt.asUintN(32, whole));
      this.#high = Number(BigInt.asIntN(32, whole >> 32n));
      this.#second = seconds;
    }
    const low = this.#low + nanos;
    if (low >= HALF) this.#put(low - HALF, this.#high + 1);
    else this.#put(low, this.#high);
  }

  pushBigint(nanos: bigint): void {
    this.#put(Number(BigInt.asUintN(32, nanos)), Number(BigInt.asIntN(32, nanos >> 32n)));
  }

  #put(low: number, high: number): void {
    const at = this.#count++ * 2;
    if (at >= this.#halves.length) this.#halves = grown(this.#halves, at);
    this.#halves[at] = low;
    this.#halves[at + 1] = high;
  }

  get(row: number): bigint {
    const high = BigInt.asIntN(32, BigInt(this.#halves[row * 2 + 1] ?? 0));
    return (high << 32n) | BigInt(this.#halves[row * 2] ?? 0);
  }

  /** Of at least one row. */
  range(): { readonly min: bigint; readonly max: bigint } {
    let min = 0;
    let max = 0;
    for (let row = 1; row < this.#count; row++) {
      if (this.#compare(row, min) < 0) min = row;
      else if (this.#compare(row, max) > 0) max = row;
    }
    return { min: this.get(min), max: this.get(max) };
  }

  #compare(a: number, b: number): number {
    const values = this.#halves;
    const high = ((values[a * 2 + 1] ?? 0) | 0) - ((values[b * 2 + 1] ?? 0) | 0);
    return high === 0 ? (values[a * 2] ?? 0) - (values[b * 2] ?? 0) : high;
  }

  clear(): void {
    this.#count = 0;
  }

  keep(rows: Uint32Array): void {
    const values = this.#halves;
    for (let to = 0; to < rows.length; to++) {
      const from = rows[to] ?? 0;
      values[to * 2] = values[from * 2] ?? 0;
      values[to * 2 + 1] = values[from * 2 + 1] ?? 0;
    }
    this.#count = rows.length;
  }

  write(vector: Vector, from: number, to: number): void {
    ddb.copy_data_to_vector(vector, 0, this.#halves.buffer, from * 8, (to - from) * 8);
  }
}

/** The bytes of a short source are cheaper copied than held. */
const REFER_FROM = 16 * 1024;
/** How much of the buffer for copies is kept from insert to insert. */
const KEEP = 8 * 1024 ** 2;

/**
 * Texts as UTF-8, copied or referred to where they stand.
 *
 * All bytes go to DuckDB in one piece, and its strings are made to point into them: 16 bytes each,
 * length, first four bytes, address, or up to twelve bytes in place of the last two. That is
 * `duckdb_string_t` of DuckDB's C API, which promises it. One call a chunk instead of one a string.
 */
export class Texts implements ColumnData {
  readonly #mask = new Mask();
  /** The first one is what was copied. */
  #sources: Uint8Array[] = [];
  #own = Buffer.allocUnsafeSlow(64);
  #used = 0;
  /** Source, offset, length. */
  #refs = new Uint32Array(64 * 3);
  #heap: { readonly chunk: unknown; readonly addresses: Uint32Array } | undefined;

  /** A number for `refer`; undefined: `copy` its texts. The bytes stay as they are until `clear`. */
  addSource(bytes: Uint8Array): number | undefined {
    if (bytes.length < REFER_FROM || this.#sources.length >= CHUNK - 1) return undefined;
    return this.#sources.push(bytes);
  }

  refer(row: number, source: number, from: number, length: number): void {
    const at = row * 3;
    if (at + 2 >= this.#refs.length) this.#refs = grown(this.#refs, at + 2);
    this.#refs[at] = source;
    this.#refs[at + 1] = from;
    this.#refs[at + 2] = length;
    this.#mask.set(row);
  }

  set(row: number, text: string): void {
    this.#reserve(text.length * 3);
    const length = this.#own.write(text, this.#used);
    this.refer(row, 0, this.#used, length);
    this.#used += length;
  }

  copy(row: number, bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from);
    this.#own.set(bytes.subarray(from, to), this.#used);
    this.refer(row, 0, this.#used, to - from);
    this.#used += to - from;
  }

  /** What stands between the quotes of a JSON text; it is valid. */
  unescape(row: number, bytes: Uint8Array, from: number, to: number): void {
    this.#reserve(to - from);
    const end = unescaped(bytes, from, to, this.#own, this.#used);
    if (end === -1) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString();
      this.set(row, JSON.parse(`"${text}"`) as string);
      return;
    }
    this.refer(row, 0, this.#used, end - this.#used);
    this.#used = end;
  }

  #reserve(bytes: number): void {
    const needed = this.#used + bytes;
    if (needed <= this.#own.length) return;
    const own = Buffer.allocUnsafeSlow(Math.max(needed, this.#own.length * 2));
    this.#own.copy(own, 0, 0, this.#used);
    this.#own = own;
  }

  clear(): void {
    this.#mask.clear();
    this.#sources = [];
    this.#used = 0;
    this.#heap = undefined;
    if (this.#own.length > KEEP) this.#own = Buffer.allocUnsafeSlow(64);
  }

  keep(rows: Uint32Array): void {
    if (this.#mask.none) return;
    const refs = this.#refs;
    for (let to = 0; to < rows.length; to++) {
      const from = rows[to] ?? 0;
      for (let part = 0; part < 3; part++) refs[to * 3 + part] = refs[from * 3 + part] ?? 0;
    }
    this.#mask.keep(rows);
  }

  begin(): void {
    if (this.#mask.none) return;
    const sources = [this.#own.subarray(0, Math.max(16, this.#used)), ...this.#sources];
    const chunk = ddb.create_data_chunk([ddb.create_logical_type(ddb.Type.BLOB)]);
    const vector = ddb.data_chunk_get_vector(chunk, 0);
    for (const [index, bytes] of sources.entries()) {
      // Gone where the call that it came with failed: then no row refers to it any more.
      if (bytes.length > 0) ddb.vector_assign_string_element_len(vector, index, bytes);
    }
    const made = ddb.vector_get_data(vector, sources.length * 16);
    const addresses = new Uint32Array(sources.length * 4);
    new Uint8Array(addresses.buffer).set(made);
    this.#heap = { chunk, addresses };
  }

  write(vector: Vector, from: number, to: number): void {
    this.#mask.write(vector, from, to);
    if (this.#mask.none || this.#heap === undefined) return;
    const { addresses } = this.#heap;
    const refs = this.#refs;
    for (let row = from; row < to; row++) {
      const out = (row - from) * 4;
      if (!this.#mask.has(row)) {
        strings.fill(0, out, out + 4);
        continue;
      }
      const source = refs[row * 3] ?? 0;
      const offset = refs[row * 3 + 1] ?? 0;
      const length = refs[row * 3 + 2] ?? 0;
      const bytes = source === 0 ? this.#own : this.#sources[source - 1];
      if (bytes === undefined) continue;
      strings[out] = length;
      strings[out + 1] = wordOf(bytes, offset, length);
      if (length <= 12) {
        strings[out + 2] = length > 4 ? wordOf(bytes, offset + 4, length - 4) : 0;
        strings[out + 3] = length > 8 ? wordOf(bytes, offset + 8, length - 8) : 0;
        continue;
      }
      const low = (addresses[source * 4 + 2] ?? 0) + offset;
      const high = addresses[source * 4 + 3] ?? 0;
      strings[out + 2] = low;
      strings[out + 3] = low >= HALF ? high + 1 : high;
    }
    ddb.copy_data_to_vector(vector, 0, strings.buffer, 0, (to - from) * 16);
  }
}

/** Up to four bytes, little endian; zeros behind the last one. */
function wordOf(bytes: Uint8Array, at: number, length: number): number {
  let word = length > 0 ? (bytes[at] ?? 0) : 0;
  if (length > 1) word |= (bytes[at + 1] ?? 0) << 8;
  if (length > 2) word |= (bytes[at + 2] ?? 0) << 16;
  if (length > 3) word |= (bytes[at + 3] ?? 0) << 24;
  return word;
}

/** @returns where it ends in `out`; -1: it has an escape that is more than one letter */
function unescaped(
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): number {
  let end = at;
  for (let index = from; index < to; index++) {
    let byte = bytes[index] ?? 0;
    if (byte === 92) {
      byte = ESCAPED[bytes[++index] ?? 0] ?? 0;
      if (byte === 0) return -1;
    }
    out[end++] = byte;
  }
  return end;
}

/** What the byte after a backslash stands for; 0: look at it as a whole. */
const ESCAPED = new Uint8Array(256);
for (const [name, meaning] of Object.entries({
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
})) {
  ESCAPED[name.charCodeAt(0)] = meaning.charCodeAt(0);
}

function grown<T extends Uint32Array | Float64Array>(values: T, index: number): T {
  const length = Math.max(index + 1, values.length * 2);
  const more = (
    values instanceof Float64Array ? new Float64Array(length) : new Uint32Array(length)
  ) as T;
  more.set(values);
  return more;
}
