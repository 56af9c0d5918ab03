// What pruning by importance is worth: the small model of this repository pruned to shares of its parameters, by importance
// and by chance, then taught by the whole one for some steps; beside them a new model of the same measures, which is
// taught as long. Losses on held-out stories, in nats a token.
// Run: npm run build && node bench/prune.mjs [steps, default 100] [shares, default 0.75,0.5] [seeds of chance, default 2]

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { distill } from "../dist/distill/index.js";
import { prune } from "../dist/prune/index.js";
import { stories } from "../models/stories/corpus.mjs";

const [steps = "100", shares = "0.75,0.5", seeds = "2"] = process.argv.slice(2);
const BASE = fileURLToPath(new URL("../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-bench-prune-"));
const write = async (name, count, seed) => {
  const file = join(dir, name);
  const lines = stories(count, seed).map((text) => `${JSON.stringify({ text })}\n`);
  await writeFile(file, lines.join(""));
  return file;
};
const [calibration, data, held] = [
  await write("calibration.jsonl", 300, 11),
  await write("data.jsonl", 3000, 13),
  await write("held.jsonl", 100, 12),
];

let made = 0;
async function taught(student, lr) {
  const { first_eval, eval_loss } = await distill(student, {
    teacher: BASE,
    data,
    eval: held,
    max_steps: Number(steps),
    batch_tokens: 2048,
    lr,
    out: join(dir, `taught-${made++}`),
  }).result;
  return [first_eval, eval_loss].map((x) => x.toFixed(4));
}

try {
  console.log(`| model | parameters | calibration loss | held-out before | after ${steps} steps |`);
  console.log("|---|---|---|---|---|");
  for (const share of shares.split(",").map(Number)) {
    const row = async (name, { after, folder }) => {
      const [before, end] = await taught(folder, 1e-3);
      console.log(`| ${name} | ${after.parameters} | ${after.loss.toFixed(4)} | ${before} | ${end} |`);
    };
    const chosen = await prune(BASE, { calibration, to: share, out: join(dir, `importance-${share}`) })
      .result;
    const { layers, ffn, heads, kv_heads, hidden } = chosen.after.sizes;
    console.log(
      `| to ${100 * share} %: layers ${layers}, ffn ${ffn}, heads ${heads} of ${kv_heads}, hidden ${hidden} |`,
    );
    await row("by importance", chosen);
    for (let seed = 0; seed < Number(seeds); seed++) {
      const out = join(dir, `chance-${share}-${seed}`);
      const options = { calibration, ...chosen.after.sizes, importance: "random", seed, out };
      await row(`by chance, seed ${seed}`, await prune(BASE, options).result);
    }
    const [before, end] = await taught({ config: join(chosen.folder, "config.json") }, 3e-3);
    console.log(`| new, random weights | ${chosen.after.parameters} | | ${before} | ${end} |`);
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
