// A tiny model that learns in milliseconds, and samples for it.

import { createHash } from "node:crypto";
import { createBackend } from "../../src/engine/backends/index.ts";
import { NativeBackend } from "../../src/engine/backends/native.ts";
import { definitionOf, parseConfig } from "../../src/models/index.ts";
import { loadFull } from "../../src/train/methods/full.ts";
import { TrainStep } from "../../src/train/step.ts";
import type { Learner, Sample } from "../../src/train/types.ts";
import { TINY, tinyWeights } from "./tiny-models.ts";

export const VOCAB = TINY.qwen2.vocab_size;
export const SIZE = { ctx: 24, tokens: 48, sequences: 4 };

const backend = await createBackend({
  backend: NativeBackend.available() ? "native" : "wasm",
  threads: 1,
});

/** A new learner over all weights of the tiny qwen2, scaled down to an untrained model's size. */
export async function tinyLearner(): Promise<TrainStep> {
  const config = parseConfig("tiny", JSON.stringify(TINY.qwen2));
  const initial = new Map(
    [...tinyWeights(TINY.qwen2)].map(([name, { shape, data }]) => [
      name,
      shape.length > 1 ? data.map((x) => x / 4) : data,
    ]),
  );
  const definition = definitionOf("qwen2", "tiny");
  return new TrainStep(
    backend,
    await loadFull(definition, config, backend, (name) => initial.get(name)!),
    SIZE,
  );
}

/** Samples of 4 to 20 tokens that count upwards, the first third of each not learned. */
export function tinySamples(count: number, seed = 1): Sample[] {
  return Array.from({ length: count }, (_, n) => {
    const length = 4 + ((n * 7 + seed * 3) % 17);
    const step = 1 + (n % 3);
    const ids = Int32Array.from({ length }, (_, i) => (n * 5 + seed + i * step) % VOCAB);
    const learned = Uint8Array.from({ length }, (_, i) => Number(i > length / 3));
    return { ids, learned, source: { file: "tiny.jsonl", line: n + 1 } };
  });
}

/** Digests of weights and moments of a learner, for comparisons. */
export function everything(learner: Learner): Record<string, string> {
  const all: Record<string, string> = { steps: String(learner.steps) };
  for (const name of learner.trained.keys())
    for (const kind of [undefined, "m", "v"] as const)
      all[`${kind}:${name}`] = createHash("sha256").update(learner.read(name, kind)).digest("hex");
  return all;
}
