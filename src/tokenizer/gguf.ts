// Reads the tokenizer inside a GGUF file: `tokenizer.ggml.*` and the chat template.

import {
  type GgufFile,
  getBoolean,
  getInteger,
  getNumbers,
  getString,
  getStrings,
  required,
} from "../formats/index.ts";
import { bpeFromMerges, metaspaceWords } from "./bpe-build.ts";
import { preByName, preNames } from "./patterns.ts";
import { compile, isolate } from "./pre-tokenizer.ts";
import { addedTokens, spmTokenizer } from "./spm.ts";
import { TextTokenizer, type TokenizerParts } from "./text-tokenizer.ts";
import type { Tokenizer } from "./types.ts";
import { byteOf, MAX_VOCABULARY, METASPACE, type Spelling, TOKEN_TYPE, Vocabulary } from "./vocabulary.ts";
import { loadWordPieceGguf } from "./wordpiece-gguf.ts";

/** Control tokens that end a turn or a text in some model, by their text. */
const END_TOKENS = [
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<end_of_turn>",
  "<turn|>",
  "<|return|>",
  "<|call|>",
  "<EOT>",
  "[EOT]",
];

/**
 * The tokenizer of a GGUF file: `tokenizer.ggml.model` "llama" (SentencePiece BPE by scores) or "gpt2" (byte-level
 * BPE, split as `tokenizer.ggml.pre` says) or "gemma4" (SentencePiece's spelling, BPE by merges) or "bert" (WordPiece).
 * @throws {TypeError | RangeError} naming the file, the key, the value found and the values wanted.
 */
export function loadTokenizerGguf(gguf: Pick<GgufFile, "name" | "metadata">): Tokenizer {
  const model = required(getString(gguf, "tokenizer.ggml.model"), gguf, "tokenizer.ggml.model");
  if (model === "llama") return loadSpm(gguf);
  if (model === "gpt2") return loadByteLevel(gguf);
  if (model === "gemma4") return loadMetaspaceMerges(gguf);
  if (model === "bert") return loadWordPieceGguf(gguf);
  throw new RangeError(
    `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.model" is ${JSON.stringify(model)}, want "llama", "gpt2", "gemma4" or "bert"`,
  );
}

type File = Pick<GgufFile, "name" | "metadata">;

function loadSpm(gguf: File): Tokenizer {
  const vocabulary = readVocabulary(gguf, "metaspace");
  const { length } = vocabulary.tokens;
  const scores = new Float32Array(length);
  const found = required(getNumbers(gguf, "tokenizer.ggml.scores"), gguf, "tokenizer.ggml.scores");
  sameLength(gguf, "tokenizer.ggml.scores", found.length, length);
  for (let id = 0; id < length; id++) {
    if (!Number.isFinite(found[id])) {
      throw new RangeError(
        `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.scores"[${id}] is ${found[id]}, want a number`,
      );
    }
    scores[id] = found[id]!;
  }
  const special = specialIds(gguf, vocabulary, { bos: 1, eos: 2, unk: 0 });
  return spmTokenizer({
    vocabulary,
    scores,
    ...special,
    spacePrefix: getBoolean(gguf, "tokenizer.ggml.add_space_prefix") ?? true,
    addBos: getBoolean(gguf, "tokenizer.ggml.add_bos_token") ?? true,
    addEos: getBoolean(gguf, "tokenizer.ggml.add_eos_token") ?? false,
    chatTemplate: getString(gguf, "tokenizer.chat_template"),
  });
}

function loadMetaspaceMerges(gguf: File): Tokenizer {
  const vocabulary = readVocabulary(gguf, "metaspace");
  const merges = readMerges(gguf);
  const special = specialIds(gguf, vocabulary, {});
  const where = `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.merges"`;
  const extras = { unkId: special.unkId, fuseUnk: true, byteFallback: true };
  const bpe = bpeFromMerges(vocabulary, merges, extras, where);
  const words = metaspaceWords(vocabulary) ?? ((text: string) => [text]);
  const { bosId, eosIds } = special;
  const addBos = getBoolean(gguf, "tokenizer.ggml.add_bos_token") ?? true;
  const addEos = getBoolean(gguf, "tokenizer.ggml.add_eos_token") ?? false;
  return new TextTokenizer({
    vocabulary,
    added: addedTokens(vocabulary),
    encodeText(section, _first, out) {
      for (const word of words(section.replaceAll(" ", METASPACE))) bpe.encode(word, out);
    },
    prefix: addBos && bosId !== undefined ? [bosId] : [],
    suffix: addEos && eosIds[0] !== undefined ? [eosIds[0]] : [],
    stripsLeadingSpace: false,
    ...special,
    chatTemplate: getString(gguf, "tokenizer.chat_template"),
    origin: { model: "llama", merges, spacePrefix: false },
  });
}

