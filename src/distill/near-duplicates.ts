// Texts that are nearly the same: MinHash finds candidates, the share of common character n-grams decides.
// Broder 1997; the banding of Indyk and Motwani 1998.

import { normalize } from "../evaluate/answers.ts";

/** Characters of a gram. Requests are short: four still tell "in paris" from "in london". */
const GRAM = 4;
/**
 * Bands of hashes, and hashes of each: two texts of Jaccard index J meet in a band with probability 1 - (1 - J^4)^32, which
 * is 0.99 at 0.6 and 0.999 at 0.68.
 */
const BANDS = 32;
const ROWS = 4;

/** A set of texts that can be asked whether it holds one that is nearly the same as another. */
export class NearDuplicates {
  readonly #threshold: number;
  /** Sorted hashes of the grams of every text. */
  readonly #grams: Uint32Array[] = [];
  readonly #bands: readonly Map<number, number[]>[] = Array.from({ length: BANDS }, () => new Map());

  /** @param threshold texts with at least this Jaccard index are nearly the same; 1: only those with the same grams */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  has(text: string): boolean {
    const grams = gramsOf(text);
    const seen = new Set<number>();
    const keys = this.#keysOf(grams);
    for (let band = 0; band < keys.length; band++)
      for (const other of this.#bands[band]!.get(keys[band]!) ?? []) {
        if (seen.has(other)) continue;
        seen.add(other);
        if (jaccard(grams, this.#grams[other]!) >= this.#threshold) return true;
      }
    return false;
  }

  add(text: string): void {
    const grams = gramsOf(text);
    const index = this.#grams.push(grams) - 1;
    const keys = this.#keysOf(grams);
    for (let band = 0; band < keys.length; band++) {
      const found = this.#bands[band]!.get(keys[band]!);
      if (found) found.push(index);
      else this.#bands[band]!.set(keys[band]!, [index]);
    }
  }

  /** A key for each band that texts may meet in. To find the same grams one does, whose key is made of all of them. */
  #keysOf(grams: Uint32Array): Uint32Array {
    if (this.#threshold < 1) return bandsOf(grams);
    return Uint32Array.of(grams.reduce((key, gram) => mix(key ^ gram), 0));
  }
}

/** |A ∩ B| / |A ∪ B| of sorted sets. */
export function jaccard(a: Uint32Array, b: Uint32Array): number {
  let [i, j, common] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      common++;
      i++;
      j++;
    } else if (a[i]! < b[j]!) i++;
    else j++;
  }
  return common / (a.length + b.length - common);
}

/** Hashes of a text's grams, sorted, each once; case, white space and what is neither letter nor digit do not count. */
export function gramsOf(text: string): Uint32Array {
  const bare = normalize(text.replace(/[^\p{L}\p{M}\p{N}\s]+/gu, " "));
  // A text of symbols alone is itself.
  const chars = [...` ${bare === "" ? text.trim() : bare} `];
  const found = new Set<number>();
  for (let at = 0; at === 0 || at + GRAM <= chars.length; at++) {
    let hash = 0x811c9dc5; // FNV-1a over code points
    for (const char of chars.slice(at, at + GRAM)) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
    found.add(mix(hash));
  }
  return Uint32Array.from(found).sort();
}

/** A key for each band: of the smallest values of ROWS hash functions. */
function bandsOf(grams: Uint32Array): Uint32Array {
  const keys = new Uint32Array(BANDS);
  for (let band = 0; band < BANDS; band++) {
    let key = band;
    for (let row = 0; row < ROWS; row++) {
      const salt = mix(band * ROWS + row + 1);
      let least = 0xffffffff;
      for (let i = 0; i < grams.length; i++) {
        const value = mix(grams[i]! ^ salt);
        if (value < least) least = value;
      }
      key = mix(key ^ least);
    }
    keys[band] = key;
  }
  return keys;
}

/** A permutation of 32 bits that leaves no bit where it was: the finalizer of MurmurHash3. */
function mix(value: number): number {
  let z = value;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}
