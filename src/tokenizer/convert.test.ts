import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { GgufValue } from "../formats/index.ts";
import { tokenizerToGguf, tokenizerToJson } from "./convert.ts";
import { loadTokenizerFolder } from "./folder.ts";
import { loadTokenizerGguf } from "./gguf.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import { tinyByteLevel, tinyMetaspace } from "./tiny.ts";

const TEXT = "hello hello, world! héllo 🦙  low\n\n<|im_end|> 12345";
const byteLevel = tinyByteLevel();
const metaspace = tinyMetaspace();

/** SentencePiece's spelling with merges in an order that no scores give, and no space in front: Gemma 4's way. */
function mergesAlone(): ReturnType<typeof tinyMetaspace> {
  const files = tinyMetaspace();
  const { model, normalizer, decoder } = files.tokenizer as Record<string, Record<string, unknown[]>>;
  normalizer!.normalizers!.shift();
  decoder!.decoders!.pop();
  model!.merges!.pop();
  model!.merges!.push(["▁hel", "l"], ["▁hell", "o"]);
  const vocab = model!.vocab as unknown as Record<string, number>;
  vocab["▁hell"] = Object.keys(vocab).length;
  return files;
}

test.each([
  ["byte-level", byteLevel, "gpt2"],
  ["SentencePiece", metaspace, "llama"],
  ["SentencePiece by merges", mergesAlone(), "gemma4"],
])("%s: tokenizer.json -> GGUF -> tokenizer.json keeps every id", (_, files, model) => {
  const first = loadTokenizerJson(files.tokenizer, files.config, "first");
  const metadata = tokenizerToGguf(first);
  expect(metadata.get("tokenizer.ggml.model")).toEqual({ type: "string", value: model });
  const gguf = loadTokenizerGguf({ name: "second", metadata });
  const { tokenizer, config } = tokenizerToJson(gguf);
  const third = loadTokenizerJson(JSON.parse(JSON.stringify(tokenizer)), config, "third");
  for (const options of [{}, { parseSpecial: true }, { addSpecial: false }]) {
    const ids = first.encode(TEXT, options);
    expect(gguf.encode(TEXT, options)).toEqual(ids);
    expect(third.encode(TEXT, options)).toEqual(ids);
    expect(third.decode(ids)).toBe(first.decode(ids));
  }
  for (const other of [gguf, third]) {
    expect([...other.specialTokens]).toEqual([...first.specialTokens]);
    expect(other.eosIds[0]).toBe(first.eosIds[0]);
    expect(other.bosId).toBe(first.bosId);
    expect(other.chatTemplate).toBe(first.chatTemplate);
  }
});

test("a tokenizer.json is given back as it was", () => {
  const tokenizer = loadTokenizerJson(byteLevel.tokenizer, byteLevel.config, "x");
  expect(tokenizerToJson(tokenizer)).toEqual(byteLevel);
});

test("GGUF refuses what it cannot say", () => {
  const odd = tinyByteLevel("\\p{L}+|\\P{L}+");
  expect(() => tokenizerToGguf(loadTokenizerJson(odd.tokenizer, odd.config, "odd"))).toThrow(
    /Cannot write tokenizer "odd" as GGUF: its pre-tokenizer splits by .* want that of llama-bpe/,
  );
  const { tokenizer, config } = tinyMetaspace();
  (tokenizer.model as { merges: unknown[] }).merges.pop();
  (tokenizer.model as { merges: unknown[] }).merges.push(["▁he", "llo"]);
  expect(() => loadTokenizerJson(tokenizer, config, "x")).toThrow(
    'model.merges[4] is ["▁he","llo"], but the vocabulary has no "▁he"',
  );
  (tokenizer.model as { merges: unknown[] }).merges.pop();
  expect(() => tokenizerToGguf(loadTokenizerJson(tokenizer, config, "x"))).toThrow(
    'SentencePiece would merge "▁hel" and "lo", but its merges do not',
  );
  const tiny = loadTokenizerJson(byteLevel.tokenizer, byteLevel.config, "x");
  expect(() => tokenizerToGguf(tiny, 100)).toThrow("the model has 100 rows, want at least 265");
});

// As published tokenizer.json files spell them.
const SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const TAIL = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const cl100k = (digits: string) =>
  `${SUFFIX}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${TAIL}`;
const cased = (suffix: string, digits: string) => {
  const [upper, lower] = ["[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"];
  const start = "[^\\r\\n\\p{L}\\p{N}]?";
  return `${start}${upper}*${lower}+${suffix}|${start}${upper}+${lower}*${suffix}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${TAIL}`;
};

