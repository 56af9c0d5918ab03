// What a call costs: first token, whole answer and time a token, medians over sentences about three tools whose schemas
// have been computed before. node-llama-cpp beside it on the same GGUF files: it gets the same ids, keeps the same tools,
// and makes as many tokens, without a schema to follow. In turns, a process each.
//
//   npx tsc -p tsconfig.build.json
//   node bench/call.mjs [model ...] [--sentences 200] [--threads 2]
//
// Default models: those of models/caller.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { tried } from "../dist/demo/work.js";
import { loadModel } from "../dist/index.js";
import { ChatTemplate } from "../dist/tokenizer/index.js";
import { Procedural } from "../models/caller/data/procedural.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sentences: { type: "string", default: "200" },
    threads: { type: "string", default: "2" },
  },
});
const known = ["", "/caller-q4.gguf", "/caller-ternary.gguf"].map((name) => `models/caller${name}`);
const models = positionals.length > 0 ? positionals : known.filter((path) => existsSync(path));
const threads = Number(values.threads);

const source = new Procedural(11, "dev");
const made = source.toolset(3);
const tools = made.map(({ tool }) => tool);
const sentences = source.turns(made, Number(values.sentences)).map(({ text }) => text);

/** @param {number[]} list @param {number} share */
const at = (list, share) => [...list].sort((a, b) => a - b)[Math.floor(share * (list.length - 1))] ?? 0;
/** @param {string} name @param {{ first: number, total: number, tokens: number }[]} times */
function report(name, times) {
  const first = times.map((time) => time.first);
  const total = times.map((time) => time.total);
  const token = times.filter((t) => t.tokens > 1).map((t) => (t.total - t.first) / (t.tokens - 1));
  const tokens = times.reduce((sum, time) => sum + time.tokens, 0) / times.length;
  const ms = (/** @type {number} */ x) => x.toFixed(2).padStart(9);
  const figures = [at(first, 0.5), at(first, 0.99), at(total, 0.5), at(total, 0.99), at(token, 0.5)];
  console.log(`${name.padEnd(48)}${figures.map(ms).join("")}${tokens.toFixed(1).padStart(8)}`);
}

console.log(`${tools.map(({ name }) => name).join(", ")}; ${sentences.length} sentences, ${threads} threads`);
console.log(
  `${"ms".padEnd(48)}${["first", "p99", "whole", "p99", "a token", "tokens"].map((x) => x.padStart(x === "tokens" ? 8 : 9)).join("")}`,
);
for (const path of models) {
  const model = await loadModel(path, { threads, sequences: 1 });
  const times = [];
  const asked = [];
  let endless = 0;
  // The first sentence computes the tools and compiles the schema.
  for (const [i, prompt] of [sentences[0] ?? "", ...sentences].entries()) {
    const answer = await tried(model, { tools, prompt });
    if (answer instanceof RangeError) {
      endless++;
      continue;
    }
    const { generation } = answer;
    const { promptTokens, completionTokens: tokens } = generation.usage;
    if (i === 0) continue;
    times.push({ first: generation.stats.firstTokenMs, total: generation.stats.totalMs, tokens });
    const ids = promptIds(model, prompt);
    if (ids.length !== promptTokens)
      throw new Error(
        `Cannot compare: the prompt has ${promptTokens} tokens in one engine and ${ids.length} in the other`,
      );
    asked.push({ ids, tokens });
  }
  report(`${path}: pith, ${(100 * share(times)).toFixed(0)} % of the time in tokens`, times);
  if (endless > 0) console.log(`  ${endless} sentences left out, whose answers found no end`);
  await model.close();
  if (!path.endsWith(".gguf")) continue;
  const peer = await ask({ file: path, threads, asked });
  if (peer) report(`${path}: node-llama-cpp`, peer);
}

/** @param {{ first: number, total: number }[]} times */
function share(times) {
  const total = times.reduce((sum, time) => sum + time.total, 0);
  return times.reduce((sum, time) => sum + time.total - time.first, 0) / total;
}

/** @param {import("../dist/index.js").Model} model @param {string} prompt */
function promptIds({ tokenizer, name }, prompt) {
  const template = new ChatTemplate(tokenizer.chatTemplate ?? "", name);
  const messages = [{ role: "user", content: prompt }];
  const input = /** @type {any} */ ({ messages, tools, add_generation_prompt: true });
  return tokenizer.encodeSegments(template.segments(input, tokenizer.specialTokens.keys()));
}

/** Another engine's times, or none where it is not installed. @param {object} question @returns {Promise<any>} */
async function ask(question) {
  const program = fileURLToPath(new URL("peers/call.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify(question));
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line);
  return undefined;
}
