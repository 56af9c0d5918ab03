// Tiny random models of every further type against logits that transformers gave (test/golden/make.py), in a clone
// without any other data: in one step, in chunks, from GGUF, and in training.
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ReferenceBackend } from "../src/engine/backends/reference.ts";
import { fuse } from "../src/engine/fuse.ts";
import type { Backend } from "../src/engine/index.ts";
import { readTensorValues } from "../src/formats/index.ts";
import {
  convert,
  definitionOf,
  openModel,
  parseConfig,
  type Runtime,
  recordGeneration,
} from "../src/models/index.ts";
import { loadFull } from "../src/train/methods/full.ts";
import { TrainStep } from "../src/train/step.ts";
import type { TrainBatch } from "../src/train/types.ts";
import { backends } from "./helpers/backends.ts";
import { step, withRuntime } from "./helpers/step.ts";
import { tinyIds } from "./helpers/tiny-models.ts";
import { writeTinyTokenizer } from "./helpers/tiny-tokenizer.ts";
import { TINY_TYPES, type TinyType, typeWeights, writeTinyType } from "./helpers/tiny-types.ts";

const idsOf = ({ config, tokens = 100 }: TinyType) => tinyIds(tokens, config.vocab_size);
interface Golden {
  readonly ids: number[];
  readonly loss: number;
  readonly grad_norm: number;
  readonly logits: Record<string, number[]>;
}
const golden = (name: string): Golden =>
  JSON.parse(readFileSync(fileURLToPath(new URL(`golden/${name}.json`, import.meta.url)), "utf8"));

let dir: string;
beforeAll(async () => {
  dir = process.env.UPDATE_GOLDEN ?? (await mkdtemp(join(tmpdir(), "pith-types-")));
  for (const [name, tiny] of Object.entries(TINY_TYPES)) {
    await writeTinyType(join(dir, name), tiny.config);
    if (process.env.UPDATE_GOLDEN) await writeFile(join(dir, name, "ids.json"), JSON.stringify(idsOf(tiny)));
    await writeTinyTokenizer(join(dir, name));
    if (tiny.noGguf) continue;
    const model = await openModel(join(dir, name));
    await convert(model, join(dir, `${name}.gguf`), { overwrite: true });
    await model.close();
  }
});
afterAll(async () => {
  if (!process.env.UPDATE_GOLDEN) await rm(dir, { recursive: true, force: true });
});

function largestError(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  return Math.max(...Array.from(wanted, (x, i) => Math.abs(x - found[i]!)));
}

test("folders are there", () => expect(Object.keys(TINY_TYPES).length).toBeGreaterThan(0));

