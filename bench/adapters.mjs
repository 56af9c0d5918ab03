// What adapters cost a token: one model as a program without them and with them (none active, one, eight different ones),
// steps in turns, so that what else the machine does falls on all alike. Engine alone: no sampling, no scheduler.
// Command: node bench/adapters.mjs [--model 1b] [--threads 2] [--rank 16] [--rounds 12] [--steps 4] [--prompt 512]
//   [--dora] [--only batch]  [--case different]  (only groups, or cases, whose name contains it)
//   [--cpu]  (processor time instead of wall time: for one thread on a machine that does other things too)
//   [--blocks 1]  (only so many blocks and no head: short steps, for a machine that does other things too)
// --model: a shape of models.mjs (its q4_0 file is made when it is not there) or a GGUF file. Needs dist/ (npm run build).
// Each line: ms a step (best round, median), and the median of the ratios of a round to the first case of its group.
import { parseArgs } from "node:util";
import { createBackend } from "../dist/engine/backends/index.js";
import { fuse } from "../dist/engine/fuse.js";
import { add, lora, matmul_nt } from "../dist/engine/nn.js";
import { record } from "../dist/engine/program.js";
import { plainModule } from "../dist/models/definition.js";
import { modelTables } from "../dist/models/layers.js";
import { loadWeights } from "../dist/models/load.js";
import { openModel } from "../dist/models/open.js";
import { declareBatch, forward, pagesFor } from "../dist/models/programs.js";
import { makeModel } from "./models.mjs";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "1b" },
    threads: { type: "string", default: "2" },
    rank: { type: "string", default: "16" },
    rounds: { type: "string", default: "12" },
    steps: { type: "string", default: "4" },
    prompt: { type: "string", default: "512" },
    kernels: { type: "string" },
    cpu: { type: "boolean", default: false },
    blocks: { type: "string" },
    dora: { type: "boolean", default: false },
    case: { type: "string", default: "" },
    only: { type: "string", default: "" },
  },
});
const [threads, rank, rounds, steps, prompt] = ["threads", "rank", "rounds", "steps", "prompt"].map((name) =>
  Number(options[/** @type {"rank"} */ (name)]),
);
const CTX = 1024;
const SLOTS = 8;

const file = options.model.endsWith(".gguf") ? options.model : await makeModel(options.model, "q4_0");
const backend = await createBackend({
  backend: "native",
  threads,
  ...(options.kernels && { kernels: options.kernels }),
});
const model = await openModel(file);
const { config, definition } = model;
const bound = new Map(await loadWeights(model, backend));
for (const [name, { shape, data }] of modelTables(config, CTX))
  bound.set(name, backend.dense("f32", shape, data));
const { num_hidden_layers: layers, num_key_value_heads, head_dim } = config;
bound.set(
  "kv",
  backend.kv({ layers, num_key_value_heads, head_dim, pages: SLOTS * pagesFor(CTX), type: "f16" }),
);

/** Linears of the blocks, in recorded order. @type {{ N: number, K: number, type: string }[]} */
const linears = [];
/** @param {boolean} adapters */
function program(adapters) {
  return fuse(
    record((g) => {
      const plain = plainModule(g, definition, config);
      const batch = declareBatch(g, config, CTX, true);
      const shapes = definition.params(config);
      const table = g.state("adapters", [0]);
      const module = {
        ...plain,
        /** @param {string} path @param {any} x */
        linear(path, x) {
          if (!adapters || x.shape[0] === "R") return plain.linear(path, x);
          const w = plain.param(`${path}.weight`);
          const [N, K] = /** @type {[number, number]} */ (w.shape);
          const y = lora(matmul_nt(x, w), x, table, batch.segments, { linear: linears.length });
          linears.push({ N, K, type: model.tensors.get(`${path}.weight`).type });
          return shapes.has(`${path}.bias`) ? add(y, plain.param(`${path}.bias`)) : y;
        },
      };
      if (options.blocks === undefined) return { logits: forward(definition, module, batch) };
      let x = definition.embed(module, batch);
      for (let i = 0; i < Number(options.blocks); i++) x = definition.block(module, i, x, batch);
      return { x };
    }),
  );
}

