// How fast a training step is: random weights in the shape of a known model, full parameters, LoRA, or QLoRA over Q4_0.
// Prints tokens/s; GFLOPS of the work that has to be done (recomputation is not counted: 6 a parameter and token, 4 where
// the weight is frozen, attention besides); the share of an f32 matrix product measured in the same run; peak memory.
// Command: node bench/train.mjs [--shapes 135m,0.5b] [--method full|lora|qlora] [--tokens 512] [--sequences 2] [--steps 3]
//   [--rank 16] [--threads 2] [--kernels avx512] [--backend native|wasm] [--compute f32|bf16] [--recompute] [--layers n]
//   [--profile] [--cpu]
// --cpu: processor time in place of wall time, with --threads 1 on a machine that does other things too.
// --layers: only so many blocks, for full training. --profile: time by op. LoRA is over an f16 base, QLoRA over q4_0: files of
// models.mjs, made when they are not there. Needs dist/ (npm run build). Peak memory is the process's: one shape a process.
import { parseArgs } from "node:util";
import { createBackend } from "../dist/engine/backends/index.js";
import { matmul_nt } from "../dist/engine/nn.js";
import { record } from "../dist/engine/program.js";
import { definitionOf, openModel } from "../dist/models/index.js";
import { loadFull } from "../dist/train/methods/full.js";
import { openTrainable } from "../dist/train/methods/index.js";
import { TrainStep } from "../dist/train/step.js";
import { configOf, makeModel, roughlyNormal, shapes } from "./models.mjs";

const { values: options } = parseArgs({
  options: {
    shapes: { type: "string", default: "135m" },
    method: { type: "string", default: "full" },
    tokens: { type: "string", default: "512" },
    sequences: { type: "string", default: "2" },
    steps: { type: "string", default: "3" },
    rank: { type: "string", default: "16" },
    threads: { type: "string", default: "2" },
    layers: { type: "string" },
    kernels: { type: "string" },
    backend: { type: "string", default: "native" },
    compute: { type: "string", default: "f32" },
    recompute: { type: "boolean", default: false },
    cpu: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
  },
});
const [tokens, sequences, steps, rank, threads] = ["tokens", "sequences", "steps", "rank", "threads"].map(
  (name) => Number(options[/** @type {"rank"} */ (name)]),
);
const T = tokens * sequences;

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

/** GFLOPS of y = x wᵀ in f32, best of some. */
async function peak() {
  const [M, N, K] = options.backend === "native" ? [1024, 2048, 2048] : [512, 512, 512];
  const program = record((g) => ({ y: matmul_nt(g.input("x", "f32", ["T", K]), g.param("w", [N, K])) }));
  const executable = backend.compile(program, { T: M, S: 0, R: 0 });
  const w = backend.dense("f32", [N, K], new Float32Array(N * K).fill(0.5));
  executable.bind("w", w);
  const x = new Float32Array(M * K).fill(0.5);
  let best = 0;
  for (let i = 0; i < 6; i++) {
    const start = now();
    await executable.run({ T: M, S: 0, R: 0 }, { x });
    best = Math.max(best, (2e-6 * M * N * K) / (now() - start));
  }
  executable.free();
  w.free();
  return best;
}

/** @param {string} shape */
function model(shape) {
  const s = { ...shapes[shape], ...(options.layers && { layers: Number(options.layers) }) };
  const config = configOf(s);
  return { config, definition: definitionOf(s.arch, "bench"), s };
}

/** Parameters of all products of a token, the head's included. @param {typeof shapes[string]} s */
function products(s) {
  const qkvo = s.hidden * s.head_dim * (2 * s.heads + 2 * s.kv_heads);
  return s.layers * (qkvo + 3 * s.hidden * s.ffn) + s.hidden * s.vocab_size;
}

/** Operations of a step: products, and attention over half of the positions. @param {typeof shapes[string]} s */
function work(s) {
  const forward = 2 * products(s) * T + s.layers * 4 * (tokens / 2) * s.heads * s.head_dim * T;
  return forward * (options.method === "full" ? 3 : 2);
}

