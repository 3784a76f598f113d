/**
 * Times that rise, with something beside each: a growing typed array whose front is given up as it
 * gets old. Insertion at the end is the rule, in the middle the exception.
 */
export class SortedTimes<T> {
  #times = new BigInt64Array(16);
  #items: T[] = [];
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** After those of the same time. @returns its index */
  insert(time: bigint, item: T): number {
    if (this.#head + this.#length === this.#times.length) this.#makeRoom();
    const index =
      this.#length === 0 || this.time(this.#length - 1) <= time ? this.#length : this.after(time);
    const at = this.#head + index;
    if (index < this.#length) this.#times.copyWithin(at + 1, at, this.#head + this.#length);
    this.#times[at] = time;
    if (index === this.#length) this.#items.push(item);
    else this.#items.splice(at, 0, item);
    this.#length++;
    return index;
  }

  #makeRoom(): void {
    const live = this.#times.subarray(this.#head, this.#head + this.#length);
    if (this.#head < this.#length) {
      const larger = new BigInt64Array(Math.max(16, this.#length * 2));
      larger.set(live);
      this.#times = larger;
    } else {
      this.#times.copyWithin(0, this.#head, this.#head + this.#length);
    }
    this.#items.splice(0, this.#head);
    this.#head = 0;
  }

  time(index: number): bigint {
    return this.#times[this.#head + index] ?? 0n;
  }

  item(index: number): T {
    return this.#items[this.#head + index] as T;
  }

  setItem(index: number, item: T): void {
    this.#items[this.#head + index] = item;
  }

  /** Index of the first time that is not before `time`. */
  from(time: bigint): number {
    return this.#search((other) => other < time);
  }

  /** Index of the first time that is after `time`. */
  after(time: bigint): number {
    return this.#search((other) => other <= time);
  }

  #search(before: (time: bigint) => boolean): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(this.time(middle))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Gives up the first `count`. @param each sees what goes */
  dropFirst(count: number, each: (item: T) => void): void {
    for (let index = 0; index < count; index++) each(this.item(index));
    // What is given up must not be held on to.
    this.#items.fill(undefined as T, this.#head, this.#head + count);
    this.#head += count;
    this.#length -= count;
    if (this.#head > 1024 && this.#head > this.#length) {
      this.#times = this.#times.slice(this.#head, this.#head + Math.max(16, this.#length * 2));
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
  }
}
