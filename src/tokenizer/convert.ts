// Writes a tokenizer in the other format: GGUF metadata, or tokenizer.json with tokenizer_config.json.

import type { GgufValue } from "../formats/index.ts";
import { scoreRanks } from "./bpe-build.ts";
import { preByName, preBySteps, preNames } from "./patterns.ts";
import { TextTokenizer } from "./text-tokenizer.ts";
import type { Tokenizer } from "./types.ts";
import { METASPACE, TOKEN_TYPE, type Vocabulary } from "./vocabulary.ts";
import { wordPieceToGguf } from "./wordpiece-gguf.ts";

/**
 * GGUF metadata with which llama.cpp makes the same ids: `tokenizer.ggml.*` and `tokenizer.chat_template`.
 * @param size - rows of the model's embedding: padded with unused entries up to there. Default: the vocabulary's.
 * @throws {RangeError} when GGUF has no way to say what this tokenizer does.
 */
export function tokenizerToGguf(tokenizer: Tokenizer, size = tokenizer.vocabSize): Map<string, GgufValue> {
  const { vocabulary, origin } = ours(tokenizer);
  const at = `Cannot write tokenizer ${JSON.stringify(tokenizer.name)} as GGUF: `;
  if (size < tokenizer.vocabSize) {
    throw new RangeError(
      `${at}the model has ${size} rows, want at least ${tokenizer.vocabSize}, one for each token`,
    );
  }
  if ((origin.json?.model as { type?: unknown } | undefined)?.type === "WordPiece")
    return wordPieceToGguf(ours(tokenizer), size, at);
  const metadata = new Map<string, GgufValue>();
  const string = (key: string, value: string) => metadata.set(`tokenizer.${key}`, { type: "string", value });
  const flag = (key: string, value: boolean) =>
    metadata.set(`tokenizer.ggml.${key}`, { type: "bool", value });

  const tokens = Array.from({ length: size }, (_, id) => vocabulary.tokens[id] ?? `[PAD${id}]`);
  const types = Int32Array.from({ length: size }, (_, id) =>
    vocabulary.tokens[id] === undefined ? TOKEN_TYPE.unused : vocabulary.types[id]!,
  );
  if (tokenizer.unkId !== undefined && types[tokenizer.unkId] === TOKEN_TYPE.control) {
    types[tokenizer.unkId] = TOKEN_TYPE.unknown;
  }
  const addsEos = tokenizer.encode("").at(-1) === tokenizer.eosIds[0] && tokenizer.eosIds.length > 0;

  if (origin.model === "gpt2") {
    const pre = preBySteps(origin.patterns ?? [], origin.wholeWords ?? false);
    if (!origin.patterns || !pre) {
      throw new RangeError(
        `${at}its pre-tokenizer splits by ${JSON.stringify(origin.patterns ?? "other means")}` +
          `${origin.wholeWords ? " with ignore_merges" : ""}, want that of ${preNames()}`,
      );
    }
    string("ggml.model", "gpt2");
    string("ggml.pre", pre.names[0]!);
    metadata.set("tokenizer.ggml.tokens", { type: "array", of: "string", value: tokens });
    metadata.set("tokenizer.ggml.token_type", { type: "array", of: "int32", value: types });
    metadata.set("tokenizer.ggml.merges", mergeList(origin.merges!));
  } else if (origin.model === "llama") {
    const scores = origin.scores ?? scoresOfMerges(vocabulary, origin.merges!);
    // Merges that no scores give: llama.cpp has a kind of tokenizer for them, which puts no space in front.
    const byScores = typeof scores !== "string";
    if (!byScores && origin.spacePrefix) throw new RangeError(at + scores);
    string("ggml.model", byScores ? "llama" : "gemma4");
    if (byScores) string("ggml.pre", "default");
    metadata.set("tokenizer.ggml.tokens", { type: "array", of: "string", value: tokens });
    const all = new Float32Array(size);
    if (byScores) all.set(scores);
    metadata.set("tokenizer.ggml.scores", { type: "array", of: "float32", value: all });
    metadata.set("tokenizer.ggml.token_type", { type: "array", of: "int32", value: types });
    if (!byScores) metadata.set("tokenizer.ggml.merges", mergeList(origin.merges!));
    flag("add_space_prefix", origin.spacePrefix ?? false);
  } else {
    throw new RangeError(
      `${at}its model is no byte-pair encoding, want byte-level BPE, SentencePiece BPE or WordPiece`,
    );
  }
  const id = (key: string, value: number | undefined) => {
    if (value !== undefined) metadata.set(`tokenizer.ggml.${key}`, { type: "uint32", value });
  };
  id("bos_token_id", tokenizer.bosId);
  id("eos_token_id", tokenizer.eosIds[0]);
  id("unknown_token_id", tokenizer.unkId);
  id("padding_token_id", tokenizer.padId);
  flag("add_bos_token", tokenizer.addsBos);
  flag("add_eos_token", addsEos);
  if (tokenizer.chatTemplate !== undefined) string("chat_template", tokenizer.chatTemplate);
  return metadata;
}

