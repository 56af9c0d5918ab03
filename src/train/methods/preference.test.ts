// Preference tuning: what it starts from, that micro-batches and packing change nothing, that it learns; refusals.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TINY_BASES } from "../../../test/helpers/tiny-adapters.ts";
import { tinyIds, writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import { createBackend } from "../../engine/backends/index.ts";
import { type OpenedModel, openModel } from "../../models/index.ts";
import { packItems } from "../batches.ts";
import type { Pair, Sample } from "../types.ts";
import { openTrainable } from "./index.ts";
import { type PreferenceOptions, type PreferenceResult, PreferenceStep } from "./preference.ts";

const backend = await createBackend({ threads: 2 });
let dir: string;
let model: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-preference-"));
  await writeTinyModel(dir, TINY_BASES.qwen2);
  model = await openModel(dir);
});
afterAll(async () => {
  await model.close();
  backend.close();
  await rm(dir, { recursive: true });
});

const SIZE = { ctx: 64, tokens: 200, sequences: 8 };
const open = async (options: PreferenceOptions = {}, size = SIZE) =>
  new PreferenceStep(backend, await openTrainable(model, backend, { rank: 4 }), size, options);

/** A prompt of 9 tokens that both answers share, then answers of their own. */
function pair(n: number): Pair {
  const prompt = tinyIds(9, 70, n);
  const sample = (answer: number[]): Sample => {
    const ids = Int32Array.from([...prompt, ...answer]);
    return { ids, learned: Uint8Array.from(ids, (_, i) => Number(i >= 9)), source: { file: "p", line: n } };
  };
  return {
    chosen: sample(tinyIds(6 + n, 35, n)),
    rejected: sample(tinyIds(11 - n, 35, n + 7).map((id) => id + 35)),
  };
}
const pairs = [0, 1, 2, 3].map(pair);

test("starts at log 2, and learns to prefer", async () => {
  const step = await open();
  const batches = packItems(pairs, SIZE);
  expect(batches.length).toBe(1);
  const first = await step.step(batches, { lr: 5e-3 });
  expect(first).toMatchObject({ margin: 0, accuracy: 0, tokens: 6 + 7 + 8 + 9 + 11 + 10 + 9 + 8 });
  expect(first.loss).toBeCloseTo(Math.log(2), 6);
  for (let i = 0; i < 20; i++) await step.step(batches, { lr: 5e-3 });
  const last = await step.evaluate(batches[0]!);
  expect(last).toMatchObject({ tokens: 4, accuracy: 1 });
  expect(last.loss).toBeLessThan(0.3);
  expect(last.loss).toBeLessThan(Math.log1p(Math.exp(-last.margin)) + 0.05);
  step.close();
});

test("pairs in one micro-batch or in several give the same step", async () => {
  const results: PreferenceResult[][] = [];
  for (const size of [SIZE, { ...SIZE, sequences: 2 }]) {
    const step = await open({ beta: 0.5, label_smoothing: 0.2 }, size);
    const batches = packItems(pairs, size);
    expect(batches.length).toBe(size.sequences === 2 ? 4 : 1);
    const list: PreferenceResult[] = [];
    for (let i = 0; i < 3; i++) list.push(await step.step(batches, { lr: 5e-3 }));
    results.push(list);
    step.close();
  }
  results[0]!.forEach((result, i) => {
    for (const key of ["loss", "grad_norm", "margin"] as const)
      expect(result[key]).toBeCloseTo(results[1]![i]![key], 4);
  });
});

test("what is no pair, and options out of range, are refused", async () => {
  await expect(open({ beta: 0 })).rejects.toThrow("beta 0: wanted a number above 0");
  await expect(open({ label_smoothing: 0.5 })).rejects.toThrow("label_smoothing 0.5");
  await expect(open({}, { ...SIZE, sequences: 1 })).rejects.toThrow("1 sequence a batch: wanted 2 or more");
  const full = await openTrainable(model, backend, { method: "full" });
  expect(() => new PreferenceStep(backend, full, SIZE)).toThrow(
    "wanted an adapter, which can be switched off",
  );
  const dropped = await openTrainable(model, backend, { dropout: 0.1 });
  expect(() => new PreferenceStep(backend, dropped, SIZE)).toThrow("with dropout: wanted an adapter without");
  const step = await open();
  const [batch] = packItems(pairs, SIZE);
  const options = { lr: 1e-3 };
  await expect(step.step([{ ...batch!, starts: [0, 20, 40] }], options)).rejects.toThrow("on 3 sequences");
  const mute = { ...batch!, targets: batch!.targets.map((t, i) => (i < batch!.starts[1]! ? -1 : t)) };
  await expect(step.step([mute], options)).rejects.toThrow("on an answer without targets");
  await expect(step.step([], options)).rejects.toThrow("on no pairs");
  expect(step.steps).toBe(0);
  step.close();
});
