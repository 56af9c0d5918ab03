// SNIPS and CLINC150 as tasks that a model writes answers to, for a teacher that knows them and students that learn from it.
// Command: node bench/distill-data.mjs <folder of shared data> <out> [--clinc 20] [--snips 2000]
// Writes to <out>:
//   teacher.jsonl        all training utterances of both, answered
//   writing.jsonl        texts of four requests each, in the form in which `pith synthesize` asks for a fifth
//   train.jsonl          what students get: --clinc utterances an intent, --snips utterances
//   dev.jsonl            300 of each, for held-out losses; clinc.jsonl, snips.jsonl: tasks of 1500 and 700 to be scored
// No utterance is in two of teacher, dev and tasks. CLINC150's tasks are from its validation part, SNIPS' from its training part.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../dist/train/random.js";

const { values, positionals } = parseArgs({
  options: { clinc: { type: "string", default: "20" }, snips: { type: "string", default: "2000" } },
  allowPositionals: true,
});
const [shared = "", out = ""] = positionals;
mkdirSync(out, { recursive: true });

/** @typedef {{ prompt: string, completion: string, intent: string }} Line */
/** @template T @param {readonly T[]} items @param {number} stream @returns {T[]} */
const shuffled = (items, stream) =>
  [...new Random(1, stream).permutation(items.length)].map((i) => /** @type {T} */ (items[i]));
/** @param {string} text */
const tidy = (text) => text.replace(/\s+/g, " ").trim();

/** A call: the intent and its slots, several values of one slot as a list. @returns {Line[]} */
function snips() {
  const folder = join(shared, "snips");
  /** @type {Map<string, Line>} */
  const lines = new Map();
  for (const file of readdirSync(folder).sort())
    for (const [intent, utterances] of Object.entries(JSON.parse(readFileSync(join(folder, file), "utf8"))))
      for (const { data } of utterances) {
        const text = tidy(data.map((/** @type {{ text: string }} */ part) => part.text).join(""));
        /** @type {Record<string, string | string[]>} */
        const slots = {};
        for (const { entity, text: value } of data) {
          if (entity === undefined) continue;
          const before = slots[entity];
          slots[entity] = before === undefined ? tidy(value) : [before, tidy(value)].flat();
        }
        const answer = JSON.stringify({ name: intent, arguments: slots });
        lines.set(text.toLowerCase(), { prompt: `${text}\ncall:`, completion: ` ${answer}`, intent });
      }
  return shuffled([...lines.values()], 1);
}

/** The intent's name. @param {string} part @returns {Line[]} */
function clinc(part) {
  /** @type {[string, string][]} */
  const pairs = JSON.parse(readFileSync(join(shared, "clinc150/train_val.json"), "utf8"))[part];
  return shuffled(
    pairs.map(([text, intent]) => ({
      prompt: `${text}\nintent:`,
      completion: ` ${intent.replaceAll("_", " ")}.`,
      intent,
    })),
    2,
  );
}

/** @param {string} name @param {readonly object[]} lines */
const write = (name, lines) =>
  writeFileSync(join(out, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
/** @param {Line} line */
const sample = ({ prompt, completion }) => ({ prompt, completion });

const calls = snips();
const [callTask, callDev, callTrain] = [calls.slice(0, 700), calls.slice(700, 1000), calls.slice(1000)];
const [intentTrain, intentVal] = [clinc("train"), clinc("val")];
const teacher = shuffled([...callTrain, ...intentTrain], 3);
write("teacher.jsonl", teacher.map(sample));
const groups = [callTrain, intentTrain].flatMap((lines) =>
  Array.from({ length: lines.length >> 2 }, (_, i) => lines.slice(4 * i, 4 * i + 4)),
);
write(
  "writing.jsonl",
  shuffled(groups, 4).map((four) => ({ text: four.map(({ prompt }) => `Request: ${prompt}`).join("\n\n") })),
);
/** @type {Map<string, number>} */
const taken = new Map();
const few = intentTrain.filter(({ intent }) => {
  taken.set(intent, (taken.get(intent) ?? 0) + 1);
  return (taken.get(intent) ?? 0) <= Number(values.clinc);
});
write("train.jsonl", shuffled([...few, ...callTrain.slice(0, Number(values.snips))], 5).map(sample));
write("dev.jsonl", [...callDev, ...intentVal.slice(1500, 1800)].map(sample));
write("clinc.jsonl", intentVal.slice(0, 1500).map(sample));
write(
  "snips.jsonl",
  callTask.map(({ prompt, completion }) => ({ prompt, completion: JSON.parse(completion) })),
);
