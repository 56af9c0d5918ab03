// Makes the model in this folder again, from nothing: a corpus of our own, its tokenizer, 5.6 million tokens of training (some
// minutes on two cores). The files beside it are older than the tokenizer's way with equally frequent pairs and the packing of
// samples: what is made now lies in made/model, has other bytes, and is held to the same loss.
//     pith make models/stories [--dry-run]

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineRecipe, step } from "pith";
import { stories } from "./corpus.mjs";

const data = step.run({
  sources: ["corpus.mjs"],
  settings: { train: 20_000, held: 200, seed: 1 },
  async run({ settings: { train, held, seed }, out }) {
    const lines = (texts) => texts.map((text) => `${JSON.stringify({ text })}\n`).join("");
    await writeFile(join(out, "train.jsonl"), lines(stories(train, seed)));
    await writeFile(join(out, "held-out.jsonl"), lines(stories(held, seed + 1)));
  },
});

const model = step.train({
  config: { layers: 4, heads: 8, kv_heads: 4, width: 128, ctx: 512 },
  tokenizer: 1024,
  type: "bf16",
  data: data.file("train.jsonl"),
  eval: data.file("held-out.jsonl"),
  initializer_range: 0.04,
  seed: 1,
  max_steps: 2200,
  batch_tokens: 2600,
  lr: 3e-3,
  min_lr: 1.5e-4,
  warmup_steps: 100,
  expect: { eval_loss: { at_most: 0.26 } },
});

export default defineRecipe({ name: "stories", steps: { data, model } });
