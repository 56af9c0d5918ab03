// Samples held compactly: ids and masks of many in a few large blocks.

import type { Sample } from "../types.ts";
import type { Masked } from "./mask.ts";

const BLOCK = 2 ** 18;

export class Arena {
  #ids = new Int32Array(0);
  #learned = new Uint8Array(0);
  #used = 0;

  /** A copy of `ids[from..to)` as a sample; its first token has nothing before it, so it is not learned. */
  add({ ids, learned }: Masked, source: Sample["source"], from = 0, to = ids.length): Sample {
    const length = to - from;
    if (this.#used + length > this.#ids.length) {
      const size = Math.max(BLOCK, length);
      [this.#ids, this.#learned, this.#used] = [new Int32Array(size), new Uint8Array(size), 0];
    }
    const start = this.#used;
    this.#used += length;
    const sample = {
      ids: this.#ids.subarray(start, start + length),
      learned: this.#learned.subarray(start, start + length),
      source,
    };
    for (let i = 0; i < length; i++) {
      sample.ids[i] = ids[from + i]!;
      sample.learned[i] = i === 0 ? 0 : learned[from + i]!;
    }
    return sample;
  }
}

/** Finds samples with the same tokens. */
export class Seen {
  readonly #first = new Map<number, Sample>();

  /** An earlier sample that is equal, or undefined when this is the first. */
  find(sample: Sample): Sample | undefined {
    const found = this.#first.get(hash(sample));
    return found && equal(found, sample) ? found : undefined;
  }

  add(sample: Sample): void {
    const key = hash(sample);
    if (!this.#first.has(key)) this.#first.set(key, sample);
  }
}

/** 53 bits of two multiplicative hashes. */
function hash({ ids }: Sample): number {
  let [a, b] = [ids.length | 0, 0x811c9dc5];
  for (const id of ids) {
    a = Math.imul(a ^ id, 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ id, 0x01000193);
    b ^= b >>> 13;
  }
  return (a >>> 0) * 2 ** 21 + (b & 0x1fffff);
}

function equal(a: Sample, b: Sample): boolean {
  return a.ids.length === b.ids.length && a.ids.every((id, i) => id === b.ids[i]);
}
