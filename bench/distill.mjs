// What distilling costs: random weights, a teacher in the shape of a known model and a student of about a quarter of it.
// Prints, best of some: the teacher's forward pass (its logits in the same chunks, the loss of them, nothing stored), a
// training step of the student, a distillation step (the teacher's hidden states, then the student's step with both heads
// and the losses between them), their ratio (wanted: at most 1.3) and peak memory.
// Command: node bench/distill.mjs [--shape 135m] [--weights f16|q8_0|q4_0] [--loss forward_kl|reverse_kl|jsd|skew_kl|
//   skew_reverse_kl] [--temperature 1] [--named k] [--stored] [--tokens 256] [--sequences 4] [--steps 3] [--threads 2]
//   [--kernels avx512] [--backend native|wasm] [--compute f32|bf16] [--cpu] [--profile]
// --stored: the teacher's forward pass stores its logits, as a program that scores does; quantized heads then take int8
// activations, which is the fastest there is. --named k: besides, the step from k tokens of each row and a tail, as from a
// cache. --cpu: processor time in place of wall time, with --threads 1 on a machine that does other things too. --profile:
// the slowest ops of the distillation step.
// Needs dist/ (npm run build).
import { parseArgs } from "node:util";
import { createBackend } from "../dist/engine/backends/index.js";
import { fuse } from "../dist/engine/fuse.js";
import { lowered } from "../dist/engine/fuse-gradients.js";
import { fuseLosses, gradients } from "../dist/engine/gradients.js";
import * as nn from "../dist/engine/nn.js";
import { record } from "../dist/engine/program.js";
import { quantize } from "../dist/engine/weights.js";
import { declareBatch, definitionOf, forward, modelTables, plainModule } from "../dist/models/index.js";
import { configOf, roughlyNormal, shapes } from "./models.mjs";

const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "135m" },
    weights: { type: "string", default: "f16" },
    loss: { type: "string", default: "forward_kl" },
    temperature: { type: "string", default: "1" },
    named: { type: "string" },
    stored: { type: "boolean", default: false },
    tokens: { type: "string", default: "256" },
    sequences: { type: "string", default: "4" },
    steps: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    kernels: { type: "string" },
    backend: { type: "string", default: "native" },
    compute: { type: "string", default: "f32" },
    cpu: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
  },
});
const [tokens, sequences, steps, threads] = ["tokens", "sequences", "steps", "threads"].map((name) =>
  Number(options[/** @type {"steps"} */ (name)]),
);
const T = tokens * sequences;
const dims = { T, S: sequences, R: T };
const K = Number(options.named ?? 0);
const backend = await createBackend({
  backend: /** @type {"native" | "wasm"} */ (options.backend),
  threads,
  ...(options.kernels && { kernels: options.kernels }),
});

