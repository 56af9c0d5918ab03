// Makes the caller: data, tokenizer, and the models. Reads SNIPS, CLINC150 and the Berkeley cases from a folder:
//     CALLER_SOURCES=folder pith make models/caller [step] [--dry-run]
// with snips/ (the published train_*_full.json), clinc150/train_val.json (or data_full.json) and bfcl/ in it.

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { defineRecipe, step } from "pith";

const sources = process.env.CALLER_SOURCES ?? "sources";
const script = promisify(execFile).bind(null, process.execPath);

/** Samples, drawn by a seed. @param only the one file that is wanted of them */
const drawn = (seed, only) =>
  step.run({
    inputs: {
      snips: `${sources}/snips`,
      clinc: `${sources}/clinc150/train_val.json`,
      bfcl: `${sources}/bfcl`,
    },
    sources: ["prepare.mjs", "data", "chat_template.jinja"],
    settings: { procedural: 60_000, seed, ...(only && { only }) },
    async run({ inputs: { snips, clinc, bfcl }, settings: { procedural, seed, only }, out, signal }) {
      const from = ["--snips", snips, "--clinc", clinc, "--bfcl", bfcl];
      const how = ["--procedural", `${procedural}`, "--seed", `${seed}`, "--out", out];
      await script(["prepare.mjs", ...from, ...how, ...(only ? ["--only", only] : [])], { signal });
    },
  });
const data = drawn(1);

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

const further = {
  eval: data.file("dev.jsonl"),
  long: "cut",
  batch_tokens: 8192,
  lr: 1e-3,
  min_lr: 1e-5,
  compute: "bf16",
  eval_steps: 250,
  save_steps: 250,
};
const onward = { ...further, method: "full", epochs: 1, warmup_steps: 50 };

/** More of what it is to know by heart. */
const skilled = step.tune({ ...onward, model: alone, data: data.file("skills.jsonl"), seed: 2 });

/** The end of its training: the same and new tools, in wider variations. */
const drilled = step.tune({ ...onward, model: skilled, data: data.file("drills.jsonl"), seed: 3 });

/** Sentences of our own, what is left out, what no function fits. */
const schooled = step.tune({ ...onward, model: drilled, data: data.file("lessons.jsonl"), seed: 4 });

/** Of twice its width, 16.3 M parameters: it begins as what it was grown from. */
const grown = step.run({
  inputs: { model: schooled },
  sources: ["grow.mjs"],
  settings: { noise: 0.5, seed: 1 },
  async run({ inputs: { model }, settings: { noise, seed }, out, signal }) {
    const how = ["--noise", `${noise}`, "--seed", `${seed}`, "--out", out];
    await script(["grow.mjs", "--model", model, ...how], { signal });
  },
});
const teacher = step.tune({ ...onward, model: grown, data: data.file("teaching.jsonl"), seed: 5, lr: 5e-4 });

/** Taught by it, the same without a teacher, and their mean. */
const last = { ...onward, data: data.file("taught.jsonl"), seed: 6, lr: 8e-4 };
const pupil = step.distill({ ...last, teacher, student: schooled, on_policy: 0 });
const untaught = step.tune({ ...last, model: schooled });
const both = step.average({ models: [pupil, untaught], as: "folder" });

/** Sentences for other calls that a model writes, which the teacher learns on published ones the other way round. */
const writing = (settings, inputs = {}) =>
  step.run({
    inputs: { snips: `${sources}/snips`, clinc: `${sources}/clinc150/train_val.json`, ...inputs },
    sources: ["writing.mjs", "data", "chat_template.jinja"],
    settings: { seed: 1, ...settings },
    async run({ inputs: { snips, clinc, writer, reader }, settings: { seed, sentences }, out, signal }) {
      const how = ["--snips", snips, "--clinc", clinc, "--seed", `${seed}`, "--out", out];
      const more = writer ? ["--writer", writer, "--reader", reader, "--sentences", `${sentences}`] : [];
      await script(["writing.mjs", ...how, ...more], { signal });
    },
  });
const reversed = writing();
const writer = step.tune({
  ...{ model: teacher, method: "full", data: reversed.file("train.jsonl"), eval_share: 0.005, long: "cut" },
  ...{ seed: 1, epochs: 1, batch_tokens: 8192, lr: 5e-4, min_lr: 1e-5, warmup_steps: 50, compute: "bf16" },
});