describe.each(Object.keys(TINY_TYPES))("tiny %s", (name) => {
  const tiny = TINY_TYPES[name]!;
  const { ctx = 256 } = tiny;
  const config = parseConfig(name, JSON.stringify(tiny.config));
  const definition = definitionOf(config.model_type, name);

  test.skipIf(tiny.noGguf)("GGUF states the same config", async () => {
    const model = await openModel(join(dir, `${name}.gguf`));
    await convert(model, join(dir, `${name}-back`), { overwrite: true });
    await model.close();
    const [first, back] = [await openModel(join(dir, name)), await openModel(join(dir, `${name}-back`))];
    for (const [key, tensor] of first.tensors) {
      const values = await readTensorValues(back.tensors.get(key)!);
      expect(largestError(values, await readTensorValues(tensor)), key).toBeLessThan(1e-6);
    }
    await Promise.all([first.close(), back.close()]);
    const { model_type, attention_bias, mlp_bias, rope, linear_attention, ...same } = model.config;
    expect(config).toMatchObject(same);
    expect(config.linear_attention).toEqual(linear_attention && { ...linear_attention, tiled: false });
    expect(model.unused).toEqual([]);
    if (config.rope) expect(rope?.rope_theta).toBeCloseTo(config.rope.rope_theta);
    expect(rope?.rotary_dim).toBe(config.rope?.rotary_dim);
    expect(rope?.scaling?.rope_type).toBe(config.rope?.scaling?.rope_type);
  });

  const asLlama = ["llama", "mistral", "qwen3", "phi3", "smollm3", "granite"].includes(config.model_type);
  test.runIf(asLlama)("a layer is six nodes, as Llama's", () => {
    const nodes = fuse(recordGeneration(definition, config, 256)).nodes.filter(({ op }) => op !== "reshape");
    const scales = config.model_type === "granite" ? 2 : 0; // of the embedding and of the logits
    expect(nodes.length).toBe(6 * config.num_hidden_layers + 3 + scales);
  });

  test("a folder written from it reads the same", async () => {
    const model = await openModel(join(dir, name));
    await convert(model, join(dir, `${name}-again`), { overwrite: true });
    await model.close();
    const again = await openModel(join(dir, `${name}-again`));
    await again.close();
    expect(again.config).toEqual(model.config);
  });

  const batch = (ids: readonly number[]): TrainBatch => ({
    tokens: Int32Array.from(ids),
    targets: Int32Array.from(ids, (_, i) => ids[i + 1] ?? -1),
    starts: [0],
  });
  let wanted: Awaited<ReturnType<typeof learn>> | undefined;
  async function learn(backend: Backend) {
    const { ids } = golden(name);
    const size = { ctx: Math.min(ctx, 128), tokens: ids.length, sequences: 1 };
    const initial = values();
    const trainable = await loadFull(definition, config, backend, (name) => initial.get(name)!);
    const training = new TrainStep(backend, trainable, size);
    const before = await training.evaluate(batch(ids));
    const short = batch(ids.slice(0, 48));
    const result = await training.step([short], { lr: 0.01 });
    const after = await training.evaluate(short);
    training.close();
    return { before: before.loss, grad_norm: result.grad_norm, after: after.loss };
  }
  const values = () => new Map([...typeWeights(tiny.config)].map(([key, { data }]) => [key, data]));

  describe.each(backends)("on %s", (label, make) => {
    const withModel = (end: "" | ".gguf", use: (runtime: Runtime) => Promise<void>) =>
      withRuntime(make, join(dir, name + end), ctx, use);

    test("transformers' logits, from a folder and from GGUF, whole and in chunks beside another", () =>
      withModel("", async (runtime) => {
        const { ids, logits } = golden(name);
        expect(ids).toEqual(idsOf(tiny));
        const whole = await step(runtime, [{ ids, past: 0, pages: [3, 0] }]);
        for (const [t, row] of Object.entries(logits))
          expect(largestError(whole[+t]!, row), `row ${t}`).toBeLessThan(1e-4);
        let past = 0;
        for (const length of [1, 9, 3, 30, 17, 4, 36]) {
          const other = { ids: ids.slice(0, 5), past: 0, pages: [8, 9] };
          const part = { ids: ids.slice(past, past + length), past, pages: [5, 2] };
          const rows = await step(runtime, [other, part]);
          for (let i = 0; i < part.ids.length; i++) expect(rows[5 + i]).toEqual(whole[past + i]);
          past += part.ids.length;
        }
        expect(past).toBe(ids.length);
        if (!tiny.noGguf)
          await withModel(".gguf", async (gguf) => {
            const rows = await step(gguf, [{ ids, past: 0, pages: [0, 1] }]);
            for (const [t, row] of rows.entries()) expect(largestError(row, whole[t]!)).toBeLessThan(1e-4);
          });
      }));

    test.skipIf(label === "reference")(
      "transformers' loss and gradient in training, and a step that equals the float64 reference's",
      async () => {
        const backend = await make();
        const found = await learn(backend);
        backend.close();
        wanted ??= await learn(new ReferenceBackend() as unknown as Backend);
        const { loss, grad_norm } = golden(name);
        expect(found.before).toBeCloseTo(loss, 4);
        expect(wanted.before).toBeCloseTo(loss, 5);
        // Its norms and angles are f32. For 48 ids it takes the short factors of longrope; here the context decides.
        if (name !== "phi3") expect(wanted.grad_norm / grad_norm).toBeCloseTo(1, 2);
        expect(found.grad_norm / wanted.grad_norm).toBeCloseTo(1, 3);
        expect(found.after).toBeCloseTo(wanted.after, 3);
      },
    );
  });
});