/** Milliseconds. */
function now() {
  if (!options.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** @param {any} s @param {string} prefix */
async function model(s, prefix) {
  const config = configOf(s);
  const definition = definitionOf(s.arch, "bench");
  const storages = new Map();
  let [seed, count] = [0, 0];
  for (const [name, shape] of definition.params(config)) {
    const n = shape.reduce((a, b) => a * b, 1);
    count += n;
    const std = name.includes("embed") ? 0.02 : 0.6 / Math.sqrt(shape[1] ?? 1);
    const values = shape.length > 1 ? roughlyNormal(n, std, ++seed) : new Float32Array(n).fill(1);
    if (prefix === "student" || shape.length === 1) {
      storages.set(name, backend.dense("f32", shape, values));
      continue;
    }
    const type = /** @type {"f16"} */ (options.weights);
    const bytes = quantize(type, values);
    const read = async (/** @type {number} */ from, /** @type {number} */ length) =>
      bytes.subarray(from, from + length);
    const source = { name, source: { name, read }, offset: 0, bytes: bytes.length, type, shape };
    storages.set(name, await backend.weight(source));
  }
  for (const [name, { shape, data }] of modelTables(config, tokens))
    storages.set(name, backend.dense("f32", shape, data));
  return { config, definition, storages, count };
}

const big = shapes[options.shape];
const small = { ...big, hidden: 384, ffn: 1024, layers: 8, heads: 6, kv_heads: 2, head_dim: 64 };
const teacher = await model(big, "teacher");
const student = await model(small, "student");

/** The product before the logits: what goes in, and the weight's name. @param {any} logits */
function headOf(logits) {
  const node = logits.recorder.nodes.find((/** @type {any} */ n) => n.outputs[0] === logits);
  return { hidden: node.inputs[0], weight: node.inputs[1] };
}
const low = (/** @type {any} */ program) => (options.compute === "bf16" ? lowered(program) : program);

/** @param {any} program @param {Map<string, any>} storages */
function compile(program, storages) {
  const executable = backend.compile(program, dims);
  for (const t of [...program.params, ...program.states]) {
    if (!storages.has(t.name)) storages.set(t.name, backend.dense("f32", t.shape));
    executable.bind(t.name, storages.get(t.name));
  }
  return executable;
}

/** The teacher's program: hidden states, or (as a whole forward pass) the loss of its logits. @param {boolean} whole */
function teacherProgram(whole) {
  const program = record((g) => {
    const m = plainModule(g, teacher.definition, teacher.config);
    const logits = forward(teacher.definition, m, declareBatch(g, teacher.config, tokens, false));
    if (!whole) return { hidden: headOf(logits).hidden };
    const loss = nn.sum_rows(nn.cross_entropy(logits, g.input("targets", "i32", ["R"])));
    if (!options.stored) fuseLosses(g, false);
    return { loss };
  });
  return low(fuse(program));
}

/** The student's: with gradients of cross-entropy, and of what the teacher says. @param {"" | "dense" | "named"} taught */
function studentProgram(taught) {
  const { definition, config } = student;
  const attrs = {
    loss: /** @type {"jsd"} */ (options.loss),
    temperature: Number(options.temperature),
    beta: 0.3,
  };
  const program = record(
    (g) => {
      const m = plainModule(g, definition, config);
      const logits = forward(definition, m, declareBatch(g, config, tokens, false));
      const ce = nn.sum_rows(nn.cross_entropy(logits, g.input("targets", "i32", ["R"])));
      const shape = [big.vocab_size, big.hidden];
      const kd = () =>
        taught === "named"
          ? nn.distillation_topk_loss(
              logits,
              g.input("ids", "i32", ["R", K]),
              g.input("logp", "f32", ["R", K]),
              attrs,
            )
          : nn.distillation_loss(
              logits,
              nn.matmul_nt(g.input("teacher_hidden", "f32", ["R", big.hidden]), g.param("teacher", shape)),
              attrs,
            );
      const distance = taught && nn.sum_rows(kd());
      const loss = distance ? nn.add(nn.scale(ce, 0.3), nn.scale(distance, 0.7)) : ce;
      const wrt = [...definition.params(config)].map(([name, dims]) => g.param(name, dims));
      for (const [i, d] of gradients(loss, wrt).entries())
        nn.accumulate(g.state(`grad:${wrt[i].name}`, wrt[i].shape), d);
      return { ce, ...(distance && { kd: distance }) };
    },
    { composed: true },
  );
  return low(program);
}

const optimizer = () =>
  record((g) => {
    for (const [name, shape] of student.definition.params(student.config)) {
      const state = (/** @type {string} */ key) => g.state(key, shape);
      nn.adamw(
        state(name),
        state(`grad:${name}`),
        state(`m:${name}`),
        state(`v:${name}`),
        g.input("hyper", "f32", [8]),
      );
      nn.clear_state(state(`grad:${name}`));
    }
    return {};
  });

const ids = Int32Array.from({ length: T }, (_, i) => (i * 7919 + ((i * i) % 97) * 31) % big.vocab_size);
const inputs = {
  tokens: ids,
  positions: Int32Array.from({ length: T }, (_, i) => i % tokens),
  segments: Int32Array.from({ length: 4 * sequences }, (_, i) => [(i >> 2) * tokens, tokens, 0, -1][i % 4]),
  rows: Int32Array.from({ length: T }, (_, i) => i),
};
const targets = Int32Array.from(ids, (_, i) => ids[(i + 1) % T]);
/** @type {Record<string, any>} */
const named = {
  ids: Int32Array.from(
    { length: T * K },
    (_, i) => (ids[Math.floor(i / K)] + (i % K) * 101) % big.vocab_size,
  ),
  logp: Float32Array.from({ length: T * K }, () => Math.log(0.9 / K)),
};
const hyper = Float32Array.of(0, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 1 / T);
const all = new Map([...student.storages]);
const weight = headOf(forwardLogits()).weight.name;
all.set("teacher", teacher.storages.get(weight));

function forwardLogits() {
  /** @type {any} */
  let logits;
  record((g) => {
    const m = plainModule(g, teacher.definition, teacher.config);
    logits = forward(teacher.definition, m, declareBatch(g, teacher.config, tokens, false));
    return { logits };
  });
  return logits;
}

const update = compile(optimizer(), all);
const programs = {
  whole: compile(teacherProgram(true), teacher.storages),
  hidden: compile(teacherProgram(false), teacher.storages),
  plain: compile(studentProgram(""), all),
  dense: compile(studentProgram("dense"), all),
  ...(K && { named: compile(studentProgram("named"), all) }),
};
const hidden = new Float32Array(T * big.hidden);
const only = { T: 0, S: 0, R: 0 };
/** @type {Record<string, () => Promise<void>>} */
const runs = {
  "teacher forward": () => programs.whole.run(dims, { ...inputs, targets }),
  "student step": async () => {
    await programs.plain.run(dims, { ...inputs, targets });
    await update.run(only, { hyper });
  },
  "teacher hidden": async () => {
    await programs.hidden.run(dims, inputs);
    programs.hidden.read("hidden", hidden);
  },
  "distilling step without it": async () => {
    await programs.dense.run(dims, { ...inputs, targets, teacher_hidden: hidden });
    await update.run(only, { hyper });
  },
  ...(programs.named && {
    "step from named tokens": async () => {
      await /** @type {any} */ (programs.named).run(dims, { ...inputs, targets, ...named });
      await update.run(only, { hyper });
    },
  }),
};
/** @type {Record<string, number>} */
const best = {};
// Round by round, so that what else the machine does falls on all of them alike.
for (let i = 0; i <= steps; i++)
  for (const [name, run] of Object.entries(runs)) {
    if (options.profile && i === 1) programs.dense.profile();
    const start = now();
    await run();
    const ms = now() - start;
    if (i > 0) best[name] = Math.min(best[name] ?? Infinity, ms);
  }

console.log(
  `teacher ${(teacher.count / 1e6).toFixed(0)}M ${options.weights}, student ${(student.count / 1e6).toFixed(0)}M f32, ${sequences} x ${tokens} tokens, ${options.loss} at temperature ${options.temperature}, ${options.compute}, ${backend.kernels}, ${threads} threads`,
);
for (const [name, ms] of Object.entries(best))
  console.log(`${name.padEnd(28)} ${ms.toFixed(0).padStart(7)} ms`);
const step = best["teacher hidden"] + best["distilling step without it"];
const sum = best["teacher forward"] + best["student step"];
const sums = new Float32Array(2);
programs.dense.read("ce", sums.subarray(0, 1));
programs.dense.read("kd", sums.subarray(1));
console.log(
  `distillation step            ${step.toFixed(0).padStart(7)} ms: ${(step / sum).toFixed(2)} of teacher forward + student step (${((T / step) * 1e3).toFixed(0)} tok/s); losses ${[...sums].map((x) => (x / T).toFixed(4)).join(", ")}; arena ${(programs.dense.arenaBytes / 2 ** 20).toFixed(0)} MiB (student alone ${(programs.plain.arenaBytes / 2 ** 20).toFixed(0)}), peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`,
);
if (options.profile) {
  /** @type {Map<string, number>} */
  const rows = new Map();
  for (const { node, seconds } of programs.dense.profile())
    rows.set(node.op, (rows.get(node.op) ?? 0) + (seconds * 1e3) / steps);
  for (const [op, ms] of [...rows].sort((a, b) => b[1] - a[1]).slice(0, 10))
    console.log(`${ms.toFixed(1).padStart(9)} ms ${op}`);
}
backend.close();