/**
 * Rounds of runs, each on a draw of its own. A round begins with the mean of the one before, and of what that began with.
 * The first two know the functions of the first training; the others see many more, in which names must be read.
 */
const drawsOf = (name, seeds) => seeds.map((seed) => [`draw${seed}`, drawn(seed, name), name]);
const draws = [
  ...drawsOf("taught.jsonl", [2, 3, 4, 5, 6]),
  ...drawsOf("wider.jsonl", [7, 8]),
  ...drawsOf("last.jsonl", [9, 10]),
];
const samples = draws.map(([, draw, name]) => draw.file(name));
const run = (model, n, more = []) => step.tune({ ...last, model, data: [samples[n], ...more], seed: 7 + n });
const mean = (...models) => step.average({ models, as: "folder" });
const first = [0, 1, 2].map((n) => run(both, n));
const between = mean(...first);
const second = [3, 4].map((n) => run(between, n));
const settled = mean(between, ...second);
const written = writing({ sentences: 12_000 }, { writer, reader: settled });
const sentences = written.file("written.jsonl");
const third = [5, 6].map((n) => run(settled, n, [sentences]));
const broad = mean(settled, ...third);
const fourth = [7, 8].map((n) => run(broad, n, [sentences]));
const runs = [...first, ...second, ...third, ...fourth];
const caller = mean(broad, ...fourth);

/** Learned on answers of the kinds it is for. */
const q4 = step.quantize({
  model: caller,
  to: "q4_k",
  method: "learned",
  calibration: data.file("train.jsonl"),
  samples: 4000,
});

/** Out of the same weights: linears of three values, taught by what they were; of two such runs the mean. */
const threes = [7, 8].map((n) =>
  step.tune({
    ...further,
    model: caller,
    method: "ternary",
    data: samples[n],
    seed: n - 6,
    max_steps: 500,
  }),
);
const three = mean(...threes);
const ternary = step.quantize({ model: three, to: "tq2_0", method: "rtn" });

const sentencesOf = (samples) =>
  step.run({
    sources: ["domains.mjs", "data", "chat_template.jinja"],
    settings: { samples, seed: 1 },
    async run({ settings: { samples, seed }, out, signal }) {
      const how = ["--samples", `${samples}`, "--seed", `${seed}`, "--out", out];
      await script(["domains.mjs", ...how], { signal });
    },
  });
const domains = sentencesOf(6000);
const adapterOf = (domain) =>
  step.tune({
    model: caller,
    method: "lora",
    rank: 8,
    data: domains.file(`${domain}/train.jsonl`),
    eval: domains.file(`${domain}/dev.jsonl`),
    seed: 1,
    epochs: 3,
    batch_tokens: 2048,
    lr: 4e-3,
    compute: "bf16",
    eval_steps: 100,
  });
const [energy, pets, chemistry] = ["energy", "pets", "chemistry"].map(adapterOf);
const fields = { energy, pets, chemistry };
const adapters = Object.fromEntries(
  Object.entries(fields).flatMap(([field, adapter]) => [
    [`adapters/${field}`, adapter],
    [`adapters/${field}/tools.json`, domains.file(`${field}/tools.json`)],
  ]),
);

/**
 * A model of a tenth for one field: the caller with its adapter answers sentences that have no labels, and a new model
 * learns from these answers. Beside it the same model, as long, on the samples that the adapter learned from.
 */
const many = sentencesOf(60_000);
const fused = step.fuse({ model: caller, adapters: [energy], as: "folder" });
const answered = step.synthesize({
  ...{ teacher: fused, seeds: many.file("energy/train.jsonl"), prompts: "seeds", count: 58_000 },
  ...{ temperature: 0, maxTokens: 96, sequences: 32 },
});
const short = {
  ...{ config: "mini.json", tokenizer, type: "bf16", eval: domains.file("energy/dev.jsonl"), long: "cut" },
  ...{ seed: 1, epochs: 81, max_steps: 2900, batch_tokens: 8192, lr: 4e-3, min_lr: 4e-5, warmup_steps: 100 },
  ...{ compute: "bf16", eval_steps: 250 },
};
const mini = step.train({ ...short, data: answered });
const miniAlone = step.train({ ...short, data: domains.file("energy/train.jsonl") });

