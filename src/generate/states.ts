// Rows of the recurrent state as numbers: who uses which, and which are kept as what a sequence had in its layers at the
// end of a known page, so that another one can go on from there. Knows no memory; the backend owns the values.

/**
 * Rows 0 .. total - 1. A row is free, used by sequences, kept with a page, or both; one that more than one uses is not
 * written to. Rows that are only kept are given up when nothing else is free, the least recently used first.
 */
export class StateRows {
  readonly total: number;
  /** Sequences that use a row, and its page. */
  readonly #users: Int32Array;
  readonly #free: number[];
  /** Page -> row, the least recently used first. */
  readonly #kept = new Map<number, number>();

  constructor(total: number) {
    this.total = total;
    this.#users = new Int32Array(total);
    this.#free = Array.from({ length: total }, (_, i) => total - 1 - i);
  }

  /** A row for one user. @throws {RangeError} when all are used */
  take(): number {
    if (this.#free.length === 0)
      for (const [page, row] of this.#kept) {
        if (this.#users[row] !== 1) continue;
        this.drop(page);
        break;
      }
    const row = this.#free.pop();
    if (row === undefined) throw new RangeError(`Cannot take a state: all ${this.total} are used`);
    this.#users[row] = 1;
    return row;
  }

  /** One more user. */
  retain(row: number): void {
    this.#users[row]!++;
  }

  /** One user less. */
  release(row: number): void {
    if (this.#users[row]! <= 0) throw new RangeError(`Cannot release state ${row}: nobody uses it`);
    if (--this.#users[row]! === 0) this.#free.push(row);
  }

  /** Whether somebody else uses the row of a user too. */
  isShared(row: number): boolean {
    return this.#users[row]! > 1;
  }

  /** The row that is kept with a page: what it holds is the state behind the page's last token. */
  at(page: number): number | undefined {
    return this.#kept.get(page);
  }

  /** Keeps a row with a page that has none yet. False: it has one. */
  keep(page: number, row: number): boolean {
    if (this.#kept.has(page)) return false;
    this.retain(row);
    this.#kept.set(page, row);
    return true;
  }

  /** The page's row was of use again. */
  touch(page: number): void {
    const row = this.#kept.get(page);
    if (row === undefined) return;
    this.#kept.delete(page);
    this.#kept.set(page, row);
  }

  /** Keeps a page's row no longer, if it has one. */
  drop(page: number): void {
    const row = this.#kept.get(page);
    if (row === undefined) return;
    this.#kept.delete(page);
    this.release(row);
  }
}
