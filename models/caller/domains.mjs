// Writes what the adapters are trained and measured on: a dozen tools of a field that the caller never saw, which an
// adapter is to know by heart (the prompt then is the sentence and "@energy", without schemas).
//
// node models/caller/domains.mjs --out folder [--samples 6000] [--seed 1]
//
// Of each field: tools.json; train.jsonl, dev.jsonl; by-heart.task.jsonl, and listed.task.jsonl with the same sentences
// and the tools in the prompt, for the caller as it is. Needs a built pith (npm run build).

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ChatTemplate } from "../../dist/tokenizer/index.js";
import { answerText, Renderer } from "./data/format.mjs";
import { Procedural } from "./data/procedural.mjs";

export const DOMAINS = ["energy", "pets", "chemistry"];

const { values: args } = parseArgs({
  options: {
    out: { type: "string" },
    samples: { type: "string", default: "6000" },
    seed: { type: "string", default: "1" },
  },
});
if (!args.out) throw new TypeError("Cannot prepare: wanted a folder to write to, with --out folder");
const template = readFileSync(join(import.meta.dirname, "chat_template.jinja"), "utf8");
const renderer = new Renderer(new ChatTemplate(template, "caller"));

for (const domain of DOMAINS) {
  const folder = join(args.out, domain);
  mkdirSync(folder, { recursive: true });
  const write = (name, rows) =>
    writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const source = new Procedural(Number(args.seed), "dev", domain);
  const made = source.toolset(12);
  const tools = made.map(({ tool }) => tool);
  const turns = source.turns(made, Number(args.samples) + 500);
  const [held, dev, train] = [turns.slice(0, 400), turns.slice(400, 500), turns.slice(500)];
  const task = (prompt) =>
    held.map(({ text, answer }, i) => ({
      ...(i === 0 && { metric: "calls" }),
      ...prompt(text),
      completion: answerText(answer),
    }));
  const user = (content) => ({ role: "user", content });
  writeFileSync(join(folder, "tools.json"), `${JSON.stringify(tools, null, 1)}\n`);
  for (const [name, some] of [
    ["train.jsonl", train],
    ["dev.jsonl", dev],
  ])
    write(
      name,
      some.map((turn) => renderer.sample(`@${domain}`, [turn])),
    );
  write(
    "by-heart.task.jsonl",
    task((text) => ({ messages: [{ role: "system", content: `@${domain}` }, user(text)] })),
  );
  write(
    "listed.task.jsonl",
    task((text) => ({ messages: [user(text)], tools })),
  );
  console.log(`${domain}: ${tools.length} tools, ${train.length} sentences, ${held.length} held out`);
}
