// Finds the tokenizer in a Hugging Face folder: which files there are and how they make one tokenizer.json.

import { loadTokenizerJson } from "./huggingface.ts";
import { asIndex, asObject, asString, brief } from "./json.ts";
import { loadSentencePiece } from "./sentencepiece.ts";
import type { Tokenizer } from "./types.ts";
import { MAX_VOCABULARY } from "./vocabulary.ts";

type Json = Record<string, unknown>;

/** The largest published tokenizer.json is about 35 MB. */
const MAX_FILE = 256 * 2 ** 20;

/**
 * The tokenizer of a folder: tokenizer.json, or vocab.json with merges.txt, or a SentencePiece tokenizer.model;
 * with tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja where they are.
 * @throws {Error} when there is none, or naming the file and field that cannot be read.
 */
export async function loadTokenizerFolder(dir: string): Promise<Tokenizer> {
  const folder = await openFolder(dir);
  const config = await readConfig(folder);
  const json = await folder.json("tokenizer.json");
  if (json !== undefined) return loadTokenizerJson(json, config, dir);

  const vocab = await folder.json("vocab.json");
  const merges = await folder.text("merges.txt");
  if (vocab !== undefined && merges !== undefined) {
    return loadTokenizerJson(fromVocabAndMerges(folder, vocab, merges, config), config, dir);
  }
  const model = await folder.bytes("tokenizer.model");
  if (model) return loadSentencePiece(model, config, dir);
  throw new Error(
    `Cannot read tokenizer ${JSON.stringify(dir)}: no tokenizer.json, want one, or vocab.json with merges.txt, ` +
      "or tokenizer.model",
  );
}

interface Folder {
  readonly dir: string;
  bytes(file: string): Promise<Uint8Array | undefined>;
  text(file: string): Promise<string | undefined>;
  json(file: string): Promise<unknown>;
}

async function openFolder(dir: string): Promise<Folder> {
  // Loaded here, so that the rest of the tokenizer runs in a browser.
  const { readFile, stat } = await import("node:fs/promises");
  const { join } = await import("node:path");
  const bytes = async (file: string): Promise<Uint8Array | undefined> => {
    const path = join(dir, file);
    try {
      const { size } = await stat(path);
      if (size > MAX_FILE) {
        throw new RangeError(`Cannot read ${JSON.stringify(path)}: ${size} bytes, want at most ${MAX_FILE}`);
      }
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  };
  const text = async (file: string): Promise<string | undefined> => {
    const found = await bytes(file);
    return found && new TextDecoder("utf-8", { ignoreBOM: false }).decode(found);
  };
  const json = async (file: string): Promise<unknown> => {
    const found = await text(file);
    if (found === undefined) return undefined;
    try {
      return JSON.parse(found);
    } catch (error) {
      throw new SyntaxError(
        `Cannot read ${JSON.stringify(join(dir, file))}: ${(error as Error).message}, want JSON`,
      );
    }
  };
  return { dir, bytes, text, json };
}

/** tokenizer_config.json, completed from the older files beside it. */
async function readConfig(folder: Folder): Promise<Json> {
  const at = (file: string) => `Cannot read tokenizer ${JSON.stringify(folder.dir)}: ${file}`;
  const config = {
    ...asObject((await folder.json("tokenizer_config.json")) ?? {}, at("tokenizer_config.json")),
  };
  const map = asObject((await folder.json("special_tokens_map.json")) ?? {}, at("special_tokens_map.json"));
  for (const [name, token] of Object.entries(map)) config[name] ??= token;
  const template = await folder.text("chat_template.jinja");
  if (template !== undefined) config.chat_template = template;

  const added = await folder.json("added_tokens.json");
  if (added !== undefined && config.added_tokens_decoder === undefined) {
    const special = new Set(specialTexts(map));
    const decoder: Json = {};
    for (const [content, id] of Object.entries(asObject(added, at("added_tokens.json")))) {
      const index = asIndex(id, at(`added_tokens.json: ${brief(content)}`), MAX_VOCABULARY);
      decoder[index] = { content, special: special.has(content) };
    }
    config.added_tokens_decoder = decoder;
  }
  return config;
}

/** Every token text in special_tokens_map.json: strings, objects with `content`, and lists of both. */
function specialTexts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(specialTexts);
  if (typeof value !== "object" || value === null) return [];
  if ("content" in value) return specialTexts(value.content);
  return Object.values(value).flatMap(specialTexts);
}

const QWEN2_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The tokenizer.json that the classes of GPT-2 and Qwen2 make of their two files. */
function fromVocabAndMerges(folder: Folder, vocab: unknown, merges: string, config: Json): Json {
  const name = asString(
    config.tokenizer_class ?? "GPT2Tokenizer",
    `Cannot read tokenizer ${JSON.stringify(folder.dir)}: tokenizer_config.json: tokenizer_class`,
  ).replace(/Fast$/, "");
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  let normalizer: Json | null = null;
  let preTokenizer: Json = { ...byteLevel, add_prefix_space: config.add_prefix_space === true };
  if (name === "Qwen2Tokenizer") {
    normalizer = { type: "NFC" };
    const split = { type: "Split", pattern: { Regex: QWEN2_PATTERN }, behavior: "Isolated", invert: false };
    preTokenizer = { type: "Sequence", pretokenizers: [split, { ...byteLevel, use_regex: false }] };
  } else if (name !== "GPT2Tokenizer") {
    throw new RangeError(
      `Cannot read tokenizer ${JSON.stringify(folder.dir)}: tokenizer_class is ${brief(name)}, want GPT2Tokenizer or ` +
        "Qwen2Tokenizer for vocab.json with merges.txt",
    );
  }
  const lines = merges.split("\n").map((line) => line.replace(/\r$/, ""));
  const known = new Map(Object.entries(asObject(vocab, `${folder.dir}: vocab.json`)));
  const added = config.added_tokens_decoder === undefined ? specialTexts(config.eos_token) : [];
  return {
    version: "1.0",
    added_tokens: added
      .filter((content) => known.has(content))
      .map((content) => ({ id: known.get(content), content, special: true })),
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: { ...byteLevel, use_regex: false },
    decoder: byteLevel,
    model: {
      type: "BPE",
      vocab,
      merges: lines.filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version"))),
    },
  };
}
