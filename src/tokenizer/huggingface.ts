// Reads Hugging Face tokenizers: tokenizer.json with tokenizer_config.json. Trusts no value in them.

import { type AddedToken, MAX_ADDED_LENGTH } from "./added-tokens.ts";
import { bpeFromMerges, metaspaceWords } from "./bpe-build.ts";
import { readDecoder, readNormalizer, readPostProcessor } from "./huggingface-parts.ts";
import { asArray, asBoolean, asIndex, asObject, asString, brief } from "./json.ts";
import { readPreTokenizer } from "./pre-tokenizer.ts";
import { TextTokenizer, type TokenizerOrigin, type TokenizerParts } from "./text-tokenizer.ts";
import type { Tokenizer } from "./types.ts";
import { unigramEncoder, wordPieceEncoder } from "./unigram-wordpiece.ts";
import { byteOf, MAX_VOCABULARY, type Spelling, TOKEN_TYPE, Vocabulary } from "./vocabulary.ts";

type Json = Record<string, unknown>;

/**
 * A tokenizer from the parsed contents of tokenizer.json and tokenizer_config.json (`{}` when there is none).
 * @param name - the folder or file, for error messages.
 * @throws {TypeError | RangeError | SyntaxError} naming the field, the value found and the value wanted.
 */
export function loadTokenizerJson(tokenizerJson: unknown, config: unknown, name: string): Tokenizer {
  const at = `Cannot read tokenizer ${JSON.stringify(name)}: `;
  const json = asObject(tokenizerJson, `${at}tokenizer.json`);
  const settings = asObject(config ?? {}, `${at}tokenizer_config.json`);
  const model = asObject(json.model, `${at}model`);
  const type = modelType(model, at);
  const added = readAdded(json, settings, at);
  const pre = readPreTokenizer(json.pre_tokenizer, `${at}pre_tokenizer`);
  const normalizer = readNormalizer(json.normalizer, `${at}normalizer`);
  const decoder = readDecoder(json.decoder, pre.byteLevel, `${at}decoder`);

  const spelling: Spelling = type === "WordPiece" ? "wordpiece" : pre.byteLevel ? "byte-level" : "metaspace";
  const byteFallback = asBoolean(model.byte_fallback ?? false, `${at}model.byte_fallback`);
  const entries =
    type === "Unigram"
      ? unigramEntries(model.vocab, `${at}model.vocab`)
      : vocabEntries(model.vocab, `${at}model.vocab`);
  const vocabulary = makeVocabulary(name, entries, added, spelling, byteFallback, at);
  const unkId = readUnknown(model, type, vocabulary, at);

  const origin: TokenizerOrigin = { json, config: settings };
  let encodeText: TokenizerParts["encodeText"];
  if (type === "BPE") {
    const merges = readMerges(model.merges, `${at}model.merges`);
    const wholeWords = asBoolean(model.ignore_merges ?? false, `${at}model.ignore_merges`);
    for (const field of ["continuing_subword_prefix", "end_of_word_suffix"]) {
      if (model[field]) {
        throw new RangeError(`${at}model.${field} is ${brief(model[field])}, want none`);
      }
    }
    const fuseUnk = asBoolean(model.fuse_unk ?? false, `${at}model.fuse_unk`);
    const extras = { unkId, fuseUnk, wholeWords, byteFallback };
    const bpe = bpeFromMerges(vocabulary, merges, extras, `${at}model.merges`);
    const parts = spelling === "metaspace" && !wholeWords ? metaspaceWords(vocabulary) : undefined;
    encodeText = (section, first, out) => {
      for (const word of pre.words(normalizer.normalize(section), first)) {
        if (parts) for (const part of parts(word)) bpe.encode(part, out);
        else bpe.encode(word, out);
      }
    };
    origin.model = pre.byteLevel ? "gpt2" : "llama";
    origin.merges = merges;
    origin.wholeWords = wholeWords;
    if (pre.patterns) origin.patterns = pre.patterns;
    origin.spacePrefix = normalizer.prepends || pre.metaspace;
  } else {
    const encodeWord =
      type === "WordPiece"
        ? wordPieceEncoder(model, vocabulary, unkId, at)
        : unigramEncoder(model, vocabulary, unkId, byteFallback, at);
    encodeText = (section, first, out) => {
      for (const word of pre.words(normalizer.normalize(section), first)) encodeWord(word, out);
    };
  }
  // One run through every part finds what only shows when it is used.
  try {
    encodeText("a 1\u00e9 ", true, []);
  } catch (error) {
    throw new SyntaxError(`${at}a first text cannot be encoded (${(error as Error).message})`);
  }

  const around = readPostProcessor(json.post_processor, vocabulary, `${at}post_processor`);
  const bosId = namedToken("bos_token", settings, vocabulary, at);
  const eosId = namedToken("eos_token", settings, vocabulary, at);
  applyBosEosFlags(settings, around, bosId, eosId);
  return new TextTokenizer({
    vocabulary,
    added,
    encodeText,
    prefix: around.prefix,
    suffix: around.suffix,
    stripsLeadingSpace: decoder.stripsLeadingSpace,
    bosId,
    padId: namedToken("pad_token", settings, vocabulary, at),
    unkId,
    eosIds: eosId === undefined ? [] : [eosId],
    chatTemplate: readChatTemplate(settings.chat_template, `${at}chat_template`),
    origin,
  });
}