/** What is trained of random weights. @param {string} shape */
async function trainableOf(shape) {
  if (options.method !== "full") {
    const opened = await openModel(await makeModel(shape, options.method === "lora" ? "f16" : "q4_0"));
    const trainable = await openTrainable(opened, backend, { method: "lora", rank });
    await opened.close();
    return { s: shapes[shape], trainable };
  }
  const { config, definition, s } = model(shape);
  let seed = 0;
  const trainable = await loadFull(definition, config, backend, (name, dims) => {
    const n = dims.reduce((a, b) => a * b, 1);
    if (name.endsWith("norm.weight")) return new Float32Array(n).fill(1);
    const std = name.includes("embed") ? 0.02 : dims.length > 1 ? 0.6 / Math.sqrt(dims[1]) : 0;
    return roughlyNormal(n, std, ++seed);
  });
  return { s, trainable };
}

/** @param {string} shape */
async function bench(shape) {
  const { s, trainable } = await trainableOf(shape);
  const compute = /** @type {"f32" | "bf16"} */ (options.compute);
  const size = { ctx: tokens, tokens: T, sequences };
  const step = new TrainStep(backend, trainable, size, { recompute: options.recompute, compute });
  const ids = Int32Array.from({ length: T }, (_, i) => (i * 7919 + ((i * i) % 97) * 31) % s.vocab_size);
  const starts = Array.from({ length: sequences }, (_, i) => i * tokens);
  const targets = Int32Array.from(ids, (_, i) => ((i + 1) % tokens === 0 ? -1 : ids[i + 1]));
  /** @returns {any[]} */
  const executables = () => {
    const all = /** @type {any} */ (step);
    return [all.made.get("grad"), all.norm, all.update];
  };
  const best = await peak();
  let least = Infinity;
  let losses = "";
  for (let i = 0; i < steps + 1; i++) {
    if (i === 1 && options.profile) for (const e of executables()) e.profile();
    const start = now();
    const { loss } = await step.step([{ tokens: ids, targets, starts }], { lr: 1e-4 });
    if (i > 0) least = Math.min(least, now() - start);
    losses += ` ${loss.toFixed(4)}`;
  }
  const gflops = (work(s) * 1e-6) / least;
  console.log(
    `${shape} ${options.method} ${sequences} x ${tokens}, ${options.compute}, ${backend.kernels}, ${threads} threads: ${((T / least) * 1e3).toFixed(1)} tok/s, ${gflops.toFixed(0)} GFLOPS, ${((100 * gflops) / best).toFixed(0)} % of the ${best.toFixed(0)} of an f32 product, arena ${(executables()[0].arenaBytes / 2 ** 20).toFixed(0)} MiB, peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB, losses${losses}`,
  );
  if (options.profile) report(executables());
  step.close();
}

/** Time by op, and by op and shape. @param {any[]} executables */
function report(executables) {
  /** @type {Map<string, { count: number, seconds: number, waited: number }>} */
  const rows = new Map();
  let total = 0;
  for (const executable of executables)
    for (const { node, seconds, waited } of executable.profile()) {
      const shape = (/** @type {any} */ t) => `[${t.shape}]`;
      const products = node.op.includes("matmul") || node.op.includes("linear");
      const detail = `${node.op} ${(products ? node.inputs : node.outputs.length > 0 ? node.outputs : node.inputs).slice(0, 2).map(shape).join(" ")}`;
      for (const key of [node.op, `  ${detail}`]) {
        const row = rows.get(key) ?? { count: 0, seconds: 0, waited: 0 };
        rows.set(key, { count: row.count + 1, seconds: row.seconds + seconds, waited: row.waited + waited });
      }
      total += seconds + waited;
    }
  console.log(
    `of one thread, ms a step (nodes, waiting before them), ${((total * 1e3) / steps).toFixed(0)} in all`,
  );
  for (const [key, { count, seconds, waited }] of [...rows]
    .sort((a, b) => b[1].seconds + b[1].waited - a[1].seconds - a[1].waited)
    .slice(0, 48))
    console.log(
      `${((seconds * 1e3) / steps).toFixed(1).padStart(9)} ${((waited * 1e3) / steps).toFixed(1).padStart(7)}  ${String(count).padStart(5)} ${key}`,
    );
}

for (const shape of options.shapes.split(",")) await bench(shape);
backend.close();
