// The merge loop of byte-pair encoding: symbols in, fewer symbols out. Knows no text and no vocabulary.

import type { PairTable } from "./pair-table.ts";

/** Up to here the quadratic loop is faster than a heap (measured on English words, where most have 4 to 8). */
const SHORT = 24;

const scratch = new Int32Array(SHORT);

/**
 * Merges adjacent pairs of `symbols[0, n)` in place until none is in the table: always the pair of the lowest
 * rank, and of those the leftmost. O(n log n). Returns how many symbols are left.
 */
export function mergePairs(symbols: Int32Array, n: number, pairs: PairTable): number {
  return n <= SHORT ? mergeShort(symbols, n, pairs) : mergeLong(symbols, n, pairs);
}

function mergeShort(symbols: Int32Array, n: number, pairs: PairTable): number {
  const slots = scratch;
  for (let i = 0; i + 1 < n; i++) slots[i] = pairs.find(symbols[i]!, symbols[i + 1]!);
  while (n > 1) {
    let best = -1;
    let lowest = 0x7fffffff;
    for (let i = 0; i + 1 < n; i++) {
      const slot = slots[i]!;
      if (slot >= 0 && pairs.rank[slot]! < lowest) {
        lowest = pairs.rank[slot]!;
        best = i;
      }
    }
    if (best < 0) break;
    symbols[best] = pairs.merged[slots[best]!]!;
    n--;
    for (let i = best + 1; i < n; i++) {
      symbols[i] = symbols[i + 1]!;
      slots[i] = slots[i + 1]!;
    }
    if (best > 0) slots[best - 1] = pairs.find(symbols[best - 1]!, symbols[best]!);
    if (best + 1 < n) slots[best] = pairs.find(symbols[best]!, symbols[best + 1]!);
  }
  return n;
}

/** Positions fit 2^32, ranks 2^20: one double holds both and orders by rank, then by position. */
const POSITIONS = 2 ** 32;

function mergeLong(symbols: Int32Array, n: number, pairs: PairTable): number {
  const next = new Int32Array(n);
  const previous = new Int32Array(n);
  const heap = new Heap(n);
  for (let i = 0; i < n; i++) {
    next[i] = i + 1 < n ? i + 1 : -1;
    previous[i] = i - 1;
    if (i + 1 < n) {
      const slot = pairs.find(symbols[i]!, symbols[i + 1]!);
      if (slot >= 0) heap.push(pairs.rank[slot]! * POSITIONS + i);
    }
  }
  const dead = -0x80000000; // a symbol that was merged into its left neighbour
  for (let top = heap.pop(); top >= 0; top = heap.pop()) {
    const at = top % POSITIONS;
    const after = next[at]!;
    if (symbols[at] === dead || after < 0) continue;
    const slot = pairs.find(symbols[at]!, symbols[after]!);
    // The entry is stale when the pair at this place has changed since it was pushed.
    if (slot < 0 || pairs.rank[slot]! !== (top - at) / POSITIONS) continue;
    symbols[at] = pairs.merged[slot]!;
    symbols[after] = dead;
    const beyond = next[after]!;
    next[at] = beyond;
    if (beyond >= 0) {
      previous[beyond] = at;
      const right = pairs.find(symbols[at]!, symbols[beyond]!);
      if (right >= 0) heap.push(pairs.rank[right]! * POSITIONS + at);
    }
    const before = previous[at]!;
    if (before >= 0) {
      const left = pairs.find(symbols[before]!, symbols[at]!);
      if (left >= 0) heap.push(pairs.rank[left]! * POSITIONS + before);
    }
  }
  let count = 0;
  for (let i = 0; i >= 0; i = next[i]!) symbols[count++] = symbols[i]!;
  return count;
}

/** Smallest first, over doubles. */
class Heap {
  #items: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#items = new Float64Array(capacity);
  }

  push(value: number): void {
    if (this.#size === this.#items.length) {
      const larger = new Float64Array(this.#size * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    const items = this.#items;
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (items[parent]! <= value) break;
      items[i] = items[parent]!;
      i = parent;
    }
    items[i] = value;
  }

  /** The smallest, or -1 when empty. */
  pop(): number {
    if (this.#size === 0) return -1;
    const items = this.#items;
    const top = items[0]!;
    const value = items[--this.#size]!;
    const size = this.#size;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= value) break;
      items[i] = items[child]!;
      i = child;
    }
    items[i] = value;
    return top;
  }
}
