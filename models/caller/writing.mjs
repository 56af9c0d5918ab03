// Sentences that a model writes itself: it learns to turn calls into what a user might say, then does it for other calls.
// Needs a built pith (npm run build).
//
// node models/caller/writing.mjs --snips folder --clinc data_full.json --out folder [--seed 1]
//   train.jsonl: samples for the writer, published sentences the other way round
// node models/caller/writing.mjs --snips folder --clinc data_full.json --out folder --writer folder --reader folder
//   [--sentences 12000] [--seed 1]
//   written.jsonl: samples for a caller, of sentences that the writer wrote for calls with other names. Those are left out
//   that do not say the arguments, that are in the published data, or whose function the reader (a caller) finds to be
//   another one.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../../dist/generate/index.js";
import { ChatTemplate } from "../../dist/tokenizer/index.js";
import { CLINC, clincParts, clincTurn } from "./data/clinc.mjs";
import { answerText, Renderer } from "./data/format.mjs";
import { Chance } from "./data/random.mjs";
import { SNIPS, slotValues, snipsParts, snipsTurn } from "./data/snips.mjs";
import { worldSnips } from "./data/snips-world.mjs";

const { values: args } = parseArgs({
  options: {
    snips: { type: "string", multiple: true },
    clinc: { type: "string" },
    writer: { type: "string" },
    reader: { type: "string" },
    sentences: { type: "string", default: "12000" },
    seed: { type: "string", default: "1" },
    out: { type: "string" },
  },
});
if (!args.snips || !args.clinc || !args.out)
  throw new TypeError("Cannot prepare: wanted --snips, --clinc and a folder to write to, with --out");
if (!args.writer !== !args.reader)
  throw new TypeError("Cannot write sentences: wanted both --writer and --reader, or neither");
const chance = new Chance(Number(args.seed), "writing");
mkdirSync(args.out, { recursive: true });
const save = (name, rows) =>
  writeFileSync(join(args.out, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));

const WRITE = "@write";
const { train: utterances } = snipsParts(args.snips);
const values = slotValues(utterances);
const intents = clincParts(args.clinc).train.filter(([, intent]) => intent !== "oos");
const said = new Set(
  [...utterances.map(snipsTurn), ...intents.map(clincTurn)].map(({ text }) => plain(text)),
);

function plain(text) {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

/** The call in, the sentence out. */
const reversed = ({ text, answer }) => ({
  messages: [
    { role: "system", content: WRITE },
    { role: "user", content: answerText(answer) },
    { role: "assistant", content: text },
  ],
});

if (args.writer) {
  const count = Number(args.sentences);
  const template = readFileSync(join(import.meta.dirname, "chat_template.jinja"), "utf8");
  const renderer = new Renderer(new ChatTemplate(template, "caller"));
  const wanted = [
    ...Array.from({ length: count }, () => [
      SNIPS,
      snipsTurn(worldSnips(chance.pick(utterances), values, chance)),
    ]),
    ...Array.from({ length: count }, () => [CLINC, clincTurn(chance.pick(intents))]),
  ];
  const written = await eachOf(
    args.writer,
    wanted,
    ([, { answer }]) => reversed({ answer }).messages.slice(0, 2),
    {
      temperature: 1,
      topP: 0.95,
    },
  );
  const seen = new Set(said);
  const some = [];
  for (const [i, text] of written.entries()) {
    const [toolset, { answer }] = wanted[i];
    const key = plain(text);
    if (key === "" || seen.has(key) || !saysAll(text, answer)) continue;
    seen.add(key);
    some.push({ toolset, text, answer });
  }
  const read = await eachOf(args.reader, some, ({ toolset, text }) => [
    { role: "system", content: toolset },
    { role: "user", content: text },
  ]);
  const right = some.filter(({ answer }, i) =>
    read[i].startsWith(`[{"name":${JSON.stringify(answer[0].name)},`),
  );
  save(
    "written.jsonl",
    chance.shuffle(right).map(({ toolset, text, answer }) => renderer.sample(toolset, [{ text, answer }])),
  );
  const same = right.filter(
    ({ answer }) => read[some.findIndex((one) => one.answer === answer)] === answerText(answer),
  );
  console.log(
    `wanted ${wanted.length}, of another wording and whole ${some.length}, of the same function to the reader ${right.length}, of the same call ${same.length}`,
  );
} else {
  const rows = utterances.flatMap((one) =>
    [one, ...[1, 2].map(() => worldSnips(one, values, chance))].map(snipsTurn),
  );
  for (const row of intents) rows.push(clincTurn(row), clincTurn(row));
  save("train.jsonl", chance.shuffle(rows).map(reversed));
}

/** Whether every argument stands in the sentence, as often as it is given. */
function saysAll(text, answer) {
  let rest = text;
  const texts = Object.values(answer[0].arguments).flat();
  for (const value of texts.sort((a, b) => b.length - a.length)) {
    const at = rest.indexOf(value);
    if (at < 0) return false;
    rest = `${rest.slice(0, at)}\n${rest.slice(at + value.length)}`;
  }
  return true;
}

/** What a model answers to each item, many at once. */
async function eachOf(path, items, messagesOf, how = { temperature: 0 }) {
  const model = await loadModel(path, { sequences: 32, ctx: 512 });
  const texts = [];
  for (let at = 0; at < items.length; at += 512) {
    const some = items.slice(at, at + 512);
    const answers = await Promise.all(
      some.map((item, i) => model.chat(messagesOf(item), { maxTokens: 96, seed: at + i, ...how })),
    );
    texts.push(...answers.map(({ text, finishReason }) => (finishReason === "stop" ? text : "")));
  }
  await model.close();
  return texts;
}
