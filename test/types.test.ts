// A model in every weight type and KV type, on every backend: near the float64 reference run of the same file, and the
// same bits however its tokens are cut into steps.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend, KvType } from "../src/engine/backend.ts";
import { ReferenceBackend } from "../src/engine/backends/reference.ts";
import {
  convert,
  createRuntime,
  openModel,
  quantizedModel,
  type Runtime,
  SAVE_TYPES,
  type SaveType,
} from "../src/models/index.ts";
import { backends } from "./helpers/backends.ts";
import { step } from "./helpers/step.ts";
import { TINY, tinyIds, writeTinyModel } from "./helpers/tiny-models.ts";
import { writeTinyTokenizer } from "./helpers/tiny-tokenizer.ts";

const ids = tinyIds(80, TINY.qwen2.vocab_size);
const TYPES = [...SAVE_TYPES, "q8_0", "q4_0"] as const;
let dir: string;
const wanted = new Map<string, Float32Array[]>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-types-"));
  await writeTinyModel(join(dir, "qwen2"), TINY.qwen2);
  await writeTinyTokenizer(join(dir, "qwen2"));
  const model = await openModel(join(dir, "qwen2"));
  for (const type of TYPES) {
    const made = type === "q8_0" || type === "q4_0" ? quantizedModel(model, type) : model;
    await convert(made, join(dir, `${type}.gguf`), made === model ? { type: type as SaveType } : {});
    for (const kv of ["f32", "f16"] as const)
      await withRuntime(new ReferenceBackend(), type, kv, async (runtime) => {
        wanted.set(type + kv, await step(runtime, [{ ids, past: 0, pages: [0, 1] }]));
      });
  }
  await model.close();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function withRuntime(
  backend: Backend,
  type: (typeof TYPES)[number],
  kv: KvType,
  use: (runtime: Runtime) => Promise<void>,
) {
  const model = await openModel(join(dir, `${type}.gguf`));
  try {
    const maxima = { T: 128, S: 4, R: 128 };
    const runtime = await createRuntime(model, backend, { ctx: 128, cacheTokens: 512, kv, maxima });
    await use(runtime);
    runtime.close();
  } finally {
    await model.close();
    backend.close();
  }
}

const rms = (x: ArrayLike<number>) =>
  Math.sqrt(Array.from(x, (v) => v * v).reduce((a, b) => a + b) / x.length);

describe.each(backends.slice(1))("%s", (_, make) => {
  describe.each(TYPES)("%s", (type) => {
    test.each(["f32", "f16"] as const)("KV in %s", async (kv) => {
      await withRuntime(await make(), type, kv, async (runtime) => {
        const whole = await step(runtime, [{ ids, past: 0, pages: [0, 1] }]);
        const errors = whole.map((row, t) => {
          const reference = wanted.get(type + kv)![t]!;
          return rms(row.map((x, i) => x - reference[i]!)) / rms(reference);
        });
        errors.sort((a, b) => a - b);
        // A value between two int8 or f16 ones may go either way, and then what follows differs a little; where none
        // does, only the order of f32 sums is left.
        const [first, middle, last] = [0, errors.length >> 1, errors.length - 1].map((i) => errors[i]!);
        expect(first).toBeLessThan(1e-5);
        expect(middle).toBeLessThan(type.startsWith("q") ? 5e-3 : kv === "f16" ? 1e-4 : 1e-5);
        expect(last).toBeLessThan(type.startsWith("q") ? 5e-2 : kv === "f16" ? 1e-3 : 1e-5);
        let past = 0;
        for (const length of [1, 3, 8, 17, 33, 18]) {
          const rows = await step(runtime, [
            { ids: ids.slice(past, past + length), past, pages: [5, 3] },
            { ids: tinyIds(2, 70, 9), past: 0, pages: [6] },
          ]);
          for (let i = 0; i < length; i++) expect(rows[i]).toEqual(whole[past + i]);
          past += length;
        }
      });
    });
  });
});
