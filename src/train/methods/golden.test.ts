// Ten steps of every method on tiny models against peft, transformers and torch's AdamW (test/golden/tune.py).
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fill, TINY_BASES, type TinyType } from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import type { Backend } from "../../engine/backend.ts";
import { createBackend } from "../../engine/backends/index.ts";
import { NativeBackend } from "../../engine/backends/native.ts";
import { type OpenedModel, openModel } from "../../models/index.ts";
import { TrainStep } from "../step.ts";
import type { TrainBatch } from "../types.ts";
import { type AdapterOptions, adapterTrainable } from "./adapter.ts";
import { fullTrainable } from "./full.ts";
import { type PreferenceResult, PreferenceStep } from "./preference.ts";

interface Curve {
  readonly loss: readonly number[];
  readonly grad_norm: readonly number[];
  readonly margin?: readonly number[];
  readonly accuracy?: readonly number[];
}
const GOLDEN: Record<TinyType, Record<string, Curve>> = JSON.parse(
  readFileSync(new URL("../../../test/golden/tune.json", import.meta.url), "utf8"),
);
/** As tune.py has them. */
const OPTIONS = { lr: 2e-3, beta2: 0.95, weight_decay: 0.1, max_grad_norm: 1 };
const SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const ADAPTERS: Record<TinyType, Record<string, AdapterOptions>> = {
  llama: {
    lora: { rank: 4, alpha: 8 },
    "lora+": { rank: 4, alpha: 8, targets: ["q_proj", "down_proj"], lr_ratio: 4 },
    rslora: { rank: 4, alpha: 6, rslora: true, targets: ["q_proj", "v_proj", "down_proj"] },
    dora: { rank: 3, alpha: 3, dora: true },
  },
  qwen2: {
    lora: { rank: 4, alpha: 8, targets: [...SEVEN, "lm_head"] },
    dora: { rank: 4, alpha: 2, dora: true, rslora: true, targets: ["q_proj", "o_proj", "gate_proj"] },
  },
};

const DPO: Record<TinyType, AdapterOptions> = {
  llama: { rank: 4, alpha: 8 },
  qwen2: { rank: 3, alpha: 3, dora: true },
};

let dir: string;
const models = {} as Record<TinyType, OpenedModel>;
const backends = {} as Record<string, Backend>;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-methods-"));
  for (const type of ["llama", "qwen2"] as const) {
    await writeTinyModel(join(dir, type), TINY_BASES[type]);
    models[type] = await openModel(join(dir, type));
  }
  for (const name of ["reference", "wasm", "native"] as const)
    if (name !== "native" || NativeBackend.available())
      backends[name] = await createBackend({ backend: name, threads: 2 });
});
afterAll(async () => {
  for (const backend of Object.values(backends)) backend.close();
  for (const model of Object.values(models)) await model.close();
  await rm(dir, { recursive: true });
});

/** The two sequences of a step: `sequences` of tune.py. */
function batch(step: number, vocab: number): TrainBatch {
  const lengths = [23, 40];
  const tokens = lengths.flatMap((count, s) => tinyIds(count, vocab, 3 * step + s));
  const targets = lengths.flatMap((count, s) =>
    Array.from({ length: count }, (_, i) => {
      const next = i + 1;
      return next < count && (next * 5 + step) % 3 !== 0 ? tokens[s * lengths[0]! + next]! : -1;
    }),
  );
  return { tokens: Int32Array.from(tokens), targets: Int32Array.from(targets), starts: [0, lengths[0]!] };
}

const SIZE = { ctx: 64, tokens: 64, sequences: 2 };

/** A learner whose adapter has the values of `fill`. */
function filled<L extends TrainStep>(step: L): L {
  for (const [name, shape] of step.trained)
    if (name.includes("lora_")) step.write(name, fill(`base_model.model.${name}`, shape));
  return step;
}

const near = (found: readonly number[], wanted: readonly number[], within: number) => {
  expect(found.length).toBe(wanted.length);
  found.forEach((x, i) => {
    expect(Math.abs(x - wanted[i]!), `step ${i}: ${x}, wanted ${wanted[i]}`).toBeLessThan(within);
  });
};

describe.each(["llama", "qwen2"] as const)("%s", (type) => {
  const names = Object.keys(GOLDEN[type]).filter((name) => name !== "dpo");
  for (const name of names)
    for (const on of type === "qwen2" && name === "dora"
      ? ["reference", "wasm", "native"]
      : ["wasm", "native"])
      test.skipIf(on === "native" && !NativeBackend.available())(
        `ten steps of ${name} on ${on} have peft's losses`,
        async () => {
          const backend = backends[on]!;
          const adapter = ADAPTERS[type][name];
          const trainable = await (adapter
            ? adapterTrainable(models[type], backend, adapter)
            : fullTrainable(models[type], backend));
          const step = filled(new TrainStep(backend, trainable, SIZE, { recompute: name.includes("lora") }));
          const losses: number[] = [];
          const norms: number[] = [];
          const golden = GOLDEN[type][name]!;
          for (let i = 0; i < golden.loss.length; i++) {
            const result = await step.step([batch(i, models[type].config.vocab_size)], OPTIONS);
            losses.push(result.loss);
            norms.push(result.grad_norm / golden.grad_norm[i]!);
          }
          step.close();
          near(losses, golden.loss, 1e-4);
          near(norms, Array(norms.length).fill(1), 1e-3);
        },
      );

  for (const on of ["wasm", "native"])
    test.skipIf(on === "native" && !NativeBackend.available())(
      `ten steps of DPO on ${on} have peft's and torch's losses, margins and accuracies`,
      async () => {
        const backend = backends[on]!;
        const trainable = await adapterTrainable(models[type], backend, DPO[type]);
        const options = { beta: 0.3, label_smoothing: 0.1 };
        const step = filled(
          new PreferenceStep(backend, trainable, { ctx: 64, tokens: 64, sequences: 4 }, options),
        );
        const golden = GOLDEN[type].dpo!;
        const results: PreferenceResult[] = [];
        // A pair in each of two micro-batches.
        for (let i = 0; i < golden.loss.length; i++) {
          const pairs = [2 * i, 2 * i + 1].map((n) => batch(n, models[type].config.vocab_size));
          results.push(await step.step(pairs, OPTIONS));
        }
        step.close();
        near(
          results.map(({ loss }) => loss),
          golden.loss,
          1e-4,
        );
        near(
          results.map(({ margin }) => margin),
          golden.margin!,
          2e-4,
        );
        near(
          results.map(({ grad_norm }, i) => grad_norm / golden.grad_norm[i]!),
          results.map(() => 1),
          1e-3,
        );
        expect(results.map(({ accuracy }) => accuracy)).toEqual(golden.accuracy);
      },
    );
});
