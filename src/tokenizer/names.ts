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
