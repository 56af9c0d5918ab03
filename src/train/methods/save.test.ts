// What a method writes is what was trained: opened again, the files give the learner's own losses.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fill, TINY_BASES } from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../../test/helpers/tiny-tokenizer.ts";
import { createBackend } from "../../engine/backends/index.ts";
import {
  convert,
  fuse,
  loadAdapter,
  type OpenedModel,
  openAdapter,
  openModel,
  quantizedModel,
} from "../../models/index.ts";
import { TrainStep } from "../step.ts";
import type { TrainBatch } from "../types.ts";
import { type MethodOptions, openTrainable } from "./index.ts";

const backend = await createBackend({ threads: 2 });
let dir: string;
let model: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-save-"));
  await writeTinyModel(join(dir, "llama"), TINY_BASES.llama);
  await writeTinyTokenizer(join(dir, "llama"));
  model = await openModel(join(dir, "llama"));
});
afterAll(async () => {
  await model.close();
  backend.close();
  await rm(dir, { recursive: true });
});

const tokens = Int32Array.from(tinyIds(40, TINY_BASES.llama.vocab_size));
const BATCH: TrainBatch = { tokens, targets: tokens.map((_, i) => tokens[i + 1] ?? -1), starts: [0] };
const SIZE = { ctx: 64, tokens: 64, sequences: 2 };

async function loss(model: OpenedModel): Promise<number> {
  const step = new TrainStep(backend, await openTrainable(model, backend, { method: "lora", rank: 1 }), SIZE);
  try {
    return (await step.evaluate(BATCH)).loss;
  } finally {
    step.close();
  }
}

/** Three steps, then what was saved to `out`, and the loss of the learner. */
async function tuned(model: OpenedModel, options: MethodOptions, out: string): Promise<number> {
  const trainable = await openTrainable(model, backend, options);
  const step = new TrainStep(backend, trainable, SIZE);
  const before = (await step.evaluate(BATCH)).loss;
  for (const [name, shape] of step.trained)
    if (name.includes("lora_") && !name.includes("magnitude")) step.write(name, fill(name, shape));
  for (let i = 0; i < 3; i++) await step.step([BATCH], { lr: 5e-3 });
  const { loss } = await step.evaluate(BATCH);
  expect(Math.abs(loss - before)).toBeGreaterThan(0.01);
  await trainable.save(out, (name) => step.read(name));
  step.close();
  return loss;
}

test.each(["lora", "dora"] as const)("a %s adapter, merged from its PEFT folder", async (method) => {
  const out = join(dir, method);
  const trained = await tuned(model, { method, rank: 3, rslora: true, targets: "all-linear" }, out);
  const adapter = await openAdapter(out);
  expect((await loadAdapter(adapter, model)).changes.size).toBe(21);
  const merged = join(dir, `${method}-merged`);
  await fuse(model, [{ adapter }], merged, { type: "f32" });
  await adapter.close();
  const opened = await openModel(merged);
  expect(Math.abs((await loss(opened)) - trained)).toBeLessThan(1e-5);
  await opened.close();
});

test("an adapter over the GGUF form of a model is the same adapter", async () => {
  const gguf = join(dir, "model.gguf");
  await convert(model, gguf, { type: "f32" });
  const opened = await openModel(gguf);
  const options = { rank: 3, targets: ["q_proj", "down_proj"] };
  const a = await tuned(model, options, join(dir, "of-folder"));
  expect(await tuned(opened, options, join(dir, "of-gguf"))).toBeCloseTo(a, 5);
  await opened.close();
});

test("a fully trained model, as a folder and as GGUF", async () => {
  for (const out of [join(dir, "full"), join(dir, "full.gguf")]) {
    const trained = await tuned(model, { method: "full" }, out);
    const opened = await openModel(out);
    expect(Math.abs((await loss(opened)) - trained)).toBeLessThan(1e-5);
    await opened.close();
  }
});

test("what cannot be trained is refused, and says what can", async () => {
  const open = (options: MethodOptions, of = model) => openTrainable(of, backend, options);
  await expect(open({ method: "LoRA" as "lora" })).rejects.toThrow(
    "wanted lora, qlora, dora, full or ternary",
  );
  await expect(open({ method: "full", rank: 4 })).rejects.toThrow('by the method "full" with rank');
  await expect(open({ rank: 0 })).rejects.toThrow("rank 0: wanted a whole number from 1");
  await expect(open({ alpha: Number.NaN })).rejects.toThrow("alpha NaN: wanted a number above 0");
  await expect(open({ targets: ["q_proj", "w_pack"] })).rejects.toThrow('"w_pack" name none of its linears');
  await expect(open({ targets: "mlp" })).rejects.toThrow(
    '"mlp" name none of its linears, wanted some of q_proj',
  );
  await expect(open({ targets: "(" })).rejects.toThrow("targets");
  const q8 = join(dir, "q8_0.gguf");
  await convert(quantizedModel(model, "q8_0"), q8);
  const opened = await openModel(q8);
  await expect(open({ method: "full" }, opened)).rejects.toThrow("is q8_0, wanted f32, f16 or bf16");
  await opened.close();
});
