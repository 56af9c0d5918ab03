// Makes the caller's tokenizer of the text that prepare.mjs writes, with its chat template: a folder for
// `pith train --tokenizer folder`. Needs a built pith (npm run build).
//
// node models/caller/tokenizer.mjs --text tokenizer.txt --out folder [--vocab 4096] [--samples train.jsonl]
//
// Words are merged without the space before them, but for the most frequent ones, which take it last: an argument that is copied then has the same
// tokens in the sentence and in the answer, wherever it stands. What every answer has around its names is one token each.

import { createReadStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import {
  ChatTemplate,
  loadTokenizerJson,
  tokenizerConfig,
  trainTokenizer,
} from "../../dist/tokenizer/index.js";

const SPECIAL = ["<|end|>", "<|tools|>", "<|user|>", "<|answer|>"];
/** Parts of answers that are one token, longest first. */
const PARTS = [
  '[{"name":"',
  '","arguments":{"',
  '","arguments":{}}',
  '"}},{"name":"',
  '}},{"name":"',
  '{"name":"',
  '","missing":["',
  '"],"question":"Which ',
  '?"}',
  '"}}]',
  "}}]",
];
/** Frequent words that are one token with what stands before them: a space in text, "_" in names. */
const COMMON = [
  ["\u0120", " ", 250],
  ["_", "_", 150],
];
const COMMON_COUNT = COMMON.reduce((sum, [, , n]) => sum + n, 0);

const { values: args } = parseArgs({
  options: {
    text: { type: "string" },
    out: { type: "string" },
    vocab: { type: "string", default: "4096" },
    samples: { type: "string" },
  },
});
if (!args.text || !args.out)
  throw new TypeError("Cannot make a tokenizer: wanted --text tokenizer.txt --out folder");

const text = readFileSync(args.text, "utf8");
const marks = new RegExp(
  [...SPECIAL, ...PARTS].map((part) => part.replace(/[[\]{}|?.\\]/g, "\\$&")).join("|"),
  "g",
);
const bare = text.replace(marks, "\n");

/** The words that most often stand behind `before`. */
function frequent(before) {
  const counts = new Map();
  for (const [, word] of bare.matchAll(new RegExp(`${before}(\\p{Ll}+)(?![\\p{L}\\p{N}])`, "gu")))
    counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([word]) => word);
}

/** What may become one token. */
function* pieces() {
  for (const [piece] of bare.matchAll(/:(?:int|num|bool)\b|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu)) yield piece;
}

const vocab = Number(args.vocab);
const json = await trainTokenizer(pieces(), {
  vocabSize: vocab - PARTS.length - COMMON_COUNT,
  special: SPECIAL,
  split: "qwen2",
});
const known = json.model.vocab;
for (const [symbol, before, n] of COMMON)
  for (const word of frequent(before)
    .filter((word) => word in known)
    .slice(0, n)) {
    json.model.merges.push([symbol, word]);
    known[symbol + word] = Object.keys(known).length;
  }
const size = Object.keys(known).length;
for (const [i, content] of PARTS.entries())
  json.added_tokens.push({
    id: size + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: false,
  });
const chatTemplate = readFileSync(join(import.meta.dirname, "chat_template.jinja"), "utf8");
const config = tokenizerConfig({ end: SPECIAL[0], chatTemplate });
mkdirSync(args.out, { recursive: true });
writeFileSync(join(args.out, "tokenizer.json"), JSON.stringify(json));
writeFileSync(join(args.out, "tokenizer_config.json"), `${JSON.stringify(config, null, 1)}\n`);
console.log(`${size + PARTS.length} tokens`);

if (args.samples) {
  const tokenizer = loadTokenizerJson(json, config, "caller");
  const template = new ChatTemplate(chatTemplate, "caller");
  const special = tokenizer.specialTokens.keys();
  const [lengths, answers] = [[], []];
  let [sentences, n] = [0, 0];
  for await (const line of createInterface({ input: createReadStream(args.samples) })) {
    const { messages } = JSON.parse(line);
    lengths.push(tokenizer.encodeSegments(template.segments({ messages }, special)).length);
    for (const { role, content } of messages)
      if (role === "assistant") answers.push(tokenizer.encode(content, { addSpecial: false }).length + 1);
      else if (role === "user") sentences += tokenizer.encode(content, { addSpecial: false }).length;
    if (++n === 20_000) break;
  }
  const mean = (list) => (list.reduce((a, b) => a + b, 0) / list.length).toFixed(1);
  lengths.sort((a, b) => a - b);
  console.log(
    `tokens of ${n} samples: mean ${mean(lengths)}, median ${lengths[n >> 1]}, 99 % ${lengths[Math.floor(n * 0.99)]}, longest ${lengths.at(-1)}`,
  );
  console.log(
    `tokens of an answer ${mean(answers)}, of a sentence ${(sentences / answers.length).toFixed(1)}`,
  );
}
