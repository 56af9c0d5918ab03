// Ids equal llama.cpp's on its own vectors; whole books come back as they were. Needs ../shared/data.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { openFile, readGguf } from "../formats/index.ts";
import { tokenizerToGguf, tokenizerToJson } from "./convert.ts";
import { loadTokenizerFolder } from "./folder.ts";
import { loadTokenizerGguf } from "./gguf.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import { library } from "./library.ts";
import { loadSentencePiece } from "./sentencepiece.ts";
import { StreamDecoder } from "./stream.ts";
import type { Tokenizer } from "./types.ts";

const DATA = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
const read = (path: string): string => readFileSync(DATA + path, "utf8");

async function openVocab(name: string): Promise<Tokenizer> {
  const source = await openFile(`${DATA}gguf-vocabs/ggml-vocab-${name}.gguf`);
  try {
    return loadTokenizerGguf(await readGguf(source));
  } finally {
    await source.close();
  }
}

/** `[text, ids]` of llama.cpp's test files. */
function vectors(name: string): [string, number[]][] {
  const texts = read(`gguf-vocabs/ggml-vocab-${name}.gguf.inp`).split("\n__ggml_vocab_test__\n");
  const lines = read(`gguf-vocabs/ggml-vocab-${name}.gguf.out`).split("\n");
  return texts.map((text, i) => [text, (lines[i]!.match(/\d+/g) ?? []).map(Number)]);
}

function expectVectors(tokenizer: Tokenizer, name: string): void {
  const all = vectors(name);
  expect(all.length).toBeGreaterThan(40);
  for (const [text, ids] of all) {
    expect([text, tokenizer.encode(text, { addSpecial: false })]).toEqual([text, ids]);
    expect(tokenizer.decode(ids)).toBe(text);
  }
}

/** The same tokenizer, written as the other format and read again. */
function viaJson(tokenizer: Tokenizer): Tokenizer {
  const { tokenizer: json, config } = tokenizerToJson(tokenizer);
  return loadTokenizerJson(JSON.parse(JSON.stringify(json)), JSON.parse(JSON.stringify(config)), "via json");
}

function viaGguf(tokenizer: Tokenizer): Tokenizer {
  return loadTokenizerGguf({ name: "via gguf", metadata: tokenizerToGguf(tokenizer) });
}

