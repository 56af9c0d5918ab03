// Dropout of an adapter's input: seeded, the same again, scaled so that its mean is the loss without; only while learning.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fill, TINY_BASES } from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import type { Backend } from "../../engine/backend.ts";
import { createBackend } from "../../engine/backends/index.ts";
import { dropout } from "../../engine/nn.ts";
import { record } from "../../engine/program.ts";
import { type OpenedModel, openModel } from "../../models/index.ts";
import { TrainStep } from "../step.ts";
import type { TrainBatch } from "../types.ts";
import { adapterTrainable } from "./adapter.ts";

const backend = await createBackend({ threads: 2 });
let dir: string;
let model: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-dropout-"));
  await writeTinyModel(dir, TINY_BASES.qwen2);
  model = await openModel(dir);
});
afterAll(async () => {
  await model.close();
  backend.close();
  await rm(dir, { recursive: true });
});

const tokens = Int32Array.from(tinyIds(40, 70));
const BATCH: TrainBatch = { tokens, targets: tokens.map((_, i) => tokens[i + 1] ?? -1), starts: [0] };
const SIZE = { ctx: 64, tokens: 64, sequences: 1 };

async function losses(on: Backend, options: { dropout: number; seed: number; recompute?: boolean }) {
  const { recompute = false, ...adapter } = options;
  const trainable = await adapterTrainable(model, on, { rank: 4, targets: ["o_proj"], ...adapter });
  const step = new TrainStep(on, trainable, SIZE, { recompute });
  for (const [name, shape] of step.trained) step.write(name, fill(name, shape));
  const result = { learning: [] as number[], evaluated: (await step.evaluate(BATCH)).loss };
  for (let i = 0; i < 4; i++) result.learning.push((await step.step([BATCH, BATCH], { lr: 1e-3 })).loss);
  step.close();
  return result;
}

test("masks follow from the seed, the step and the micro-batch; evaluation has none", async () => {
  const without = await losses(backend, { dropout: 0, seed: 1 });
  const one = await losses(backend, { dropout: 0.2, seed: 1 });
  expect(one.evaluated).toBe(without.evaluated);
  expect(one.learning).not.toEqual(without.learning);
  expect(await losses(backend, { dropout: 0.2, seed: 1 })).toEqual(one);
  expect((await losses(backend, { dropout: 0.2, seed: 1, recompute: true })).learning).toEqual(one.learning);
  const reference = await createBackend({ backend: "reference" });
  (await losses(reference, { dropout: 0.2, seed: 1 })).learning.forEach((loss, i) => {
    expect(Math.abs(loss - one.learning[i]!)).toBeLessThan(1e-4);
  });
  // Other seeds begin with another A too, but the values of `fill` took its place.
  expect((await losses(backend, { dropout: 0.2, seed: 2 })).learning).not.toEqual(one.learning);
});

test("of many elements the wanted share is left out, and the mean stays", async () => {
  const [n, p] = [4000, 0.3];
  const seen: Float32Array[] = [];
  for (const number of [0, 1]) {
    const program = record((g) => ({
      y: dropout(g.input("x", "f32", ["T", n]), g.input("seed", "i32", [1]), { p, number }),
    }));
    const executable = backend.compile(program, { T: 5, S: 0, R: 0 });
    const y = new Float32Array(5 * n);
    await executable.run(
      { T: 5, S: 0, R: 0 },
      { x: new Float32Array(5 * n).fill(1), seed: Int32Array.of(7) },
    );
    executable.read("y", y);
    executable.free();
    const zeros = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(zeros - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / y.length));
    expect(y.find((v) => v !== 0)).toBeCloseTo(1 / 0.7, 6);
    seen.push(y);
  }
  // Masks of other numbers are independent: both are zero in p² of the places.
  const both = seen[0]!.filter((v, i) => v === 0 && seen[1]![i] === 0).length / (5 * n);
  expect(Math.abs(both - p * p)).toBeLessThan(0.01);
});

test("what is no chance, and DoRA, are refused", async () => {
  const open = (dropout: number, dora = false) => adapterTrainable(model, backend, { dropout, dora });
  await expect(open(1)).rejects.toThrow("dropout 1: wanted a number from 0 to below 1");
  await expect(open(Number.NaN)).rejects.toThrow("dropout NaN");
  await expect(open(0.1, true)).rejects.toThrow("and 0 with DoRA");
});
