// Pairs of symbols -> what they merge into and how early. A hash table over typed arrays: knows only integers.

/**
 * `(left, right) -> (rank, merged)`. Lower rank merges first. Symbols are non-negative; a negative symbol is
 * never found, so it never merges. Linear probing, at most half full.
 */
export class PairTable {
  /** Of the slot that {@link find} returned. */
  readonly rank: Int32Array;
  readonly merged: Int32Array;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #mask: number;
  #free: number;

  /** @param pairs - the most pairs that will be added. */
  constructor(pairs: number) {
    let size = 16;
    while (size < pairs * 2) size *= 2;
    this.#mask = size - 1;
    this.#free = pairs;
    this.#left = new Int32Array(size).fill(-1);
    this.#right = new Int32Array(size);
    this.rank = new Int32Array(size);
    this.merged = new Int32Array(size);
  }

  /** Adds a pair; one that is already there keeps its first rank. */
  add(left: number, right: number, rank: number, merged: number): void {
    let slot = hash(left, right) & this.#mask;
    while (this.#left[slot] !== -1) {
      if (this.#left[slot] === left && this.#right[slot] === right) return;
      slot = (slot + 1) & this.#mask;
    }
    if (this.#free-- <= 0)
      throw new RangeError("Cannot add a pair, want no more than the table was made for");
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.rank[slot] = rank;
    this.merged[slot] = merged;
  }

  /** Slot of a pair, or -1. */
  find(left: number, right: number): number {
    if (left < 0 || right < 0) return -1;
    let slot = hash(left, right) & this.#mask;
    for (;;) {
      const found = this.#left[slot]!;
      if (found === left && this.#right[slot] === right) return slot;
      if (found === -1) return -1;
      slot = (slot + 1) & this.#mask;
    }
  }
}

function hash(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