function modelType(model: Json, at: string): "BPE" | "WordPiece" | "Unigram" {
  // Files of the first versions name no type.
  const type = model.type ?? (Array.isArray(model.vocab) ? "Unigram" : model.merges ? "BPE" : "WordPiece");
  if (type === "BPE" || type === "WordPiece" || type === "Unigram") return type;
  throw new RangeError(`${at}model.type is ${brief(type)}, want BPE, WordPiece or Unigram`);
}

function vocabEntries(vocab: unknown, where: string): [string, number][] {
  return Object.entries(asObject(vocab, where)).map(([token, id]) => [
    token,
    asIndex(id, `${where}[${brief(token)}]`, MAX_VOCABULARY),
  ]);
}

function unigramEntries(vocab: unknown, where: string): [string, number][] {
  return Array.from(asArray(vocab, where), (entry, id): [string, number] => {
    const pair = asArray(entry, `${where}[${id}]`);
    if (typeof pair[1] !== "number" || !Number.isFinite(pair[1])) {
      throw new TypeError(`${where}[${id}][1] is ${brief(pair[1])}, want a score`);
    }
    return [asString(pair[0], `${where}[${id}][0]`), asIndex(id, where, MAX_VOCABULARY)];
  });
}

function makeVocabulary(
  name: string,
  entries: readonly [string, number][],
  added: readonly AddedToken[],
  spelling: Spelling,
  byteFallback: boolean,
  at: string,
): Vocabulary {
  let size = 0;
  for (const [, id] of entries) if (id >= size) size = id + 1;
  for (const { id } of added) if (id >= size) size = id + 1;
  if (size === 0) throw new RangeError(`${at}model.vocab is empty, want at least one entry`);
  // A few entries with large ids would otherwise cost memory out of proportion to the file.
  if (size > 4 * (entries.length + added.length) + 1024) {
    throw new RangeError(
      `${at}the largest id is ${size - 1}, but there are ${entries.length + added.length} entries, want ids in a row`,
    );
  }
  const tokens = new Array<string | undefined>(size).fill(undefined);
  const types = new Uint8Array(size).fill(TOKEN_TYPE.unused);
  for (const [token, id] of entries) {
    if (tokens[id] !== undefined) {
      throw new RangeError(
        `${at}id ${id} stands for ${brief(tokens[id])} and for ${brief(token)}, want one entry for each id`,
      );
    }
    tokens[id] = token;
    types[id] = byteFallback && byteOf(token) !== undefined ? TOKEN_TYPE.byte : TOKEN_TYPE.normal;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    types[id] = special ? TOKEN_TYPE.control : TOKEN_TYPE.user;
  }
  return new Vocabulary(name, tokens, types, spelling);
}