describe.skipIf(!existsSync(DATA))("real vocabularies (../shared/data is absent: skipped)", () => {
  test.each(["llama-spm", "phi-3", "gpt-2", "deepseek-llm"])(
    "%s: ids equal llama.cpp's, from GGUF and through both conversions",
    async (name) => {
      const tokenizer = await openVocab(name);
      expectVectors(tokenizer, name);
      const json = viaJson(tokenizer);
      expectVectors(json, name);
      expectVectors(viaGguf(json), name);
      expect(json).toMatchObject({
        bosId: tokenizer.bosId,
        addsBos: tokenizer.addsBos,
        vocabSize: tokenizer.vocabSize,
      });
    },
  );

  test("qwen2: ids equal llama.cpp's, from vocab.json with merges.txt and through GGUF", async () => {
    const tokenizer = await loadTokenizerFolder(`${DATA}tokenizers/qwen2.5`);
    expectVectors(tokenizer, "qwen2");
    const gguf = viaGguf(tokenizer);
    expectVectors(gguf, "qwen2");
    expect(gguf.tokenId("<|im_end|>")).toBe(151645);
    expect(gguf).toMatchObject({ eosIds: [151645, 151643], chatTemplate: tokenizer.chatTemplate });
  });

  test("bert-bge: ids equal llama.cpp's, from GGUF, from tokenizer.json and through both conversions", async () => {
    const same = (tokenizer: Tokenizer) => {
      for (const [text, ids] of vectors("bert-bge"))
        expect([text, tokenizer.encode(text, { addSpecial: false })]).toEqual([text, ids]);
      expect(tokenizer.encode("")).toEqual([101, 102]);
    };
    const tokenizer = await openVocab("bert-bge");
    same(tokenizer);
    same(viaGguf(tokenizer));
    const minilm = await loadTokenizerFolder(`${DATA}tokenizers/all-MiniLM-L6-v2`);
    same(minilm);
    same(viaGguf(minilm));
    same(viaJson(viaGguf(minilm)));
  });

  test("llama-spm: ids equal llama.cpp's, from tokenizer.json and from tokenizer.model", async () => {
    const folder = `${DATA}tokenizers/tinyllama-chat`;
    expectVectors(await loadTokenizerFolder(folder), "llama-spm");
    expectVectors(loadSentencePiece(readFileSync(`${folder}/tokenizer.model`), {}, folder), "llama-spm");
  });

  // One pass over five and a half million characters each: about a second a tokenizer on two busy cores.
  test.each([
    "tokenizers/smollm2",
    "tokenizers/qwen2.5",
    "tokenizers/tinyllama-chat",
    "tokenizers/gpt2",
    "stories260K",
  ])("%s: three books come back as they were", async (name) => {
    const tokenizer = await loadTokenizerFolder(DATA + name);
    for (const file of ["wiki.test.raw", "tinyshakespeare.txt", "war-and-peace.txt"]) {
      const text = read(`text/${file}`);
      expect(tokenizer.decode(tokenizer.encode(text, { addSpecial: false })) === text, file).toBe(true);
    }
  });

  test("SentencePiece by merges and by scores agree on a book", async () => {
    const text = read("text/wiki.test.raw");
    for (const name of ["tokenizers/tinyllama-chat", "stories260K"]) {
      const byMerges = await loadTokenizerFolder(DATA + name);
      const ids = byMerges.encode(text);
      expect(viaGguf(byMerges).encode(text)).toEqual(ids);
    }
  });

  test("ids equal the library's on text that both read alike", async () => {
    // It takes only ASCII digits for digits and U+FEFF for a space; neither is in these pages.
    const text =
      read("text/wiki.test.raw").slice(0, 30_000) + read("text/war-and-peace.txt").slice(0, 30_000);
    for (const name of ["smollm2", "gpt2", "tinyllama-chat", "all-MiniLM-L6-v2"]) {
      const folder = `tokenizers/${name}`;
      const peer = new library.Tokenizer(JSON.parse(read(`${folder}/tokenizer.json`)), {});
      const tokenizer = await loadTokenizerFolder(DATA + folder);
      expect(tokenizer.encode(text), name).toEqual(peer.encode(text).ids);
    }
  });

  test("SmolLM2's pre-tokenizer is known to GGUF", async () => {
    const tokenizer = await loadTokenizerFolder(`${DATA}tokenizers/smollm2`);
    const metadata = tokenizerToGguf(tokenizer, 49_280);
    expect(metadata.get("tokenizer.ggml.pre")).toEqual({ type: "string", value: "smollm" });
    expect(metadata.get("tokenizer.ggml.tokens")?.value).toHaveLength(49_280);
    const text = read("text/tinyshakespeare.txt").slice(0, 50_000);
    expect(viaGguf(tokenizer).encode(text)).toEqual(tokenizer.encode(text));
  });

  test("stories260K: upstream's ids are upstream's text, at once and streamed", async () => {
    const tokenizer = await loadTokenizerFolder(`${DATA}stories260K`);
    const ids: number[] = JSON.parse(read("stories260K/greedy_ids_bos_200.json"));
    const text = tokenizer.decode(ids, { skipSpecial: true });
    expect(text.trimEnd()).toBe(read("stories260K/expected_greedy.txt").trimEnd());
    const stream = new StreamDecoder(tokenizer, { skipSpecial: true });
    expect(ids.map((id) => stream.push(id)).join("") + stream.flush()).toBe(text);
    expect(ids.slice(1)).toEqual(tokenizer.encode(text, { addSpecial: false }).slice(0, ids.length - 1));
  });

  test("WordPiece: pieces, and the marks around a text", async () => {
    const tokenizer = await loadTokenizerFolder(`${DATA}tokenizers/all-MiniLM-L6-v2`);
    const ids = tokenizer.encode("Tokenization is unbelievably fun");
    const pieces = "[CLS] token ##ization is un ##bel ##ie ##va ##bly fun [SEP]";
    expect(ids.map((id) => tokenizer.tokenText(id)).join(" ")).toBe(pieces);
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe("tokenization is unbelievably fun");
  });

  test("a megabyte of one character is encoded in seconds", async () => {
    for (const name of ["tokenizers/smollm2", "tokenizers/tinyllama-chat"]) {
      const tokenizer = await loadTokenizerFolder(DATA + name);
      for (const character of ["a", " ", "你"]) {
        const start = performance.now();
        expect(tokenizer.encode(character.repeat(1 << 20)).length).toBeGreaterThan(1000);
        // A quarter of a second on an idle core.
        expect(performance.now() - start).toBeLessThan(10_000);
      }
    }
  });
});