test.each([
  ["llama-bpe", cl100k("\\p{N}{1,3}"), true],
  ["smaug-bpe", cl100k("\\p{N}{1,3}"), false],
  ["qwen2", cl100k("\\p{N}"), false],
  ["gpt-4o", cased(`${SUFFIX}?`, "\\p{N}{1,3}"), false],
  ["tekken", cased("", "\\p{N}"), true],
])("%s is found from its pattern, and splits alike from GGUF", (name, pattern, wholeWords) => {
  const { tokenizer, config } = tinyByteLevel(pattern);
  (tokenizer.model as { ignore_merges: boolean }).ignore_merges = wholeWords;
  const first = loadTokenizerJson(tokenizer, config, "first");
  const metadata = tokenizerToGguf(first);
  expect(metadata.get("tokenizer.ggml.pre")).toEqual({ type: "string", value: name });
  const text = `${TEXT} I'LL it's 1234567 HelloWorld\r\n\t  x/y\n\n  end `;
  expect(loadTokenizerGguf({ name: "second", metadata }).encode(text)).toEqual(first.encode(text));
});

test("padding up to the embedding's rows", () => {
  const tiny = loadTokenizerJson(byteLevel.tokenizer, byteLevel.config, "x");
  const metadata = tokenizerToGguf(tiny, 320);
  const types = metadata.get("tokenizer.ggml.token_type")!.value as Int32Array;
  expect([types.length, types[264], types[265], types[319]]).toEqual([320, 4, 5, 5]);
  expect(loadTokenizerGguf({ name: "x", metadata }).encode(TEXT)).toEqual(tiny.encode(TEXT));
});

test("GGUF: errors name the key, what was found and what is wanted", () => {
  const tiny = loadTokenizerJson(byteLevel.tokenizer, byteLevel.config, "x");
  const good = tokenizerToGguf(tiny);
  const load = (key: string, value: GgufValue | undefined) => () => {
    const metadata = new Map(good);
    if (value) metadata.set(`tokenizer.ggml.${key}`, value);
    else metadata.delete(`tokenizer.ggml.${key}`);
    return loadTokenizerGguf({ name: "m.gguf", metadata });
  };
  const string = (value: string): GgufValue => ({ type: "string", value });
  const strings = (value: string[]): GgufValue => ({ type: "array", of: "string", value });
  expect(load("model", string("rwkv"))).toThrow(
    '"tokenizer.ggml.model" is "rwkv", want "llama", "gpt2", "gemma4" or "bert"',
  );
  expect(load("pre", string("new"))).toThrow('"tokenizer.ggml.pre" is "new", want one of llama-bpe, llama3,');
  expect(load("tokens", undefined)).toThrow('Cannot read "m.gguf": "tokenizer.ggml.tokens" is missing');
  expect(load("tokens", strings([]))).toThrow("has 0 entries, want 1 to");
  expect(load("merges", strings(["ab"]))).toThrow('"tokenizer.ggml.merges"[0] is "ab", want two entries');
  expect(load("merges", strings(["q q"]))).toThrow('but the vocabulary has no "qq"');
  expect(load("eos_token_id", { type: "uint32", value: 9999 })).toThrow(
    "is 9999, want a whole number from 0 to 264",
  );
  expect(load("token_type", { type: "array", of: "int32", value: new Int32Array(3) })).toThrow(
    '"tokenizer.ggml.token_type" has 3 values, want 265, one for each token',
  );
});

test("folders: tokenizer.json, and vocab.json with merges.txt", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pith-tokenizer-"));
  try {
    await expect(loadTokenizerFolder(dir)).rejects.toThrow(/no tokenizer.json, want one/);
    const model = byteLevel.tokenizer.model as { vocab: object; merges: string[] };
    await writeFile(join(dir, "vocab.json"), JSON.stringify(model.vocab));
    await writeFile(join(dir, "merges.txt"), `#version: 0.2\n${model.merges.join("\r\n")}\n`);
    await writeFile(join(dir, "added_tokens.json"), '{"<|im_start|>":262,"<|im_end|>":263,"<tool>":264}');
    await writeFile(
      join(dir, "special_tokens_map.json"),
      '{"eos_token":{"content":"<|im_end|>"},"additional_special_tokens":["<|im_start|>"]}',
    );
    await writeFile(join(dir, "chat_template.jinja"), "{{ messages[0].content }}");
    const older = await loadTokenizerFolder(dir);
    const newer = loadTokenizerJson(byteLevel.tokenizer, byteLevel.config, "x");
    for (const options of [{}, { parseSpecial: true }]) {
      expect(older.encode(`${TEXT}<tool>`, options)).toEqual(newer.encode(`${TEXT}<tool>`, options));
    }
    expect(older).toMatchObject({ eosIds: [263], chatTemplate: "{{ messages[0].content }}" });

    await writeFile(join(dir, "tokenizer.json"), "{");
    await expect(loadTokenizerFolder(dir)).rejects.toThrow(/tokenizer.json": .*, want JSON/);
    await writeFile(join(dir, "tokenizer.json"), JSON.stringify(byteLevel.tokenizer));
    expect((await loadTokenizerFolder(dir)).encode(TEXT)).toEqual(newer.encode(TEXT));
  } finally {
    await rm(dir, { recursive: true });
  }
});
