/** A part of a query's time: from inclusive, to exclusive. */
export interface Slice {
  readonly from: bigint;
  readonly to: bigint;
}

interface Part {
  readonly min: bigint;
  readonly max: bigint;
  readonly rows: number;
}

/** Rows that one slice reads at most, by guess. */
const MOST = 1_200_000;

/**
 * Cuts a range of time into slices of about equal numbers of rows, which get larger while nothing
 * is found in them. How many rows lie where is guessed from the ends of the segments.
 */
export class Slices {
  readonly #parts: readonly Part[];
  readonly #from: bigint;
  readonly #to: bigint;
  readonly #down: boolean;
  readonly #least: number;
  #want: number;
  #at: bigint;

  constructor(
    view: {
      readonly segments: readonly { readonly entry: Part }[];
      readonly generations: readonly Part[];
    },
    from: bigint,
    to: bigint,
    down: boolean,
    want: number,
  ) {
    const entries = view.segments.map(({ entry }) => entry);
    this.#parts = [...entries, ...view.generations];
    let min = to;
    let max = from;
    for (const part of this.#parts) {
      if (part.min < min) min = part.min;
      if (part.max >= max) max = part.max + 1n;
    }
    this.#from = min > from ? min : from;
    this.#to = max < to ? max : to;
    this.#down = down;
    this.#want = want;
    this.#least = want;
    this.#at = down ? this.#to : this.#from;
  }

  next(): Slice | undefined {
    if (this.#down ? this.#at <= this.#from : this.#at >= this.#to) return undefined;
    const edge = this.#edge();
    const slice = this.#down ? { from: edge, to: this.#at } : { from: this.#at, to: edge };
    this.#at = edge;
    return slice;
  }

  /** Whether the last slice had anything: then the next are smaller, else larger. */
  learn(found: boolean): void {
    this.#want = found ? Math.max(this.#least, this.#want / 2) : Math.min(MOST, this.#want * 2);
  }

  /** How far one may go until about as many rows as wanted are in between. */
  #edge(): bigint {
    const end = this.#down ? this.#from : this.#to;
    let rows = 0;
    let at = this.#at;
    // The ends of segments between here and there, nearest first.
    for (const next of this.#cuts(end)) {
      const [from, to] = this.#down ? [next, at] : [at, next];
      const inside = this.#guess(from, to);
      if (rows + inside >= this.#want) {
        // A share of this step; at least one nanosecond, so that it always goes on.
        const share = Math.max(0, Math.min(1, (this.#want - rows) / inside));
        const width = BigInt(Math.ceil(Number(to - from) * share));
        const step = width < 1n ? 1n : width;
        if (step >= to - from) return next;
        return this.#down ? to - step : from + step;
      }
      rows += inside;
      at = next;
    }
    return end;
  }

  #cuts(end: bigint): bigint[] {
    const cuts = new Set<bigint>([end]);
    for (const { min, max } of this.#parts) {
      for (const cut of [min, max + 1n]) {
        if (this.#down ? cut < this.#at && cut > end : cut > this.#at && cut < end) cuts.add(cut);
      }
    }
    return [...cuts].sort((a, b) => (a < b === this.#down ? 1 : -1));
  }

  #guess(from: bigint, to: bigint): number {
    let rows = 0;
    for (const part of this.#parts) {
      const low = part.min > from ? part.min : from;
      const high = part.max + 1n < to ? part.max + 1n : to;
      if (low >= high) continue;
      rows += (part.rows * Number(high - low)) / Number(part.max + 1n - part.min);
    }
    return rows;
  }
}