const mergeList = (merges: readonly (readonly [string, string])[]): GgufValue => ({
  type: "array",
  of: "string",
  value: merges.map(([left, right]) => `${left} ${right}`),
});

/**
 * Contents of tokenizer.json and tokenizer_config.json. A tokenizer that was read from a tokenizer.json gives that
 * file back as it was.
 */
export function tokenizerToJson(tokenizer: Tokenizer): {
  tokenizer: Record<string, unknown>;
  config: Record<string, unknown>;
} {
  const mine = ours(tokenizer);
  const { origin } = mine;
  if (origin.json) return { tokenizer: origin.json, config: origin.config ?? {} };
  const { vocabulary } = mine;
  const vocab: Record<string, number> = Object.create(null);
  for (const [token, id] of vocabulary.ids) if (vocabulary.types[id] !== TOKEN_TYPE.unused) vocab[token] = id;
  const added = mine.added.map(({ id, content, special }) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special,
  }));
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    ...(origin.model === "llama" ? metaspaceParts(mine) : byteLevelParts(mine)),
    post_processor: postProcessor(tokenizer),
  };
  const spm = origin.model === "llama";
  const model = {
    type: "BPE",
    dropout: null,
    unk_token: tokenizer.unkId === undefined ? null : (tokenizer.tokenText(tokenizer.unkId) ?? null),
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: spm,
    byte_fallback: spm,
    ignore_merges: origin.wholeWords ?? false,
    vocab,
    merges: origin.merges ?? mergesOfScores(vocabulary, origin.scores!),
  };
  const text = (id: number | undefined) => (id === undefined ? null : (tokenizer.tokenText(id) ?? null));
  const config: Record<string, unknown> = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: text(tokenizer.bosId),
    eos_token: text(tokenizer.eosIds[0]),
    pad_token: text(tokenizer.padId),
    unk_token: text(tokenizer.unkId),
    clean_up_tokenization_spaces: false,
  };
  if (tokenizer.chatTemplate !== undefined) config.chat_template = tokenizer.chatTemplate;
  return { tokenizer: { ...json, model }, config };
}

function ours(tokenizer: Tokenizer): TextTokenizer {
  if (tokenizer instanceof TextTokenizer) return tokenizer;
  throw new TypeError(
    `Cannot convert tokenizer ${JSON.stringify(tokenizer.name)}, want one that was loaded here`,
  );
}

function byteLevelParts({ origin }: TextTokenizer) {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const splits = (origin.patterns ?? preByName("gpt-2")!.steps).map((Regex) => ({
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
  }));
  return {
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...splits, byteLevel] },
    decoder: { ...byteLevel, use_regex: true },
  };
}

