import { expect, test } from "vitest";
import { loadTokenizerJson } from "../../tokenizer/index.ts";
import { tinyByteLevel } from "../../tokenizer/tiny.ts";
import { previewSample } from "./preview.ts";

const { tokenizer: json, config } = tinyByteLevel();
const tokenizer = loadTokenizerJson(json, config, "tiny");

function sample(...parts: string[]) {
  const encoded = tokenizer.encodeParts(parts.map((text) => [{ text, trusted: true }]));
  const ids = Int32Array.from(encoded.flat());
  const learned = Uint8Array.from(encoded.flatMap((part, i) => part.map(() => i % 2)));
  return { ids, learned, source: { file: "a\u001b.jsonl", line: 3 } };
}

test("learned text in brackets, or in colour; nothing can steer the terminal", () => {
  const one = sample("a\u001b[31m\n", "é\r\nb<|im_end|>", "\nc");
  expect(previewSample(one, tokenizer)).toEqual([
    "a\\x1b.jsonl, line 3: 15 tokens, 6 of them learned",
    "a\\x1b[31m",
    "[é\\r\\n]",
    "[b<|im_end|>]",
    "c",
  ]);
  expect(previewSample(one, tokenizer, { color: true }).slice(1)).toEqual([
    "\u001b[2ma\\x1b[31m\u001b[0m",
    "\u001b[32mé\\r\\n\u001b[0m",
    "\u001b[32mb<|im_end|>\u001b[0m",
    "\u001b[2mc\u001b[0m",
  ]);
});

test("of a long sample the first and last tokens", () => {
  const lines = previewSample(sample("x".repeat(50), "y".repeat(50)), tokenizer, { tokens: 10 });
  expect(lines.slice(1)).toEqual(["xxxxx", "... 90 tokens ...", "[yyyyy]"]);
});
