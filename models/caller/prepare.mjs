// Writes what the caller is trained and measured on. Needs a built pith (npm run build).
//
// node models/caller/prepare.mjs --out folder [--snips folder|files] [--clinc data_full.json] [--bfcl folder]
//   [--procedural 60000] [--seed 1] [--only taught.jsonl] [--snips-test folder|files] [--clinc-test data_full.json]
//
// train.jsonl, skills.jsonl, drills.jsonl, dev.jsonl: samples of conversations (messages); only answers are learned. In
// skills.jsonl, for later training, what is known by heart has more room; drills.jsonl varies it more widely. lessons.jsonl,
// for its end, brings sentences of our own (data/phrases), what is left out and what no function fits; teaching.jsonl and
// taught.jsonl are more of that, with names that are commonly known (data/known), for a teacher and its student; wider.jsonl
// and last.jsonl have more names (data/world) and functions about many more things (data/more), in different shares.
// tokenizer.txt: what the vocabulary is made of. *.task.jsonl: tasks for `pith evaluate --task`. SNIPS: 700 utterances of the training files are held out; they
// are the task, unless --snips-test names the test files (validate_*.json). CLINC150: the task is the part "test" of the
// file, or of --clinc-test, else "val". With --only that file alone is written.

import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ChatTemplate } from "../../dist/tokenizer/index.js";
import { readBfcl } from "./data/bfcl.mjs";
import {
  CLINC,
  clincByIntent,
  clincParts,
  clincPhrases,
  clincTools,
  clincTurn,
  mixClinc,
  varyClinc,
} from "./data/clinc.mjs";
import { answerText, Renderer } from "./data/format.mjs";
import { Lessons } from "./data/lessons.mjs";
import { farQuestions, Procedural } from "./data/procedural.mjs";
import { Chance } from "./data/random.mjs";
import { SNIPS, slotValues, snipsParts, snipsTools, snipsTurn, varySnips } from "./data/snips.mjs";
import { knownSnips, phraseSnips } from "./data/snips-known.mjs";
import { worldPhrase, worldSnips } from "./data/snips-world.mjs";

