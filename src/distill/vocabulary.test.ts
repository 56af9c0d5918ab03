import { expect, test } from "vitest";
import { tokenizerToGguf } from "../tokenizer/convert.ts";
import { loadTokenizerGguf } from "../tokenizer/gguf.ts";
import { loadTokenizerJson } from "../tokenizer/huggingface.ts";
import { tinyMetaspace } from "../tokenizer/tiny.ts";
import { checkSameTokens, vocabularyDigest } from "./vocabulary.ts";

const { tokenizer, config } = tinyMetaspace();
const folder = { name: "folder", tokenizer: loadTokenizerJson(tokenizer, config, "folder") };

test("rows that pad an embedding have a name in GGUF files alone, and make no other vocabulary", () => {
  const metadata = tokenizerToGguf(folder.tokenizer, folder.tokenizer.vocabSize + 7);
  const gguf = { name: "gguf", tokenizer: loadTokenizerGguf({ name: "gguf", metadata }) };
  expect(gguf.tokenizer.vocabSize).toBe(folder.tokenizer.vocabSize + 7);
  checkSameTokens(folder, gguf);
  checkSameTokens(gguf, folder);
  expect(vocabularyDigest(gguf.tokenizer)).toBe(vocabularyDigest(folder.tokenizer));
});

test("a token more is another vocabulary", () => {
  const json = structuredClone(tokenizer) as { model: { vocab: Record<string, number> } };
  json.model.vocab["▁more"] = folder.tokenizer.vocabSize;
  const more = { name: "more", tokenizer: loadTokenizerJson(json, config, "more") };
  expect(() => checkSameTokens(folder, more)).toThrow(
    /is ".?more" of the teacher's and nothing of the student's/,
  );
  expect(vocabularyDigest(more.tokenizer)).not.toBe(vocabularyDigest(folder.tokenizer));
});
