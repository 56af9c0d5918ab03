// What an id stands for, so that vocabularies of two files can be compared.

import type { Tokenizer } from "./types.ts";

/**
 * The text of a token; undefined where the id stands for nothing: beyond the vocabulary, or a row that pads an embedding,
 * which has no name in one file and the made-up `[PADn]` in another.
 */
export function tokenName(tokenizer: Tokenizer, id: number): string | undefined {
  const text = id < tokenizer.vocabSize ? tokenizer.tokenText(id) : undefined;
  return text === `[PAD${id}]` ? undefined : text;
}

/** The first id that two vocabularies name differently, with its names; undefined where all are the same. */
export function differingToken(
  a: Tokenizer,
  b: Tokenizer,
): { readonly id: number; readonly names: readonly [string | undefined, string | undefined] } | undefined {
  for (let id = 0; id < Math.max(a.vocabSize, b.vocabSize); id++) {
    const names = [tokenName(a, id), tokenName(b, id)] as const;
    if (names[0] !== names[1]) return { id, names };
  }
  return undefined;
}
