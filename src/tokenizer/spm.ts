// SentencePiece BPE: a tokenizer from entries, scores and kinds, whatever file they came from.

import { type AddedToken, MAX_ADDED_LENGTH } from "./added-tokens.ts";
import { bpeFromScores, metaspaceWords } from "./bpe-build.ts";
import { TextTokenizer, type TokenizerParts } from "./text-tokenizer.ts";
import { METASPACE, TOKEN_TYPE, type Vocabulary } from "./vocabulary.ts";

export interface SpmOptions {
  vocabulary: Vocabulary;
  scores: Float32Array;
  /** Put a space in front of every section of text. */
  spacePrefix: boolean;
  bosId: number | undefined;
  eosIds: readonly number[];
  padId?: number | undefined;
  unkId: number | undefined;
  addBos: boolean;
  addEos: boolean;
  chatTemplate?: string | undefined;
}

export function spmTokenizer(options: SpmOptions): TextTokenizer {
  const { vocabulary, scores, spacePrefix, bosId, eosIds, unkId } = options;
  const bpe = bpeFromScores(vocabulary, scores, { unkId, fuseUnk: false });
  const words = metaspaceWords(vocabulary) ?? ((text: string) => [text]);
  const encodeText: TokenizerParts["encodeText"] = (section, _first, out) => {
    const text = section.replaceAll(" ", METASPACE);
    for (const word of words(spacePrefix ? METASPACE + text : text)) bpe.encode(word, out);
  };
  return new TextTokenizer({
    vocabulary,
    added: addedTokens(vocabulary),
    encodeText,
    prefix: options.addBos && bosId !== undefined ? [bosId] : [],
    suffix: options.addEos && eosIds[0] !== undefined ? [eosIds[0]] : [],
    stripsLeadingSpace: spacePrefix,
    bosId,
    padId: options.padId,
    unkId,
    eosIds,
    chatTemplate: options.chatTemplate,
    origin: { model: "llama", scores, spacePrefix },
  });
}

/** Entries that are matched in raw text: control tokens and those that a user defined. */
export function addedTokens(vocabulary: Vocabulary): AddedToken[] {
  const added: AddedToken[] = [];
  for (let id = 0; id < vocabulary.tokens.length; id++) {
    const content = vocabulary.tokens[id];
    const special = vocabulary.isSpecial(id);
    if (!content || !(special || vocabulary.types[id] === TOKEN_TYPE.user)) continue;
    if (content.length > MAX_ADDED_LENGTH) {
      throw new RangeError(
        `Cannot read ${JSON.stringify(vocabulary.name)}: control token ${id} has ${content.length} characters, ` +
          `want at most ${MAX_ADDED_LENGTH}`,
      );
    }
    added.push({ id, content, special });
  }
  return added;
}
