import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Backend } from "../engine/backend.ts";
import { createBackend } from "../engine/backends/index.ts";
import { NativeBackend } from "../engine/backends/native.ts";
import { normal } from "../engine/conformance/cases.ts";
import { readTensorValues } from "../formats/index.ts";
import { type Config, definitionOf, openModel, parseConfig } from "../models/index.ts";
import { loadFull } from "./methods/full.ts";
import type { ComputeOptions } from "./programs.ts";
import { TrainStep } from "./step.ts";
import type { StepResult, TrainBatch } from "./types.ts";

const DATA = new URL("../../../shared/data/", import.meta.url).pathname;
const STEPS = 10;
const OPTIONS = { lr: 1e-3, weight_decay: 0.1, beta2: 0.95, max_grad_norm: 1 };

interface Run {
  readonly results: StepResult[];
  readonly weights: Map<string, Float32Array>;
}

async function train(
  backend: Backend,
  config: Config,
  initial: Map<string, Float32Array>,
  batches: TrainBatch[][],
  how: ComputeOptions = {},
): Promise<Run> {
  const definition = definitionOf(config.model_type, "test");
  const trainable = await loadFull(definition, config, backend, (name) => initial.get(name)!);
  const step = new TrainStep(backend, trainable, { ctx: 64, tokens: 128, sequences: 4 }, how);
  const results: StepResult[] = [];
  for (const batch of batches) results.push(await step.step(batch, OPTIONS));
  const weights = new Map([...initial.keys()].map((name) => [name, step.read(name)]));
  step.close();
  return { results, weights };
}

/** Losses within 1e-4 and weights within 1e-3 of how far training moved them. */
function agree(run: Run, truth: Run, initial: Map<string, Float32Array>): void {
  run.results.forEach((r, i) => {
    expect(Math.abs(r.loss - truth.results[i]!.loss)).toBeLessThan(1e-4);
    expect(Math.abs(r.grad_norm / truth.results[i]!.grad_norm - 1)).toBeLessThan(1e-3);
  });
  let [error, moved] = [0, 0];
  for (const [name, w] of truth.weights)
    w.forEach((x, i) => {
      error += (run.weights.get(name)![i]! - x) ** 2;
      moved += (x - initial.get(name)![i]!) ** 2;
    });
  expect(moved).toBeGreaterThan(0);
  expect(Math.sqrt(error / moved)).toBeLessThan(2e-2);
}

/** Sequences of `text` ids cut in unequal lengths, two micro-batches a step. */
function cut(ids: readonly number[]): TrainBatch[][] {
  let at = 0;
  const next = (lengths: number[]): TrainBatch => {
    const tokens = Int32Array.from(ids.slice(at, (at += lengths.reduce((a, b) => a + b))));
    const starts = lengths.map((_, s) => lengths.slice(0, s).reduce((a, b) => a + b, 0));
    const targets = Int32Array.from(tokens, (_, i) =>
      starts.includes(i + 1) || i + 1 === tokens.length ? -1 : tokens[i + 1]!,
    );
    return { tokens, targets, starts };
  };
  return Array.from({ length: STEPS }, () => [next([40, 17, 31]), next([64])]);
}

const tiny = parseConfig(
  "test",
  JSON.stringify({
    model_type: "qwen2",
    hidden_size: 32,
    intermediate_size: 44,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 61,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: true,
  }),
);
const tinyStart = new Map(
  [...definitionOf("qwen2", "test").params(tiny)].map(([name, shape], i) => {
    const values = normal(
      shape.reduce((a, b) => a * b),
      i + 5,
    );
    return [name, values.map((x) => (name.endsWith("norm.weight") ? 1 + 0.1 * x : 0.1 * x))];
  }),
);
const tinyIds = Array.from({ length: 2000 }, (_, i) => (i * i + 3 * i) % 61);

const reference = await createBackend({ backend: "reference" });
for (const name of ["native", "wasm"] as const) {
  const absent = name === "native" && !NativeBackend.available();
  test.skipIf(absent)(`ten steps of a random qwen2 on ${name} equal the float64 reference`, async () => {
    const backend = await createBackend({ backend: name, threads: 2 });
    const truth = await train(reference, tiny, tinyStart, cut(tinyIds));
    expect(truth.results.at(-1)!.loss).toBeLessThan(truth.results[0]!.loss);
    agree(await train(backend, tiny, tinyStart, cut(tinyIds)), truth, tinyStart);
    backend.close();
  });

  test.skipIf(absent || !existsSync(`${DATA}stories260K`))(
    `ten steps of stories260K on text on ${name} equal the float64 reference (needs ../shared/data)`,
    async () => {
      const model = await openModel(`${DATA}stories260K`);
      const initial = new Map<string, Float32Array>();
      for (const key of model.definition.params(model.config).keys())
        initial.set(key, await readTensorValues(model.tensors.get(key)!));
      const ids = (await model.tokenizer()).encode(
        readFileSync(`${DATA}text/tinyshakespeare.txt`, "utf8").slice(0, 6000),
      );
      const truth = await train(reference, model.config, initial, cut(ids));
      expect(truth.results.at(-1)!.loss).toBeLessThan(truth.results[0]!.loss);
      const backend = await createBackend({ backend: name, threads: 2 });
      agree(await train(backend, model.config, initial, cut(ids)), truth, initial);
      backend.close();
      await model.close();
    },
  );
}

test.skipIf(!NativeBackend.available())(
  "blocks computed again change no bit of ten steps; products in bf16 learn as well",
  async () => {
    const backend = await createBackend({ backend: "native", threads: 2 });
    const kept = await train(backend, tiny, tinyStart, cut(tinyIds));
    expect(await train(backend, tiny, tinyStart, cut(tinyIds), { recompute: true })).toEqual(kept);
    const low = await train(backend, tiny, tinyStart, cut(tinyIds), { recompute: true, compute: "bf16" });
    for (const [i, { loss }] of low.results.entries())
      expect(Math.abs(loss - kept.results[i]!.loss)).toBeLessThan(0.01);
    backend.close();
  },
);

test("a batch without targets and a loss that is not finite are refused, and nothing changes", async () => {
  const broken = new Map(tinyStart);
  broken.set("model.norm.weight", new Float32Array(32).fill(Number.NaN));
  const definition = definitionOf("qwen2", "test");
  const trainable = await loadFull(definition, tiny, reference, (name) => broken.get(name)!);
  const step = new TrainStep(reference, trainable, { ctx: 64, tokens: 64, sequences: 2 });
  const batch = { tokens: Int32Array.of(1, 2, 3), targets: Int32Array.of(-1, -1, -1), starts: [0] };
  await expect(step.step([batch], OPTIONS)).rejects.toThrow("without targets");
  await expect(step.step([{ ...batch, targets: Int32Array.of(2, 3, -1) }], OPTIONS)).rejects.toThrow(
    "wanted finite numbers",
  );
  expect(step.read("model.embed_tokens.weight")).toEqual(tinyStart.get("model.embed_tokens.weight"));
});
