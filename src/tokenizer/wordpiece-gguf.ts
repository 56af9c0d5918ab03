// WordPiece (BERT) as GGUF has it, `tokenizer.ggml.model` "bert": entries that begin a word carry U+2581, those that
// continue one carry nothing. Hugging Face marks the others, with `##`.

import {
  type GgufFile,
  type GgufValue,
  getBoolean,
  getInteger,
  getNumbers,
  getStrings,
  required,
} from "../formats/index.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";
import type { Tokenizer } from "./types.ts";
import { MAX_VOCABULARY, METASPACE, TOKEN_TYPE } from "./vocabulary.ts";

type Json = Record<string, unknown>;

/** Ids that the keys' absence stands for: those of BERT's own vocabulary. */
const DEFAULTS = { cls: 101, seperator: 102, unknown: 100, padding: 0, mask: 103 };

/**
 * The tokenizer of a GGUF file whose model is "bert".
 * @throws {TypeError | RangeError} naming the file, the key, the value found and the value wanted.
 */
export function loadWordPieceGguf(gguf: Pick<GgufFile, "name" | "metadata">): Tokenizer {
  const at = (key: string) => `Cannot read ${JSON.stringify(gguf.name)}: "tokenizer.ggml.${key}"`;
  const strings = required(getStrings(gguf, "tokenizer.ggml.tokens"), gguf, "tokenizer.ggml.tokens");
  if (strings.length === 0 || strings.length > MAX_VOCABULARY)
    throw new RangeError(`${at("tokens")} has ${strings.length} entries, want 1 to ${MAX_VOCABULARY}`);
  const types = getNumbers(gguf, "tokenizer.ggml.token_type");
  if (types && types.length !== strings.length)
    throw new RangeError(
      `${at("token_type")} has ${types.length} values, want ${strings.length}, one for each token`,
    );
  const ids = Object.fromEntries(
    Object.entries(DEFAULTS).map(([name, known]) => {
      // The key is misspelt in the format itself.
      const key = `${name}_token_id`;
      const found = getInteger(gguf, `tokenizer.ggml.${key}`, 0, strings.length - 1);
      return [name, found ?? (known < strings.length ? known : undefined)];
    }),
  ) as Record<keyof typeof DEFAULTS, number | undefined>;

  const tokens = strings.toArray();
  const vocab: Record<string, number> = Object.create(null);
  const added: Json[] = [];
  const special = new Set<number | undefined>(Object.values(ids));
  tokens.forEach((token, id) => {
    const type = types?.[id] ?? TOKEN_TYPE.normal;
    const control = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown || special.has(id);
    if (type === TOKEN_TYPE.unused && !control) return;
    const text = control ? token : token.startsWith(METASPACE) ? token.slice(1) : `##${token}`;
    vocab[text] ??= id;
    if (control || type === TOKEN_TYPE.user)
      added.push({
        id,
        content: text,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: control,
      });
  });
  const item = (id: number | undefined, key: string) => {
    if (id === undefined) throw new RangeError(`${at(key)} is missing, want the id of an entry`);
    return { text: tokens[id]!, id };
  };
  const [cls, sep] = [item(ids.cls, "cls_token_id"), item(ids.seperator, "seperator_token_id")];
  const lowercase = getBoolean(gguf, "tokenizer.ggml.normalizer.lowercase") ?? true;
  const strip_accents = getBoolean(gguf, "tokenizer.ggml.normalizer.strip_accents") ?? lowercase;
  const part = ({ text }: { text: string }) => ({ SpecialToken: { id: text, type_id: 0 } });
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents,
      lowercase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [part(cls), { Sequence: { id: "A", type_id: 0 } }, part(sep)],
      pair: [
        part(cls),
        { Sequence: { id: "A", type_id: 0 } },
        part(sep),
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: sep.text, type_id: 1 } },
      ],
      special_tokens: Object.fromEntries(
        [cls, sep].map(({ text, id }) => [text, { id: text, ids: [id], tokens: [text] }]),
      ),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: item(ids.unknown, "unknown_token_id").text,
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
  const text = (id: number | undefined) => (id === undefined ? null : (tokens[id] ?? null));
  const config = {
    tokenizer_class: "BertTokenizer",
    do_lower_case: lowercase,
    cls_token: cls.text,
    sep_token: sep.text,
    unk_token: text(ids.unknown),
    pad_token: text(ids.padding),
    mask_token: text(ids.mask),
  };
  return loadTokenizerJson(json, config, gguf.name);
}

/** Normalizers that llama.cpp's "bert" tokenizer does what they do. */
function normalizerOf(json: Json, at: string): { lowercase: boolean; strip_accents: boolean } {
  const normalizer = (json.normalizer ?? {}) as Json;
  const lowercase = normalizer.lowercase === true;
  const strip_accents = typeof normalizer.strip_accents === "boolean" ? normalizer.strip_accents : lowercase;
  const pre = (json.pre_tokenizer ?? {}) as Json;
  if (normalizer.type !== "BertNormalizer" || pre.type !== "BertPreTokenizer")
    throw new RangeError(
      `${at}its normalizer is ${JSON.stringify(normalizer.type)} and its pre-tokenizer ${JSON.stringify(pre.type)}, want BertNormalizer and BertPreTokenizer`,
    );
  return { lowercase, strip_accents };
}

/**
 * GGUF metadata of a WordPiece tokenizer that was read from a tokenizer.json.
 * @param size rows of the model's embedding
 * @throws {RangeError} when llama.cpp's tokenizer does not do what this one does.
 */
export function wordPieceToGguf(tokenizer: TextTokenizer, size: number, at: string): Map<string, GgufValue> {
  const { vocabulary, origin } = tokenizer;
  const { lowercase, strip_accents } = normalizerOf(origin.json ?? {}, at);
  const around = tokenizer.encode("");
  if (around.length !== 2)
    throw new RangeError(`${at}it puts ${around.length} tokens around a text, want one before and one after`);
  const tokens = Array.from({ length: size }, (_, id) => {
    const token = vocabulary.tokens[id];
    if (token === undefined) return `[PAD${id}]`;
    if (vocabulary.isSpecial(id)) return token;
    return token.startsWith("##") ? token.slice(2) : METASPACE + token;
  });
  const types = Int32Array.from({ length: size }, (_, id) =>
    vocabulary.tokens[id] === undefined ? TOKEN_TYPE.unused : vocabulary.types[id]!,
  );
  const metadata = new Map<string, GgufValue>();
  const set = (key: string, value: GgufValue) => metadata.set(`tokenizer.ggml.${key}`, value);
  const id = (key: string, value: number | undefined) => {
    if (value !== undefined) set(key, { type: "uint32", value });
  };
  set("model", { type: "string", value: "bert" });
  set("pre", { type: "string", value: "default" });
  set("tokens", { type: "array", of: "string", value: tokens });
  set("token_type", { type: "array", of: "int32", value: types });
  id("cls_token_id", around[0]);
  id("seperator_token_id", around[1]);
  id("unknown_token_id", tokenizer.unkId);
  id("padding_token_id", tokenizer.padId);
  id("mask_token_id", tokenizer.tokenId("[MASK]"));
  set("normalizer.lowercase", { type: "bool", value: lowercase });
  set("normalizer.strip_accents", { type: "bool", value: strip_accents });
  return metadata;
}
