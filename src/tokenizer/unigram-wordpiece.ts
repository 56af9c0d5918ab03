// Word encoders of the two models that run in the library: WordPiece (BERT) and Unigram (T5, XLM-R).

import { asIndex, asString } from "./json.ts";
import { library } from "./library.ts";
import { byteToken, utf8, type Vocabulary } from "./vocabulary.ts";

type EncodeWord = (word: string, out: number[]) => void;
type Json = Record<string, unknown>;

/** Longest entry first, from the left; a word that cannot be spelt is one unknown token. */
export function wordPieceEncoder(
  model: Json,
  vocabulary: Vocabulary,
  unkId: number | undefined,
  at: string,
): EncodeWord {
  if (unkId === undefined)
    throw new RangeError(`${at}model.unk_token is missing, want an entry of the vocabulary`);
  asString(model.continuing_subword_prefix ?? "##", `${at}model.continuing_subword_prefix`);
  asIndex(model.max_input_chars_per_word ?? 100, `${at}model.max_input_chars_per_word`, 10_000);
  const wordPiece = new library.WordPiece({ continuing_subword_prefix: "##", ...model });
  return (word, out) => {
    for (const token of wordPiece.encode([word])) out.push(textId(vocabulary, token) ?? unkId);
  };
}

/** The most probable way to spell a word. */
export function unigramEncoder(
  model: Json,
  vocabulary: Vocabulary,
  unkId: number | undefined,
  byteFallback: boolean,
  at: string,
): EncodeWord {
  if (unkId === undefined) throw new RangeError(`${at}model.unk_id is missing, want the id of an entry`);
  const unigram = new library.Unigram({ ...model, unk_id: unkId }, undefined) as unknown as {
    tokenize(word: string): string[];
  };
  return (word, out) => {
    let unknown = false;
    for (const token of unigram.tokenize(word)) {
      const id = textId(vocabulary, token);
      if (id !== undefined) out.push(id);
      else if (byteFallback)
        for (const byte of utf8(token)) out.push(vocabulary.ids.get(byteToken(byte)) ?? unkId);
      else if (!unknown) out.push(unkId);
      unknown = id === undefined && !byteFallback;
    }
  };
}

/** Id of an entry that plain text may become. */
function textId(vocabulary: Vocabulary, token: string): number | undefined {
  const id = vocabulary.ids.get(token);
  return id !== undefined && vocabulary.isText(id) ? id : undefined;
}