/** CLINC150's task without the sentences that are also, by chance, among those of our own. */
const others = step.run({
  inputs: {
    task: data.file("clinc150.task.jsonl"),
    ours: [
      ...["lessons", "teaching", "taught"].map((name) => data.file(`${name}.jsonl`)),
      ...samples,
      sentences,
    ],
  },
  async run({ inputs: { task, ours }, out }) {
    const lines = async (file) => (await readFile(file, "utf8")).trim().split("\n");
    const said = new Set();
    for (const file of ours)
      for (const line of await lines(file))
        if (line.includes('"@clinc150"'))
          for (const { content } of JSON.parse(line).messages) said.add(content);
    const all = (await lines(task)).map((line) => JSON.parse(line));
    const left = all.filter(({ messages }) => !said.has(messages.at(-1).content));
    left[0].metric = all[0].metric;
    await writeFile(
      join(out, "clinc150-others.task.jsonl"),
      left.map((line) => JSON.stringify(line)).join("\n"),
    );
    return { left: left.length, said: all.length - left.length };
  },
});

const KNOWN = ["snips", "clinc150", "clinc150-others"];
const NEW = ["procedural-unseen", "lessons-unseen"];
const BERKELEY = ["bfcl-simple", "bfcl-multiple", "bfcl-parallel"];
const measures = {
  caller: [caller, [...KNOWN, ...NEW, ...BERKELEY]],
  q4: [q4, [...KNOWN, ...NEW, ...BERKELEY]],
  ternary: [ternary, [...KNOWN, ...NEW]],
  teacher: [teacher, [...KNOWN, ...NEW, ...BERKELEY]],
  pupil: [pupil, [...KNOWN, ...NEW]],
  untaught: [untaught, [...KNOWN, ...NEW]],
  both: [both, [...KNOWN, ...NEW]],
  between: [between, [...KNOWN, ...NEW]],
  settled: [settled, [...KNOWN, ...NEW]],
  broad: [broad, [...KNOWN, ...NEW]],
  ...Object.fromEntries(runs.map((run, i) => [`run${i + 1}`, [run, [...KNOWN, ...NEW]]])),
  schooled: [schooled, [...KNOWN, ...NEW]],
  drilled: [drilled, [...KNOWN, ...NEW]],
  alone: [alone, [...KNOWN, "procedural-unseen"]],
  ...Object.fromEntries(
    Object.entries({ fused, mini, miniAlone }).map(([name, model]) => [
      name,
      [model, ["snips", "clinc150", "procedural-unseen"]],
    ]),
  ),
};
const least = {
  snips: { function_right: { at_least: 0.985 }, argument_f1: { at_least: 0.93 } },
  clinc150: { function_right: { at_least: 0.935 } },
};
const measured = Object.entries(measures).flatMap(([name, [model, tasks]]) =>
  tasks.map((task) => [
    `${name}-${task}`,
    step.evaluate({
      model,
      task: (task === "clinc150-others" ? others : data).file(`${task}.task.jsonl`),
      long: "wrong",
      ...(name === "q4" && least[task] && { expect: least[task] }),
    }),
  ]),
);
const learned = Object.entries(fields).flatMap(([domain, adapter]) => [
  [
    `before-${domain}`,
    step.evaluate({ model: caller, task: domains.file(`${domain}/listed.task.jsonl`), long: "wrong" }),
  ],
  [
    `after-${domain}`,
    step.evaluate({
      model: caller,
      adapters: [adapter],
      task: domains.file(`${domain}/by-heart.task.jsonl`),
    }),
  ],
]);
for (const [name, model] of Object.entries({ mini, miniAlone }))
  learned.push([
    `after-${name}`,
    step.evaluate({ model, task: domains.file("energy/by-heart.task.jsonl"), long: "wrong" }),
  ]);

export default defineRecipe({
  name: "caller",
  steps: {
    data,
    tokenizer,
    alone,
    skilled,
    drilled,
    schooled,
    grown,
    teacher,
    pupil,
    untaught,
    both,
    ...Object.fromEntries(draws),
    ...Object.fromEntries(runs.map((run, i) => [`run${i + 1}`, run])),
    between,
    settled,
    reversed,
    writer,
    written,
    broad,
    caller,
    q4,
    ...Object.fromEntries(threes.map((one, i) => [`three${i + 1}`, one])),
    three,
    ternary,
    others,
    domains,
    energy,
    pets,
    chemistry,
    many,
    fused,
    answered,
    mini,
    miniAlone,
    ...Object.fromEntries([...measured, ...learned]),
  },
  outputs: { ".": caller, "caller-q4.gguf": q4, "caller-ternary.gguf": ternary, ...adapters },
});