function loadByteLevel(gguf: File): Tokenizer {
  const vocabulary = readVocabulary(gguf, "byte-level");
  const name = getString(gguf, "tokenizer.ggml.pre") ?? "default";
  const pre = preByName(name);
  if (!pre) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.pre" is ${JSON.stringify(name)}, want one of ${preNames()}`,
    );
  }
  const merges = readMerges(gguf);
  const special = specialIds(gguf, vocabulary, {});
  const wholeWords = pre.wholeWords ?? false;
  const where = `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.merges"`;
  const bpe = bpeFromMerges(vocabulary, merges, { unkId: special.unkId, wholeWords }, where);
  const steps = pre.steps.map((step) => isolate(compile(step, "tokenizer.ggml.pre")));
  const encodeText: TokenizerParts["encodeText"] = (section, first, out) => {
    let words: readonly string[] = [section];
    for (const [i, step] of steps.entries()) {
      words = i === 0 ? step(section, first) : words.flatMap((word) => step(word, false));
    }
    for (const word of words) bpe.encode(word, out);
  };
  const { bosId, eosIds } = special;
  const addBos = getBoolean(gguf, "tokenizer.ggml.add_bos_token") ?? pre.addBos ?? false;
  const addEos = getBoolean(gguf, "tokenizer.ggml.add_eos_token") ?? false;
  return new TextTokenizer({
    vocabulary,
    added: addedTokens(vocabulary),
    encodeText,
    prefix: addBos && bosId !== undefined ? [bosId] : [],
    suffix: addEos && eosIds[0] !== undefined ? [eosIds[0]] : [],
    stripsLeadingSpace: false,
    ...special,
    chatTemplate: getString(gguf, "tokenizer.chat_template"),
    origin: { model: "gpt2", merges, patterns: pre.steps, wholeWords },
  });
}

function readVocabulary(gguf: File, spelling: Spelling): Vocabulary {
  const key = "tokenizer.ggml.tokens";
  const strings = required(getStrings(gguf, key), gguf, key);
  if (strings.length === 0 || strings.length > MAX_VOCABULARY) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(gguf.name)}: "${key}" has ${strings.length} entries, want 1 to ${MAX_VOCABULARY}`,
    );
  }
  const tokens = strings.toArray();
  const types = new Uint8Array(tokens.length).fill(TOKEN_TYPE.normal);
  const found = getNumbers(gguf, "tokenizer.ggml.token_type");
  if (found) {
    sameLength(gguf, "tokenizer.ggml.token_type", found.length, tokens.length);
    for (let id = 0; id < tokens.length; id++) {
      const type = found[id]!;
      types[id] = type >= TOKEN_TYPE.normal && type <= TOKEN_TYPE.byte ? type : TOKEN_TYPE.unused;
    }
  } else if (spelling === "metaspace") {
    // The first files had no kinds; SentencePiece's own first entries and the bytes are known by their text.
    for (const [id, token] of tokens.entries()) {
      if (byteOf(token) !== undefined) types[id] = TOKEN_TYPE.byte;
      else if (id < 3 && /^<\/?(s|unk)>$/.test(token)) types[id] = TOKEN_TYPE.control;
    }
  }
  return new Vocabulary(gguf.name, tokens, types, spelling);
}

function readMerges(gguf: File): [string, string][] {
  const key = "tokenizer.ggml.merges";
  const merges = required(getStrings(gguf, key), gguf, key);
  return Array.from(merges, (merge, i) => {
    const space = merge.indexOf(" ", 1);
    if (space < 0 || space === merge.length - 1) {
      throw new RangeError(
        `Cannot read ${JSON.stringify(gguf.name)}: "${key}"[${i}] is ${JSON.stringify(merge)}, want two entries and a space between`,
      );
    }
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

function specialIds(gguf: File, vocabulary: Vocabulary, known: { bos?: number; eos?: number; unk?: number }) {
  const id = (key: string): number | undefined =>
    getInteger(gguf, `tokenizer.ggml.${key}`, 0, vocabulary.tokens.length - 1);
  const fallback = (at: number | undefined) =>
    at !== undefined && at < vocabulary.tokens.length ? at : undefined;
  const eosIds: number[] = [];
  for (const end of [id("eos_token_id") ?? fallback(known.eos), id("eot_token_id"), id("eom_token_id")]) {
    if (end !== undefined && !eosIds.includes(end)) eosIds.push(end);
  }
  for (const text of END_TOKENS) {
    const end = vocabulary.special.get(text);
    if (end !== undefined && !eosIds.includes(end)) eosIds.push(end);
  }
  return {
    bosId: id("bos_token_id") ?? fallback(known.bos),
    padId: id("padding_token_id"),
    unkId: id("unknown_token_id") ?? fallback(known.unk),
    eosIds,
  };
}

function sameLength(gguf: File, key: string, found: number, wanted: number): void {
  if (found !== wanted) {
    throw new RangeError(
      `Cannot read ${JSON.stringify(gguf.name)}: "${key}" has ${found} values, want ${wanted}, one for each token`,
    );
  }
}