function readAdded(json: Json, settings: Json, at: string): AddedToken[] {
  const byId = new Map<number, AddedToken>();
  const add = (value: unknown, id: unknown, where: string): void => {
    const token = asObject(value, where);
    const flag = (field: string): boolean => asBoolean(token[field] ?? false, `${where}.${field}`);
    const index = asIndex(id, `${where}.id`, MAX_VOCABULARY);
    const content = asString(token.content, `${where}.content`);
    if (content.length > MAX_ADDED_LENGTH) {
      throw new RangeError(
        `${where}.content has ${content.length} characters, want at most ${MAX_ADDED_LENGTH}`,
      );
    }
    byId.set(index, {
      id: index,
      content,
      special: flag("special"),
      lstrip: flag("lstrip"),
      rstrip: flag("rstrip"),
      singleWord: flag("single_word"),
    });
  };
  const listed = asArray(json.added_tokens ?? [], `${at}added_tokens`);
  for (const [i, token] of listed.entries()) {
    const where = `${at}added_tokens[${i}]`;
    add(token, asObject(token, where).id, where);
  }
  const decoder = settings.added_tokens_decoder;
  if (decoder !== undefined && decoder !== null) {
    const where = `${at}tokenizer_config.json: added_tokens_decoder`;
    for (const [id, token] of Object.entries(asObject(decoder, where))) {
      if (!byId.has(Number(id))) add(token, Number(id), `${where}[${brief(id)}]`);
    }
  }
  return [...byId.values()];
}

function readMerges(merges: unknown, where: string): [string, string][] {
  return Array.from(asArray(merges, where), (merge, i): [string, string] => {
    if (typeof merge === "string") {
      const space = merge.indexOf(" ", 1);
      if (space > 0 && space < merge.length - 1) return [merge.slice(0, space), merge.slice(space + 1)];
    } else if (Array.isArray(merge) && merge.length === 2) {
      const [left, right] = merge;
      if (typeof left === "string" && typeof right === "string") return [left, right];
    }
    throw new TypeError(`${where}[${i}] is ${brief(merge)}, want two entries`);
  });
}

function readUnknown(model: Json, type: string, vocabulary: Vocabulary, at: string): number | undefined {
  if (type === "Unigram") {
    const id = model.unk_id;
    return id === null || id === undefined
      ? undefined
      : asIndex(id, `${at}model.unk_id`, vocabulary.tokens.length);
  }
  if (model.unk_token === null || model.unk_token === undefined) return undefined;
  const token = asString(model.unk_token, `${at}model.unk_token`);
  const id = vocabulary.ids.get(token);
  if (id === undefined) {
    throw new RangeError(`${at}model.unk_token is ${brief(token)}, want an entry of the vocabulary`);
  }
  return id;
}

function namedToken(field: string, settings: Json, vocabulary: Vocabulary, at: string): number | undefined {
  const value = settings[field];
  if (value === undefined || value === null) return undefined;
  const where = `${at}tokenizer_config.json: ${field}`;
  const text =
    typeof value === "string" ? value : asString(asObject(value, where).content, `${where}.content`);
  return vocabulary.ids.get(text);
}

/** Classes whose begin and end tokens follow these two flags, whatever the post-processor says. */
const FLAGGED = /^(Llama|CodeLlama|Gemma|Cohere)Tokenizer(Fast)?$/;

function applyBosEosFlags(
  settings: Json,
  around: { prefix: number[]; suffix: number[] },
  bosId: number | undefined,
  eosId: number | undefined,
): void {
  if (typeof settings.tokenizer_class !== "string" || !FLAGGED.test(settings.tokenizer_class)) return;
  if (typeof settings.add_bos_token === "boolean" && bosId !== undefined) {
    around.prefix = settings.add_bos_token ? [bosId] : [];
  }
  if (typeof settings.add_eos_token === "boolean" && eosId !== undefined) {
    around.suffix = settings.add_eos_token ? [eosId] : [];
  }
}

function readChatTemplate(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  // Some models have several templates; the one named "default" is for conversations.
  const named = asArray(value, where).map((entry, i) => asObject(entry, `${where}[${i}]`));
  const chosen = named.find((entry) => entry.name === "default") ?? named[0];
  return chosen && asString(chosen.template, `${where}.template`);
}
