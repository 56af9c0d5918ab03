// Byte-pair encoding of one word at a time: characters or bytes -> ids. Splitting text into words is not here.

import { mergePairs } from "./merge.ts";
import type { PairTable } from "./pair-table.ts";
import { BYTE_CHARACTERS, utf8, type Vocabulary } from "./vocabulary.ts";

/** Words up to this long are remembered. */
const CACHED_LENGTH = 48;
const CACHED_WORDS = 1 << 15;

export interface BpeOptions {
  vocabulary: Vocabulary;
  /** Over ids, and over `charIds` of characters that are no entry by themselves. */
  pairs: PairTable;
  /** First symbols of a word: one per UTF-8 byte (id of each byte, -1 where there is none)... */
  byteIds?: Int32Array;
  /** ...or one per character. Symbols at or beyond the vocabulary's size are characters without an id. */
  charIds?: ReadonlyMap<string, number>;
  /** Character of each symbol from the vocabulary's size on. */
  extraCharacters?: readonly string[];
  /** With `charIds`: the tokens of the 256 bytes, for characters without an id; undefined without byte fallback. */
  fallback?: Int32Array | undefined;
  /** For what nothing else covers; undefined drops it. */
  unkId?: number | undefined;
  /** One unknown token for a run of unknown characters. */
  fuseUnk?: boolean;
  /** Words that are entries by themselves need no merges (`ignore_merges`). */
  wholeWords?: boolean;
}

export class Bpe {
  readonly #options: BpeOptions;
  readonly #size: number;
  readonly #cache = new Map<string, readonly number[]>();
  #bytes = new Uint8Array(256);
  #symbols = new Int32Array(256);

  constructor(options: BpeOptions) {
    this.#options = options;
    this.#size = options.vocabulary.tokens.length;
  }

  /** Appends the ids of `word` to `out`. */
  encode(word: string, out: number[]): void {
    if (word.length > CACHED_LENGTH) {
      this.#encode(word, out);
      return;
    }
    let ids = this.#cache.get(word);
    if (!ids) {
      const fresh: number[] = [];
      this.#encode(word, fresh);
      if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
      this.#cache.set(word, (ids = fresh));
    }
    for (let i = 0; i < ids.length; i++) out.push(ids[i]!);
  }

  #encode(word: string, out: number[]): void {
    const { vocabulary, pairs, byteIds, wholeWords } = this.#options;
    if (wholeWords) {
      const id = byteIds ? vocabulary.ids.get(byteSpelling(word)) : vocabulary.ids.get(word);
      if (id !== undefined && vocabulary.isText(id)) {
        out.push(id);
        return;
      }
    }
    const n = byteIds ? this.#fromBytes(word, byteIds) : this.#fromCharacters(word);
    const symbols = this.#symbols;
    const left = mergePairs(symbols, n, pairs);
    let unknown = false; // the last id was the unknown token
    for (let i = 0; i < left; i++) {
      const symbol = symbols[i]!;
      if (symbol >= 0 && symbol < this.#size) {
        out.push(symbol);
        unknown = false;
      } else {
        unknown = this.#unknown(symbol, unknown, out);
      }
    }
  }

  #fromBytes(word: string, byteIds: Int32Array): number {
    if (this.#bytes.length < word.length * 3) {
      this.#bytes = new Uint8Array(word.length * 3);
      this.#symbols = new Int32Array(word.length * 3);
    }
    const { written } = encoder.encodeInto(word, this.#bytes);
    for (let i = 0; i < written; i++) this.#symbols[i] = byteIds[this.#bytes[i]!]!;
    return written;
  }

  #fromCharacters(word: string): number {
    const { charIds } = this.#options;
    if (this.#symbols.length < word.length) this.#symbols = new Int32Array(word.length);
    let n = 0;
    for (const character of word) {
      // A character that no piece holds never merges: the negative symbol remembers which it was.
      this.#symbols[n++] = charIds!.get(character) ?? -1 - character.codePointAt(0)!;
    }
    return n;
  }

  /** Spells a character that has no id in bytes, or as the unknown token. Returns whether it was the latter. */
  #unknown(symbol: number, fused: boolean, out: number[]): boolean {
    const { byteIds, fallback, unkId, fuseUnk } = this.#options;
    if (!byteIds && fallback) {
      for (const byte of utf8(this.#character(symbol))) out.push(fallback[byte]!);
      return false;
    }
    if (unkId !== undefined && !(fuseUnk && fused)) out.push(unkId);
    return unkId !== undefined;
  }

  #character(symbol: number): string {
    if (symbol < 0) return String.fromCodePoint(-1 - symbol);
    return this.#options.extraCharacters![symbol - this.#size]!;
  }
}

const encoder = new TextEncoder();

function byteSpelling(word: string): string {
  let text = "";
  for (const byte of encoder.encode(word)) text += BYTE_CHARACTERS[byte]!;
  return text;
}
