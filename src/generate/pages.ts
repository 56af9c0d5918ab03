// KV pages as numbers: who uses which, and which hold a prefix that a later sequence may take over. Knows no memory;
// the backend owns the bytes. A page of 64 tokens may be shared, as what it holds depends on the tokens up to its end
// alone.

import { PAGE } from "../engine/backend.ts";
import type { StateRows } from "./states.ts";

/**
 * A pool of pages 0 .. total - 1. A page is free, used by one or more sequences, or idle: unused, but kept because its
 * tokens are known and may come again. Idle pages are given up when nothing else is free, the least recently used first.
 */
export class PagePool {
  readonly total: number;
  /** For models with recurrent layers: a page's content alone does not suffice to go on behind it. */
  readonly states: StateRows | undefined;
  /** How many sequences use a page. */
  readonly #users: Int32Array;
  readonly #free: Int32Array;
  #nfree: number;
  /** Content -> page, the least recently used first. */
  readonly #known = new Map<string, number>();
  readonly #content: (string | undefined)[];
  /** A number for each content, never used again: stands for "all tokens up to here" in the key of what follows. */
  readonly #serial: Float64Array;
  #lastSerial = 0;
  #idle = 0;

  constructor(total: number, states?: StateRows) {
    this.total = total;
    this.states = states;
    this.#users = new Int32Array(total);
    this.#free = Int32Array.from({ length: total }, (_, i) => total - 1 - i);
    this.#nfree = total;
    this.#content = new Array<string | undefined>(total).fill(undefined);
    this.#serial = new Float64Array(total);
  }

  /** Pages that `take` can give. */
  get available(): number {
    return this.#nfree + this.#idle;
  }

  /** A page for one user, its content unknown; -1 when all are used. */
  take(): number {
    let page = -1;
    if (this.#nfree > 0) page = this.#free[--this.#nfree]!;
    else if (this.#idle > 0) page = this.#forget();
    if (page >= 0) this.#users[page] = 1;
    return page;
  }

  #forget(): number {
    for (const [key, page] of this.#known) {
      if (this.#users[page] !== 0) continue;
      this.#known.delete(key);
      this.#content[page] = undefined;
      this.states?.drop(page);
      this.#idle--;
      return page;
    }
    return -1;
  }

  /** One more user. */
  retain(page: number): void {
    if (this.#users[page]!++ === 0) this.#idle--;
  }

  /** One user less. */
  release(page: number): void {
    if (this.#users[page]! <= 0) throw new RangeError(`Cannot release page ${page}: nobody uses it`);
    if (--this.#users[page]! > 0) return;
    if (this.#content[page] === undefined) this.#free[this.#nfree++] = page;
    else this.#idle++;
  }

  /** Whole pages that hold the beginning of `tokens` [0, end). `root` tells apart what is not in the tokens (an adapter). */
  find(tokens: Int32Array, end: number, root = ""): number[] {
    const pages: number[] = [];
    for (let parent = root; (pages.length + 1) * PAGE <= end; ) {
      const page = this.#known.get(contentKey(parent, tokens, pages.length));
      if (page === undefined) break;
      pages.push(page);
      parent = `${this.#serial[page]}`;
    }
    return pages;
  }

  /** The same, retained for the caller; with states, up to the last page that one is kept with. */
  match(tokens: Int32Array, end: number, root = ""): number[] {
    const pages = this.find(tokens, end, root);
    const { states } = this;
    if (states) while (pages.length > 0 && states.at(pages.at(-1)!) === undefined) pages.pop();
    for (const page of pages) this.retain(page);
    this.#touch(pages);
    if (pages.length > 0) states?.touch(pages.at(-1)!);
    return pages;
  }

  /**
   * Notes what the pages of a sequence hold: the whole ones among `tokens` [0, end). The caller still uses them. Gives
   * those that are known by this content from now on.
   */
  remember(tokens: Int32Array, end: number, pages: Int32Array, root = ""): number[] {
    const kept: number[] = [];
    let parent = root;
    for (let i = 0; (i + 1) * PAGE <= end; i++) {
      const key = contentKey(parent, tokens, i);
      let page = this.#known.get(key);
      if (page === undefined) {
        page = pages[i]!;
        if (this.#content[page] !== undefined) break; // it holds another content's key: cannot be
        this.#known.set(key, page);
        this.#content[page] = key;
        this.#serial[page] = ++this.#lastSerial;
      }
      kept.push(page);
      parent = `${this.#serial[page]}`;
    }
    this.#touch(kept);
    return kept;
  }

  /** The end of a prefix is older than its beginning: it is given up first. */
  #touch(pages: readonly number[]): void {
    for (let i = pages.length - 1; i >= 0; i--) {
      const page = pages[i]!;
      const key = this.#content[page]!;
      this.#known.delete(key);
      this.#known.set(key, page);
    }
  }
}

function contentKey(parent: string, tokens: Int32Array, page: number): string {
  return `${parent}:${tokens.subarray(page * PAGE, (page + 1) * PAGE).join()}`;
}
