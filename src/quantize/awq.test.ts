import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { TINY, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";
import { createBackend } from "../engine/backends/index.ts";
import type { QuantType } from "../engine/grids.ts";
import { record } from "../engine/program.ts";
import { dequantize, quantize } from "../engine/weights.ts";
import {
  declareBatch,
  forward,
  frozenModule,
  modelTables,
  openModel,
  parameterValues,
} from "../models/index.ts";
import type { TrainBatch } from "../train/index.ts";
import { dims, inputs } from "../train/step.ts";
import { foldPart, type RoundRows, roundCut } from "./awq.ts";
import { findFolds } from "./folds.ts";
import { RowErrors } from "./moments.ts";
import { streamParts } from "./stream.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-awq-"));
afterAll(() => rm(dir, { recursive: true, force: true }));
const limits = { ctx: 24, tokens: 48, sequences: 4 };
const round: RoundRows = async (type, values) => quantize(type as "q4_0", values);

const wide = { hidden_size: 64, intermediate_size: 96 };
const typed = (name: string, own: object = wide) => ({ ...TINY_TYPES[name]!.config, ...own });
/** What each block folds, and what not: name, config, linears of the folds of block 0 by what is before them. */
const CASES: [string, object, Record<string, string[]>][] = [
  [
    "llama, biases",
    { ...TINY.llama, ...wide, num_attention_heads: 4, head_dim: 16 },
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      v_proj: ["o_proj"],
      post_attention_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  [
    "qwen2",
    TINY.qwen2,
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      v_proj: ["o_proj"],
      post_attention_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  [
    "qwen3",
    typed("qwen3-sliding"),
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      v_proj: ["o_proj"],
      post_attention_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  [
    "gemma3_text",
    typed("gemma3_text-layers"),
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      v_proj: ["o_proj"],
      pre_feedforward_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  [
    "phi3",
    typed("phi3"),
    {
      input_layernorm: ["qkv_proj"],
      qkv_proj: ["o_proj"],
      post_attention_layernorm: ["gate_up_proj"],
      gate_up_proj: ["down_proj"],
    },
  ],
  [
    "gpt2",
    typed("gpt2", { n_embd: 64, n_inner: 96 }),
    { ln_1: ["c_attn"], c_attn: ["c_proj"], ln_2: ["c_fc"] },
  ],
  [
    "granite",
    typed("granite"),
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      v_proj: ["o_proj"],
      post_attention_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  // Values are normed: nothing before o_proj takes a scale. The gate of the MLP's inputs stays, too.
  [
    "gemma4_text",
    typed("gemma4_text"),
    {
      input_layernorm: ["q_proj", "k_proj", "v_proj"],
      pre_feedforward_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
  ["lfm2", typed("lfm2", {}), { operator_norm: ["in_proj"], ffn_norm: ["w1", "w3"], w3: ["w2"] }],
  [
    "qwen3_5_text",
    typed("qwen3_5_text"),
    {
      input_layernorm: ["in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a"],
      post_attention_layernorm: ["gate_proj", "up_proj"],
      up_proj: ["down_proj"],
    },
  ],
];

describe.each(CASES)("%s", (name, config, wanted) => {
  test("folded it is the same function, and errs less when rounded", async () => {
    const folder = join(dir, name);
    const small = { ...config, vocab_size: 60 };
    if (name === "qwen2" || name.startsWith("llama"))
      await writeTinyModel(folder, small as typeof TINY.llama);
    else await writeTinyType(folder, small);
    const model = await openModel(folder);
    const backend = await createBackend({ threads: 1 });
    const tokens = Int32Array.from({ length: 40 }, (_, i) => (11 * i + (i % 3)) % 60);
    const batches: TrainBatch[] = [{ tokens, targets: tokens.map((t) => (t + 1) % 60), starts: [0, 20] }];
    const types = new Map<string, QuantType>();
    for (const [weight, shape] of model.definition.params(model.config))
      if (shape.length === 2 && shape[1]! % 32 === 0) types.set(weight, "q4_0");
    const changed = new Map<string, Float32Array>();
    const seen: Record<string, string[]> = {};
    let scaled = 0;
    const stem = (weight: string) =>
      weight
        .replace(/\.(weight|bias)$/, "")
        .split(".")
        .at(-1)!;
    for await (const visit of streamParts(model, backend, { limits, batches }, { moments: "products" })) {
      if (visit.part === 0)
        for (const { before, linears } of findFolds(visit.nodes)) seen[stem(before)] = linears.map(stem);
      const read = (weight: string) => parameterValues(model, weight);
      const folded = await foldPart(visit, types, read, round, backend);
      for (const [weight, values] of folded.values) changed.set(weight, values);
      for (const [weight, scales] of folded.columns) {
        scaled++;
        const { columns, products, squares } = visit.inputs.get(weight)!;
        const values = folded.values.get(weight)!;
        const errors = new RowErrors(backend, products!, columns, values.length / columns);
        const error = async (bytes: Uint8Array, v: Float32Array, s?: Float32Array) => {
          const delta = new Float32Array(v.length);
          dequantize("q4_0", bytes, delta);
          return errors.sum(delta.map((x, i) => (x - v[i]!) / (s ? s[i % columns]! : 1)));
        };
        const cut = await roundCut(weight, "q4_0", values, scales, squares, errors, round);
        // Never worse than uncut.
        expect(await error(cut, values, scales)).toBeLessThanOrEqual(
          1.0001 * (await error(quantize("q4_0", values), values, scales)),
        );
        errors.free();
      }
    }
    expect(seen).toEqual(wanted);
    expect(scaled).toBeGreaterThan(0);
    const before = await logitsOf(model, backend, batches[0]!);
    const after = await logitsOf(model, backend, batches[0]!, changed);
    const size = Math.max(...before.map(Math.abs));
    before.forEach((x, i) => {
      expect(Math.abs(x - after[i]!) / size).toBeLessThan(1e-5);
    });
    backend.close();
    await model.close();
  });
});

/** Logits of all tokens that have a target, with some parameters replaced. */
async function logitsOf(
  model: Awaited<ReturnType<typeof openModel>>,
  backend: Awaited<ReturnType<typeof createBackend>>,
  batch: TrainBatch,
  changed: ReadonlyMap<string, Float32Array> = new Map(),
): Promise<Float32Array> {
  const { definition, config } = model;
  const program = record((g) => ({
    logits: forward(
      definition,
      frozenModule(g, definition, config),
      declareBatch(g, config, limits.ctx, false),
    ),
  }));
  const rows = Int32Array.from(batch.tokens.keys());
  const T = rows.length;
  const executable = backend.compile(program, { T, S: 4, R: T });
  const tables = modelTables(config, limits.ctx);
  for (const { name, shape } of program.params) {
    const values = tables.get(name!)?.data ?? changed.get(name!) ?? (await parameterValues(model, name!));
    executable.bind(name!, backend.dense("f32", shape as number[], values));
  }
  await executable.run(dims(batch, rows), inputs(batch, rows));
  const logits = new Float32Array(T * config.vocab_size);
  executable.read("logits", logits);
  executable.free();
  return logits;
}
