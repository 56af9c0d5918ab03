// Adapters over quantized weights: the same losses and gradients as the float64 reference has over the same codes, and
// the weights are held once, packed.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fill, TINY_BASES } from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, tinyWeights, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../../test/helpers/tiny-tokenizer.ts";
import type { Backend } from "../../engine/backend.ts";
import { createBackend } from "../../engine/backends/index.ts";
import { NativeBackend } from "../../engine/backends/native.ts";
import { nf4Magnitudes, nf4Scales, quantizeNf4 } from "../../engine/nf4.ts";
import { dequantize } from "../../engine/weights.ts";
import { convert, type OpenedModel, openModel, quantizedModel } from "../../models/index.ts";
import { TrainStep } from "../step.ts";
import type { StepResult, TrainBatch } from "../types.ts";
import { fullTrainable } from "./full.ts";
import { type Method, openTrainable } from "./index.ts";

let dir: string;
let model: OpenedModel;
let gguf: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-qlora-"));
  await writeTinyModel(join(dir, "qwen2"), TINY_BASES.qwen2);
  await writeTinyTokenizer(join(dir, "qwen2"));
  model = await openModel(join(dir, "qwen2"));
  await convert(quantizedModel(model, "q4_0"), join(dir, "q4_0.gguf"));
  gguf = await openModel(join(dir, "q4_0.gguf"));
});
afterAll(async () => {
  await model.close();
  await gguf.close();
  await rm(dir, { recursive: true });
});

const tokens = Int32Array.from(tinyIds(60, 70));
const BATCH: TrainBatch = { tokens, targets: tokens.map((_, i) => tokens[i + 1] ?? -1), starts: [0, 25] };
const SIZE = { ctx: 64, tokens: 64, sequences: 2 };

async function steps(backend: Backend, opened: OpenedModel, method: Method): Promise<StepResult[]> {
  const step = new TrainStep(backend, await openTrainable(opened, backend, { method, rank: 4 }), SIZE);
  for (const [name, shape] of step.trained)
    if (!name.includes("magnitude")) step.write(name, fill(name, shape));
  const results: StepResult[] = [];
  for (let i = 0; i < 5; i++) results.push(await step.step([BATCH], { lr: 2e-3, max_grad_norm: 1 }));
  step.close();
  return results;
}

const reference = await createBackend({ backend: "reference" });
const truths = new Map<string, Promise<StepResult[]>>();
for (const name of ["native", "wasm"] as const)
  test.skipIf(name === "native" && !NativeBackend.available())(
    `five steps over nf4 and q4_0 on ${name} are the reference's`,
    async () => {
      const backend = await createBackend({ backend: name, threads: 2 });
      for (const [opened, method] of [
        [model, "qlora"],
        [gguf, "qlora"],
        [gguf, "dora"],
      ] as const) {
        const key = `${opened.kind} ${method}`;
        if (!truths.has(key)) truths.set(key, steps(reference, opened, method));
        const truth = await truths.get(key)!;
        expect(truth[4]!.loss).toBeLessThan(truth[0]!.loss);
        (await steps(backend, opened, method)).forEach(({ loss, grad_norm }, i) => {
          expect(Math.abs(loss - truth[i]!.loss)).toBeLessThan(1e-4);
          expect(Math.abs(grad_norm / truth[i]!.grad_norm - 1)).toBeLessThan(1e-3);
        });
      }
      backend.close();
    },
  );

test("a float base becomes NF4 with double quantization: its loss is that of the rounded weights", async () => {
  const backend = await createBackend({ threads: 2 });
  const trainable = await openTrainable(model, backend, { method: "qlora", rank: 2 });
  // q_proj [64, 64]: 4.25 bits a weight. down_proj [64, 96] has no whole blocks, and stays.
  const bytes = (path: string) => trainable.storages.get(`model.layers.0.${path}.weight`)!.bytes;
  expect(bytes("self_attn.q_proj")).toBe((64 * 64 * 34) / 64);
  expect(bytes("mlp.gate_proj")).toBe((96 * 64 * 34) / 64);
  expect(bytes("mlp.down_proj")).toBe(64 * 96 * 4);
  expect(trainable.storages.get("model.embed_tokens.weight")!.bytes).toBe(80 * 64 * 4); // rows in panels of 16
  const step = new TrainStep(backend, trainable, SIZE);
  const { loss } = await step.evaluate(BATCH);
  step.close();

  const full = new TrainStep(backend, await fullTrainable(model, backend), SIZE);
  const plain = (await full.evaluate(BATCH)).loss;
  for (const [name, { shape, data }] of tinyWeights(TINY_BASES.qwen2)) {
    if (!name.includes("proj.weight") || shape[1] !== 64) continue;
    const magnitudes = nf4Magnitudes(data);
    const rounded = new Float32Array(data.length);
    dequantize("nf4", quantizeNf4(data, magnitudes, nf4Scales(magnitudes)), rounded);
    full.write(name, rounded);
  }
  const rounded = (await full.evaluate(BATCH)).loss;
  full.close();
  expect(Math.abs(rounded - plain)).toBeGreaterThan(1e-3);
  expect(Math.abs(loss - rounded)).toBeLessThan(1e-5);
  backend.close();
});
