// Vocabularies for random-weight models: the family's own where the test data beside the repository has it, else
// a byte-level one of the same size and layout, which llama.cpp takes as well.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Test data, where this machine has it. */
export const data = fileURLToPath(new URL("../../shared/data", import.meta.url));

/** GPT-2's printable stand-in for each of the 256 bytes, printable bytes first (the usual order of ids). */
function byteTokens() {
  const printable = [];
  for (let b = 0; b < 256; b++)
    if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174) printable.push(b);
  let extra = 256;
  const rest = [];
  for (let b = 0; b < 256; b++) if (!printable.includes(b)) rest.push(String.fromCodePoint(extra++));
  return [...printable.map((b) => String.fromCodePoint(b)), ...rest];
}

/** @typedef {{ pre: string, tokens: string[], types: number[], merges: string[], bos: number, eos: number, addBos: boolean, source: string }} Vocab */

/** @param {string} file */
const json = (file) => JSON.parse(readFileSync(join(data, file), "utf8"));
const NORMAL = 1;
const CONTROL = 3;
const USER = 4;
const UNUSED = 5;

/** A vocabulary of bytes and merges alone, with `special` control tokens at the end. @param {string[]} merges @param {number} size @param {string[]} special */
function bytesAndMerges(merges, size, special) {
  const tokens = [...byteTokens(), ...merges.map((m) => m.replace(" ", ""))];
  const types = tokens.map(() => NORMAL);
  for (const t of special) {
    tokens.push(t);
    types.push(CONTROL);
  }
  if (tokens.length !== size)
    throw new RangeError(`Cannot make a vocabulary: ${tokens.length} tokens, wanted ${size}`);
  return { tokens, types };
}

/** Merges that no corpus gave: pairs of bytes first, then each pair with one more byte. @param {number} count */
function syntheticMerges(count) {
  const bytes = byteTokens();
  const merges = [];
  for (const a of bytes) for (const b of bytes) if (merges.length < count) merges.push(`${a} ${b}`);
  for (const pair of merges.slice(0)) {
    for (const c of bytes.slice(0, 4))
      if (merges.length < count) merges.push(`${pair.replace(" ", "")} ${c}`);
  }
  return merges;
}

/** @param {Shape} s @returns {Vocab} */
export function vocabulary(s) {
  if (s.vocab === "smollm2" && existsSync(join(data, "tokenizers/smollm2/tokenizer.json"))) {
    const t = json("tokenizers/smollm2/tokenizer.json");
    /** @type {string[]} */
    const tokens = [];
    for (const [token, id] of Object.entries(t.model.vocab)) tokens[id] = token;
    const types = tokens.map(() => NORMAL);
    for (const a of t.added_tokens) {
      tokens[a.id] = a.content;
      types[a.id] = CONTROL;
    }
    const merges = t.model.merges.map((/** @type {any} */ m) => (Array.isArray(m) ? m.join(" ") : m));
    return { pre: "smollm", tokens, types, merges, bos: 1, eos: 2, addBos: false, source: "SmolLM2's" };
  }
  const folder = "tokenizers/qwen2.5";
  const qwen = existsSync(join(data, folder, "official/merges.txt"));
  const qwenMerges = () =>
    readFileSync(join(data, folder, "official/merges.txt"), "utf8")
      .split("\n")
      .filter((l) => l.includes(" ") && !l.startsWith("#version"));
  if (s.vocab === "qwen2.5" && qwen) {
    /** @type {string[]} */
    const tokens = [];
    for (const [token, id] of Object.entries(json(`${folder}/vocab.json`))) tokens[id] = token;
    const types = tokens.map(() => NORMAL);
    for (const [id, a] of Object.entries(
      json(`${folder}/official/tokenizer_config.json`).added_tokens_decoder,
    )) {
      tokens[+id] = a.content;
      types[+id] = a.special ? CONTROL : USER;
    }
    for (let id = tokens.length; id < s.vocab_size; id++) {
      tokens[id] = `[PAD${id}]`;
      types[id] = UNUSED;
    }
    return {
      pre: "qwen2",
      tokens,
      types,
      merges: qwenMerges(),
      bos: 151643,
      eos: 151645,
      addBos: false,
      source: "Qwen2.5's",
    };
  }
  // Llama 3's vocabulary is not free to carry: its layout (128,000 byte-pair tokens, 256 control tokens) with
  // other merges. The same stands in for a family whose vocabulary is not on this machine.
  const special = ["<|begin_of_text|>", "<|end_of_text|>"];
  for (let i = 0; special.length < 256; i++) special.push(`<|reserved_special_token_${i}|>`);
  special[9] = "<|eot_id|>";
  const count = s.vocab_size - 256 - special.length;
  const merges = qwen ? qwenMerges().slice(0, count) : syntheticMerges(count);
  const pre = s.vocab === "smollm2" ? "smollm" : s.vocab === "qwen2.5" ? "qwen2" : "llama-bpe";
  const bos = s.vocab_size - special.length;
  return {
    pre,
    ...bytesAndMerges(merges, s.vocab_size, special),
    merges,
    bos,
    eos: bos + 1,
    addBos: s.vocab === "llama3",
    source: qwen ? "byte-level with Qwen2.5's first merges" : "byte-level, synthetic",
  };
}
