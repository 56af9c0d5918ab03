// The most frequent pair of neighbouring symbols, kept as counts change: counts by pair and a heap over them.

/** Pairs are one number each: `left * size + right`. */
export class PairQueue {
  readonly #counts = new Map<number, number>();
  /** A binary heap of [count, pair] end to end, the greatest first. Entries may be out of date: counts only fell. */
  #heap: number[] = [];

  get(pair: number): number {
    return this.#counts.get(pair) ?? 0;
  }

  /** Adds to a pair's count. What has grown must be pushed before the next `pop`. */
  add(pair: number, change: number): void {
    this.#counts.set(pair, this.get(pair) + change);
  }

  /** The pair is gone: it was merged. */
  forget(pair: number): void {
    this.#counts.delete(pair);
  }

  push(pair: number): void {
    const count = this.get(pair);
    if (count > 0) this.#insert(count, pair);
  }

  /** Takes the pair with the highest count of at least `least`; of equals, the lowest number. */
  pop(least: number): { readonly pair: number; readonly count: number } | undefined {
    const heap = this.#heap;
    while (heap.length > 0 && heap[0]! >= least) {
      const [count, pair] = [heap[0]!, heap[1]!];
      this.#removeFirst();
      const now = this.get(pair);
      if (now === count) {
        this.#counts.delete(pair);
        return { pair, count };
      }
      if (now > 0) this.#insert(now, pair);
    }
    return undefined;
  }

  #insert(count: number, pair: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(count, pair);
    while (at > 0) {
      const parent = ((at / 2 - 1) >> 1) * 2;
      if (!before(count, pair, heap[parent]!, heap[parent + 1]!)) break;
      heap[at] = heap[parent]!;
      heap[at + 1] = heap[parent + 1]!;
      at = parent;
    }
    heap[at] = count;
    heap[at + 1] = pair;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const pair = heap.pop()!;
    const count = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 2;
      if (child >= heap.length) break;
      if (
        child + 2 < heap.length &&
        before(heap[child + 2]!, heap[child + 3]!, heap[child]!, heap[child + 1]!)
      )
        child += 2;
      if (!before(heap[child]!, heap[child + 1]!, count, pair)) break;
      heap[at] = heap[child]!;
      heap[at + 1] = heap[child + 1]!;
      at = child;
    }
    heap[at] = count;
    heap[at + 1] = pair;
  }
}

function before(count: number, pair: number, otherCount: number, otherPair: number): boolean {
  return count > otherCount || (count === otherCount && pair < otherPair);
}