function metaspaceParts({ origin }: TextTokenizer) {
  const replace = { type: "Replace", pattern: { String: " " }, content: METASPACE };
  const back = { type: "Replace", pattern: { String: METASPACE }, content: " " };
  const prefix = origin.spacePrefix ? [{ type: "Prepend", prepend: METASPACE }] : [];
  const strip = origin.spacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [];
  return {
    normalizer: { type: "Sequence", normalizers: [...prefix, replace] },
    pre_tokenizer: null,
    decoder: { type: "Sequence", decoders: [back, { type: "ByteFallback" }, { type: "Fuse" }, ...strip] },
  };
}

function postProcessor(tokenizer: Tokenizer): Record<string, unknown> | null {
  const around = tokenizer.encode("");
  if (around.length === 0) return null;
  const special: Record<string, unknown> = Object.create(null);
  const item = (id: number) => {
    const text = tokenizer.tokenText(id)!;
    special[text] = { id: text, ids: [id], tokens: [text] };
    return { SpecialToken: { id: text, type_id: 0 } };
  };
  const prefix = tokenizer.addsBos ? [item(around[0]!)] : [];
  const suffix = around.slice(prefix.length).map(item);
  const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });
  return {
    type: "TemplateProcessing",
    single: [...prefix, sequence("A"), ...suffix],
    pair: [...prefix, sequence("A"), ...suffix, ...prefix, sequence("B"), ...suffix],
    special_tokens: special,
  };
}

/** Every way to split an entry into two entries, as `[left, right, merged]` ids. */
function* splits(vocabulary: Vocabulary): Generator<[number, number, number], void, undefined> {
  const textId = (text: string): number | undefined => {
    const id = vocabulary.ids.get(text);
    return id !== undefined && vocabulary.isText(id) ? id : undefined;
  };
  for (const [token, merged] of vocabulary.ids) {
    if (!vocabulary.isText(merged)) continue;
    let end = 0;
    for (const character of token) {
      end += character.length;
      if (end === token.length) break;
      const left = textId(token.slice(0, end));
      const right = left === undefined ? undefined : textId(token.slice(end));
      if (right !== undefined) yield [left!, right, merged];
    }
  }
}

/** SentencePiece merges whatever spells an entry, best score first: as a list, all splits in that order. */
function mergesOfScores(vocabulary: Vocabulary, scores: Float32Array): [string, string][] {
  const ranks = scoreRanks(scores);
  const all = [...splits(vocabulary)];
  all.sort((x, y) => ranks[x[2]]! - ranks[y[2]]! || x[2] - y[2] || x[0] - y[0] || x[1] - y[1]);
  return all.map(([left, right]) => [vocabulary.tokens[left]!, vocabulary.tokens[right]!]);
}

/**
 * Scores that merge in the order of a list: entries made by earlier merges score higher. This is the same tokenizer
 * only if the list has every split of every entry it makes, side by side, as lists made from SentencePiece do; or why it is not.
 */
function scoresOfMerges(
  vocabulary: Vocabulary,
  merges: readonly (readonly [string, string])[],
): Float32Array | string {
  const scores = new Float32Array(vocabulary.tokens.length);
  const counts = new Map<string, number>();
  let group = 0;
  let last = "";
  for (const [left, right] of merges) {
    const token = left + right;
    if (token !== last) {
      if (counts.has(token)) {
        return `its merges into ${JSON.stringify(token)} are not side by side, want SentencePiece's order`;
      }
      group++;
      last = token;
    }
    counts.set(token, (counts.get(token) ?? 0) + 1);
    scores[vocabulary.ids.get(token)!] = -group;
  }
  for (const [left, right, merged] of splits(vocabulary)) {
    const token = vocabulary.tokens[merged]!;
    const unused = counts.get(token) ?? 0;
    if (unused === 0) {
      return (
        `SentencePiece would merge ${JSON.stringify(vocabulary.tokens[left])} and ` +
        `${JSON.stringify(vocabulary.tokens[right])}, but its merges do not, want every split of ${JSON.stringify(token)}`
      );
    }
    counts.set(token, unused - 1);
  }
  return scores;
}
