// Makes the caller: data, tokenizer, and the models. Reads SNIPS, CLINC150 and the Berkeley cases from a folder:
//     CALLER_SOURCES=folder pith make models/caller [step] [--dry-run]
// with snips/ (the published train_*_full.json), clinc150/train_val.json (or data_full.json) and bfcl/ in it.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { defineRecipe, step } from "pith";

const sources = process.env.CALLER_SOURCES ?? "sources";
const script = promisify(execFile).bind(null, process.execPath);

const data = step.run({
  inputs: {
    snips: `${sources}/snips`,
    clinc: `${sources}/clinc150/train_val.json`,
    bfcl: `${sources}/bfcl`,
  },
  sources: ["prepare.mjs", "data", "chat_template.jinja"],
  settings: { procedural: 60_000, seed: 1 },
  async run({ inputs: { snips, clinc, bfcl }, settings: { procedural, seed }, out, signal }) {
    const from = ["--snips", snips, "--clinc", clinc, "--bfcl", bfcl];
    const how = ["--procedural", `${procedural}`, "--seed", `${seed}`, "--out", out];
    await script(["prepare.mjs", ...from, ...how], { signal });
  },
});

const tokenizer = step.run({
  inputs: { text: data.file("tokenizer.txt"), samples: data.file("train.jsonl") },
  sources: ["tokenizer.mjs", "chat_template.jinja"],
  settings: { vocab: 4096 },
  async run({ inputs: { text, samples }, settings: { vocab }, out, signal }) {
    const how = ["--vocab", `${vocab}`, "--out", out];
    await script(["tokenizer.mjs", "--text", text, "--samples", samples, ...how], { signal });
  },
});

/** The student without a teacher. */
const alone = step.train({
  config: "student.json",
  tokenizer,
  type: "bf16",
  data: data.file("train.jsonl"),
  eval: data.file("dev.jsonl"),
  long: "cut",
  seed: 1,
  epochs: 1.6,
  batch_tokens: 8192,
  lr: 2e-3,
  min_lr: 1e-5,
  warmup_steps: 200,
  compute: "bf16",
  eval_steps: 500,
  save_steps: 250,
});

export default defineRecipe({ name: "caller", steps: { data, tokenizer, alone } });