const { values: args } = parseArgs({
  options: {
    snips: { type: "string", multiple: true },
    "snips-test": { type: "string", multiple: true },
    clinc: { type: "string" },
    "clinc-test": { type: "string" },
    bfcl: { type: "string" },
    procedural: { type: "string", default: "60000" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    out: { type: "string" },
  },
});
if (!args.out) throw new TypeError("Cannot prepare: wanted a folder to write to, with --out folder");
const seed = Number(args.seed);
const count = Number(args.procedural);
const root = new Chance(seed);
mkdirSync(args.out, { recursive: true });
const template = new ChatTemplate(
  readFileSync(join(import.meta.dirname, "chat_template.jinja"), "utf8"),
  "caller",
);
const renderer = new Renderer(template);
const wanted = (name) => args.only === undefined || args.only === name;
const jsonl = (name, rows) =>
  wanted(name) && writeFileSync(join(args.out, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));

/** Train and dev samples, as text of JSON; figures by name. */
const train = [];
const skills = [];
const drills = [];
const dev = [];
/** Shares of the mixture of lessons. */
const further = {
  lessons: { to: [], share: 1, known: false },
  teaching: { to: [], share: 0.6, known: true },
  taught: { to: [], share: 0.6, known: true },
  wider: { to: [], share: 0.35, known: true, world: true, more: { lessons: 24_000, procedural: 15_000 } },
  last: { to: [], share: 0.6, known: true, world: true, more: { lessons: 16_000, procedural: 10_000 } },
};
const figures = new Map();
const note = (name, n = 1) => figures.set(name, (figures.get(name) ?? 0) + n);
function add(to, name, toolset, turns) {
  if (turns.length === 0) return;
  to.push(JSON.stringify(renderer.sample(toolset, turns)));
  note(`${name} samples`);
  note(`${name} sentences`, turns.length);
}
const taskLine = (toolset, { text, answer }, first) => ({
  ...(first && { metric: "calls" }),
  messages: [
    ...(typeof toolset === "string" ? [{ role: "system", content: toolset }] : []),
    { role: "user", content: text },
  ],
  ...(typeof toolset !== "string" && { tools: toolset }),
  completion: answerText(answer),
});

/** Turns with some of a set of functions listed, theirs among them: 3 to 8, a few sentences in each sample. */
function withListed(name, turns, tools, chance, size) {
  const shuffled = chance.shuffle(turns);
  for (let at = 0; at < shuffled.length; ) {
    const some = shuffled.slice(at, at + chance.int(...size));
    at += some.length;
    const wanted = new Set(some.flatMap(({ answer }) => answer.map((call) => call.name)));
    const others = chance.shuffle([...tools.keys()].filter((key) => !wanted.has(key)));
    const extra = others.slice(0, Math.max(1, chance.int(3, Math.min(8, tools.size - 1)) - wanted.size));
    // Now and then the right function is not there.
    if (wanted.size > 1 && chance.hit(0.3)) wanted.delete([...wanted][0]);
    const listed = chance.shuffle([...wanted, ...extra]);
    const answered = some.map(({ text, answer }) => ({
      text,
      answer: answer.filter((call) => listed.includes(call.name)),
    }));
    add(
      train,
      name,
      listed.map((key) => tools.get(key)),
      answered,
    );
  }
}

if (args.snips) {
  const chance = root.fork("snips");
  const { train: kept, dev: held, test } = snipsParts(args.snips, args["snips-test"]);
  const values = slotValues(kept);
  const tools = new Map(snipsTools.map((tool) => [tool.name, tool]));
  for (const utterance of kept) {
    add(train, "snips", SNIPS, [snipsTurn(utterance)]);
    for (let i = 0; i < 5; i++)
      add(train, "snips varied", SNIPS, [snipsTurn(varySnips(utterance, values, chance))]);
  }
  withListed(
    "snips listed",
    chance.some(kept, 4000).map((one) => snipsTurn(varySnips(one, values, chance))),
    tools,
    chance,
    [2, 5],
  );
  for (const utterance of chance.some(held, 350)) add(dev, "dev snips", SNIPS, [snipsTurn(utterance)]);
  const more = root.fork("snips skills");
  for (const utterance of kept)
    for (let i = 0; i < 8; i++)
      add(skills, "skills snips", SNIPS, [snipsTurn(i < 2 ? utterance : varySnips(utterance, values, more))]);
  const wide = root.fork("snips drills");
  for (const utterance of kept)
    for (let i = 0; i < 9; i++) {
      const varied = i === 0 ? utterance : varySnips(utterance, values, wide, true);
      add(drills, "drills snips", SNIPS, [snipsTurn(varied)]);
    }
  for (const [name, { to, share, known, world }] of Object.entries(further)) {
    const own = root.fork(`snips ${name}`);
    const exchange = world ? worldSnips : knownSnips;
    const phrase = world ? worldPhrase : phraseSnips;
    for (const utterance of kept)
      for (let i = 0; i < (known ? 8 : 4); i++) {
        if (!own.hit(share)) continue;
        const varied = () =>
          known && i > 1 ? exchange(utterance, values, own) : varySnips(utterance, values, own, true);
        add(to, `${name} snips`, SNIPS, [snipsTurn(i === 0 ? utterance : varied())]);
      }
    for (let i = 0; known && i < 14_000 * share; i++)
      add(to, `${name} snips phrases`, SNIPS, [snipsTurn(phrase(values, own))]);
  }
  jsonl(
    "snips.task.jsonl",
    test.map((one, i) => taskLine(SNIPS, snipsTurn(one), i === 0)),
  );
}

if (args.clinc) {
  const chance = root.fork("clinc");
  const parts = clincParts(args.clinc, args["clinc-test"]);
  const tools = clincTools(parts.train);
  for (const row of parts.train) {
    const copies = row[1] === "oos" ? 12 : 3;
    add(train, "clinc150", CLINC, [clincTurn(row)]);
    for (let i = 0; i < copies; i++)
      add(train, "clinc150 varied", CLINC, [clincTurn(varyClinc(row, chance))]);
  }
  for (const text of farQuestions(chance, 1500))
    add(train, "clinc150 out of scope", CLINC, [{ text, answer: [] }]);
  const inScope = parts.train.filter(([, intent]) => intent !== "oos");
  withListed(
    "clinc150 listed",
    chance.some(inScope, 8000).map((row) => clincTurn(varyClinc(row, chance))),
    tools,
    chance,
    [2, 5],
  );
  for (const row of chance.some(parts.val, 350)) add(dev, "dev clinc150", CLINC, [clincTurn(row)]);
  const more = root.fork("clinc150 skills");
  for (const row of parts.train)
    for (let i = 0; i < (row[1] === "oos" ? 20 : 6); i++)
      add(skills, "skills clinc150", CLINC, [clincTurn(i < 2 ? row : varyClinc(row, more))]);
  const wide = root.fork("clinc150 drills");
  const byIntent = clincByIntent(parts.train);
  for (const row of parts.train)
    for (let i = 0; i < (row[1] === "oos" ? 20 : 10); i++)
      add(drills, "drills clinc150", CLINC, [clincTurn(i < 2 ? row : mixClinc(row, byIntent, wide))]);
  for (const text of farQuestions(wide, 1500))
    add(drills, "drills clinc150 out of scope", CLINC, [{ text, answer: [] }]);
  for (const [name, { to, share }] of Object.entries(further)) {
    const own = root.fork(`clinc150 ${name}`);
    const learn = (what, row) => add(to, `${name} ${what}`, CLINC, [clincTurn(row)]);
    for (const row of parts.train)
      for (let i = 0; i < 4; i++)
        if (own.hit(share)) learn("clinc150", i < 1 ? row : mixClinc(row, byIntent, own));
    for (const row of clincPhrases(500 * share, 12_000 * share, own))
      learn("clinc150 phrases", own.hit(0.3) ? varyClinc(row, own) : row);
  }
  jsonl(
    "clinc150.task.jsonl",
    parts.test.map((row, i) => taskLine(CLINC, clincTurn(row), i === 0)),
  );
}

const kinds = new Map();
const schemas = new Set();
if (count > 0) {
  const source = new Procedural(seed, "train");
  for (let i = 0; i < count; i++) {
    const { tools, turns } = source.sample();
    for (const tool of tools) schemas.add(JSON.stringify(tool));
    for (const { kind } of turns) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    add(train, "procedural", tools, turns);
  }
  for (let i = 0; i < count / 5; i++) {
    const { tools, turns } = source.sample();
    add(skills, "skills procedural", tools, turns);
  }
  for (let i = 0; i < count / 2; i++) {
    const { tools, turns } = source.sample();
    add(drills, "drills procedural", tools, turns);
  }
  for (const [name, { to, share, more }] of Object.entries(further)) {
    if (more && !wanted(`${name}.jsonl`)) continue;
    const own = root.fork(name).int(1, 1e6);
    const lessons = new Lessons(own, "train", undefined, more !== undefined);
    const calls = more ? new Procedural(own, "train", undefined, "procedural", true) : source;
    for (let i = 0; i < (more?.lessons ?? (count / 2) * share); i++) {
      const { tools, turns } = lessons.sample();
      add(to, `${name} lessons`, tools, turns);
    }
    for (let i = 0; i < (more?.procedural ?? (count / 8) * share); i++) {
      const { tools, turns } = calls.sample();
      add(to, `${name} procedural`, tools, turns);
    }
  }
  const unseen = new Procedural(seed, "dev");
  for (let i = 0; i < 150; i++) {
    const { tools, turns } = unseen.sample(3);
    add(dev, "dev procedural", tools, turns);
  }
  const unseenTask = (name, from, sizes) => {
    const task = [];
    while (task.length < 600) {
      const { tools, turns } = from.sample(1, root.pick(sizes));
      if (turns.length > 0) task.push(taskLine(tools, turns[0], task.length === 0));
    }
    jsonl(`${name}-unseen.task.jsonl`, task);
  };
  unseenTask("procedural", unseen, [1, 2, 3, 3, 4, 5]);
  unseenTask("lessons", new Lessons(seed, "dev"), [1, 1, 2, 2, 3]);
}

if (args.bfcl)
  for (const category of ["simple", "multiple", "parallel"])
    jsonl(
      `bfcl-${category}.task.jsonl`,
      readBfcl(args.bfcl, category).map((row, i) => ({ ...(i === 0 && { metric: "calls" }), ...row })),
    );

const write = (name, samples) => {
  if (!wanted(name)) return;
  const file = createWriteStream(join(args.out, name));
  for (const sample of samples) file.write(`${sample}\n`);
  file.end();
};
const shuffled = root.fork("order").shuffle(train);
write("train.jsonl", shuffled);
write("skills.jsonl", root.fork("order of skills").shuffle(skills));
write("drills.jsonl", root.fork("order of drills").shuffle(drills));
for (const [name, { to }] of Object.entries(further))
  write(`${name}.jsonl`, root.fork(`order of ${name}`).shuffle(to));
write("dev.jsonl", dev);
const some = shuffled
  .slice(0, 40_000)
  .map((sample) => template.render({ messages: JSON.parse(sample).messages }));
const characters = some.reduce((sum, rendered) => sum + rendered.length, 0);
if (wanted("tokenizer.txt"))
  writeFileSync(join(args.out, "tokenizer.txt"), some.map((rendered) => `${rendered}\n`).join(""));

for (const [name, n] of figures) console.log(`${name.padEnd(28)} ${n}`);
console.log(`${"schemas, all different".padEnd(28)} ${schemas.size}`);
for (const [kind, n] of kinds) console.log(`${`  ${kind}`.padEnd(28)} ${n}`);
console.log(`${"characters a sample".padEnd(28)} ${Math.round(characters / some.length)}`);