const maxima = { T: 512, S: SLOTS, R: SLOTS };
const executables = [false, true].map((adapters) => {
  const recorded = program(adapters);
  const executable = backend.compile(recorded, maxima);
  if (adapters) bound.set("adapters", backend.adapters(SLOTS, linears));
  for (const { name } of [...recorded.params, ...recorded.states]) executable.bind(name, bound.get(name));
  return executable;
});
const table = bound.get("adapters");
/** @param {number} n @param {number} size */
const random = (n, size) => Float32Array.from({ length: n }, () => (Math.random() - 0.5) * size);
for (let slot = 0; slot < SLOTS; slot++)
  backend.setAdapter(
    table,
    slot,
    new Map(
      linears.map(({ N, K }, i) => [
        i,
        {
          rank,
          a: random(rank * K, 0.02),
          b: random(N * rank, 0.02),
          ...(options.dora && { magnitude: random(N, 0.1).map((x) => 1 + x) }),
        },
      ]),
    ),
  );
console.log(
  `${file}: ${backend.kernels}, ${threads} threads, ${linears.length} linears, rank ${rank}, ${(table.bytes / SLOTS / 1e6).toFixed(1)} MB an adapter`,
);

/** A step of `length` tokens for each slot given, behind `past` positions. @param {number[]} slots */
function inputs(slots, length, past) {
  const S = slots.length;
  const T = S * length;
  const wide = pagesFor(CTX);
  return {
    dims: { T, S, R: S },
    inputs: {
      tokens: Int32Array.from({ length: T }, (_, i) => (i * 7919 + past) % config.vocab_size),
      positions: Int32Array.from({ length: T }, (_, i) => past + (i % length)),
      segments: Int32Array.from(slots.flatMap((slot, s) => [s * length, length, past, slot])),
      rows: Int32Array.from(slots, (_, s) => (s + 1) * length - 1),
      pages: Int32Array.from({ length: S * wide }, (_, i) => i),
    },
  };
}
const none = (/** @type {number} */ n) => Array(n).fill(-1);
const same = (/** @type {number} */ n) => Array(n).fill(0);
const all = Array.from({ length: SLOTS }, (_, i) => i);
const groups = {
  "one sequence": [
    ["no support", 0, none(1), 1, 128],
    ["none active", 1, none(1), 1, 128],
    ["one adapter", 1, same(1), 1, 128],
  ],
  "batch of 8": [
    ["no support", 0, none(8), 1, 128],
    ["none active", 1, none(8), 1, 128],
    ["one for all", 1, same(8), 1, 128],
    ["one of eight rows", 1, [...none(7), 0], 1, 128],
    ["eight different", 1, all, 1, 128],
  ],
  [`prompt of ${prompt}`]: [
    ["no support", 0, none(1), prompt, 0],
    ["none active", 1, none(1), prompt, 0],
    ["one adapter", 1, same(1), prompt, 0],
  ],
};
const now = () => {
  if (!options.cpu) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const median = (/** @type {number[]} */ xs) => xs.toSorted((a, b) => a - b)[xs.length >> 1];
for (const [group, some] of Object.entries(groups)) {
  if (!group.includes(options.only)) continue;
  const cases = some.filter(([name]) => String(name).includes(options.case));
  const times = cases.map(() => /** @type {number[]} */ ([]));
  for (let round = 0; round <= rounds; round++)
    for (const [i, [, which, slots, length, past]] of cases.entries()) {
      const n = length > 1 ? 1 : steps;
      const start = now();
      for (let step = 0; step < n; step++) {
        const { dims, inputs: given } = inputs(slots, length, past + step);
        await executables[which].run(dims, given);
      }
      if (round > 0) times[i].push((now() - start) / n);
    }
  console.log(group);
  for (const [i, [name]] of cases.entries()) {
    const ratio = median(times[i].map((t, round) => t / times[0][round]));
    const best = Math.min(...times[i]);
    console.log(
      `  ${name.padEnd(18)} ${best.toFixed(2).padStart(8)} ms best, ${median(times[i]).toFixed(2).padStart(8)} median   x ${ratio.toFixed(3)} (best x ${(best / Math.min(...times[0])).toFixed(3)})`,
    );
  }
}
backend.close();
