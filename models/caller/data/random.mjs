// Chance with a seed: the same seed gives the same data on every machine.

/** A source of chance; `fork` gives one of its own for a name, so that adding data elsewhere changes nothing here. */
export class Chance {
  #state;
  #seed;

  constructor(seed, name = "") {
    let h = (seed >>> 0) ^ 0x9e3779b9;
    for (const c of name) h = Math.imul(h ^ c.codePointAt(0), 0x01000193) >>> 0;
    this.#seed = h;
    this.#state = h;
  }

  fork(name) {
    return new Chance(this.#seed, name);
  }

  /** In [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Whether something with probability `p` happens. */
  hit(p) {
    return this.next() < p;
  }

  /** A whole number from `low` to `high`, both included. */
  int(low, high) {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick(list) {
    return list[Math.floor(this.next() * list.length)];
  }

  /** `n` different items, in random order. */
  some(list, n) {
    return this.shuffle(list).slice(0, n);
  }

  shuffle(list) {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }
}

/** 32 bits of a text, for splits that do not depend on order. */
export function hashOf(text) {
  let h = 0x811c9dc5;
  for (const c of text) h = Math.imul(h ^ c.codePointAt(0), 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
