import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createBackend } from "../engine/backends/index.ts";
import { GRIDS, groupSteps, type QuantType, unpackParts } from "../engine/grids.ts";
import { dequantize, quantize, type WeightType } from "../engine/weights.ts";
import { openModel } from "../models/index.ts";
import { packItems, type Sample } from "../train/index.ts";
import { quantizeCalibrated } from "./calibrated.ts";
import { Rounder } from "./gptq.ts";
import { makeTriangle, RowErrors } from "./moments.ts";
import type { LinearInput, StreamState } from "./stream.ts";

/** Deterministic, roughly normal. */
function normal(n: number, seed: number): Float32Array {
  let s = seed >>> 0;
  const next = () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
  return Float32Array.from({ length: n }, () => next() + next() + next() + next() - 2);
}

/**
 * GPTQ as its paper derives it: after each column the inverse of H is rid of it by Gaussian elimination, and the error goes to
 * the columns that are left by that inverse's row. Float64, no factorization.
 */
function denseGptq(
  W: Float32Array,
  H: Float64Array,
  K: number,
  order: Int32Array,
  type: QuantType,
  blocks: Uint8Array,
) {
  const { group, levels, zero } = GRIDS[type];
  const { a, m } = groupSteps(type, unpackParts(type, blocks, W.length));
  const inverse = invert(H, K);
  const rest = Float64Array.from(W);
  const codes = new Uint8Array(W.length);
  for (let p = K - 1; p >= 0; p--) {
    const c = order[p]!;
    const pivot = inverse[c * K + c]!;
    for (let r = 0; r < W.length / K; r++) {
      const g = (r * K + c - ((r * K + c) % group)) / group;
      const minimum = m ? m[g]! : a[g]! * zero;
      const code = (rest[r * K + c]! + minimum) / a[g]!;
      const q = Math.floor(Math.min(Math.max(code, 0), levels - 1) + 0.5);
      codes[r * K + c] = q;
      const e = (rest[r * K + c]! - (a[g]! * q - minimum)) / pivot;
      for (let j = 0; j < K; j++) rest[r * K + j]! -= e * inverse[c * K + j]!;
    }
    const line = inverse.slice(c * K, c * K + K);
    for (let i = 0; i < K; i++) {
      const f = inverse[i * K + c]! / pivot;
      for (let j = 0; j < K; j++) inverse[i * K + j]! -= f * line[j]!;
    }
    for (let j = 0; j < K; j++) inverse[j * K + c] = inverse[c * K + j] = 0;
  }
  return codes;
}

function invert(H: Float64Array, K: number): Float64Array {
  const [A, B] = [H.slice(), new Float64Array(K * K)];
  for (let i = 0; i < K; i++) B[i * K + i] = 1;
  for (let c = 0; c < K; c++) {
    const pivot = A[c * K + c]!;
    for (let j = 0; j < K; j++) {
      A[c * K + j]! /= pivot;
      B[c * K + j]! /= pivot;
    }
    for (let i = 0; i < K; i++) {
      const f = A[i * K + c]!;
      if (i === c || f === 0) continue;
      for (let j = 0; j < K; j++) {
        A[i * K + j]! -= f * A[c * K + j]!;
        B[i * K + j]! -= f * B[c * K + j]!;
      }
    }
  }
  return B;
}

/** Inputs whose columns resemble each other, and whose sizes differ. */
function inputOf(backend: Awaited<ReturnType<typeof createBackend>>, K: number, tokens: number) {
  const base = normal(tokens * K, 7);
  const X = base.map((v, i) => (v + 0.8 * base[i - (i % K) + (i % 5)]!) * (1 + (i % K) / 20));
  const H = new Float64Array(K * K);
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < K; i++) for (let j = 0; j < K; j++) H[i * K + j]! += X[t * K + i]! * X[t * K + j]!;
  const squares = Float32Array.from({ length: K }, (_, i) => H[i * K + i]! / tokens);
  const products = backend.dense("f32", [K, K], Float32Array.from(H));
  const input: LinearInput = { weights: ["w"], columns: K, tokens, squares, products };
  return { input, H };
}

test.each(["activation", "natural"] as const)(
  "codes are those of the dense method, %s order",
  async (order) => {
    const backend = await createBackend({ threads: 2 });
    for (const [type, K] of [
      ["q4_0", 64],
      ["q8_0", 96],
    ] as const) {
      const W = normal(24 * K, 3);
      const { input, H } = inputOf(backend, K, 200);
      const blocks = quantize(type, W);
      const triangle = await makeTriangle(backend, input, { damping: 0.02, order });
      const rounder = new Rounder(backend, triangle);
      const bytes = await rounder.round(type, W, blocks);
      const mean = (input.squares.reduce((a, b) => a + b, 0) * 200) / K;
      for (let i = 0; i < K; i++) H[i * K + i]! += 0.02 * mean;
      const found = unpackParts(type, bytes, W.length);
      expect(found.codes).toEqual(denseGptq(W, H, K, triangle.order, type, blocks));
      expect(found.d).toEqual(unpackParts(type, blocks, W.length).d);
      rounder.free();
      triangle.free();
    }
    backend.close();
  },
);

test("moments that say nothing of some columns are rounded by all the same", async () => {
  const backend = await createBackend({ threads: 1 });
  const K = 32;
  const W = normal(16 * K, 5);
  for (const H of [new Float32Array(K * K), new Float32Array(K * K).fill(1)]) {
    const squares = new Float32Array(K).fill(H[0]!);
    const products = backend.dense("f32", [K, K], H);
    const input: LinearInput = { weights: ["w"], columns: K, tokens: 1, squares, products };
    const triangle = await makeTriangle(backend, input, { damping: 0 });
    const rounder = new Rounder(backend, triangle);
    const values = new Float32Array(W.length);
    dequantize("q4_0", await rounder.round("q4_0", W, quantize("q4_0", W)), values);
    expect(values.every(Number.isFinite)).toBe(true);
    rounder.free();
    triangle.free();
  }
  const bad: LinearInput = {
    ...{ weights: ["w"], columns: K, tokens: 1, squares: new Float32Array(K).fill(1) },
    products: backend.dense("f32", [K, K], new Float32Array(K * K).fill(Number.NaN)),
  };
  await expect(makeTriangle(backend, bad)).rejects.toThrow("Cannot calibrate w: the moments");
  backend.close();
});

test("errors of rows are what the changed rows compute", async () => {
  const backend = await createBackend({ threads: 1 });
  const K = 40;
  const { input, H } = inputOf(backend, K, 50);
  const delta = normal(5 * K, 9);
  const errors = new RowErrors(backend, input.products!, K, 5);
  const found = await errors.of(delta);
  for (let r = 0; r < 5; r++) {
    let wanted = 0;
    for (let i = 0; i < K; i++)
      for (let j = 0; j < K; j++) wanted += delta[r * K + i]! * H[i * K + j]! * delta[r * K + j]!;
    expect(found[r]! / wanted).toBeCloseTo(1, 4);
  }
  errors.free();
  backend.close();
});

test("every linear of a trained model computes closer to the original than rounded; a resumed run ends in the same blocks", async () => {
  const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
  const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
  const model = await openModel(STORIES);
  const backend = await createBackend({ threads: 2 });
  const tokenizer = await model.tokenizer();
  const samples = (stories(6, 5) as string[]).map((text): Sample => {
    const ids = Int32Array.from(tokenizer.encode(text)).slice(0, 128);
    return {
      ids,
      learned: new Uint8Array(ids.length).fill(1),
      source: { file: "stories", line: 1 },
    } as unknown as Sample;
  });
  const limits = { ctx: 128, tokens: 256, sequences: 8 };
  const calibration = { limits, batches: packItems(samples, limits), samples, targets: 1, digests: {} };
  const types = new Map<string, WeightType>();
  for (const [name, shape] of model.definition.params(model.config))
    if (shape.length === 2) types.set(name, shape[1]! % 32 === 0 ? "q4_0" : "f16");
  const made = new Map<string, Uint8Array>();
  let middle: StreamState | undefined;
  let linears = 0;
  for await (const part of quantizeCalibrated(model, backend, { method: "gptq", types, calibration })) {
    for (const [name, { bytes }] of part.blocks) made.set(name, bytes);
    for (const [name, { rounded, error }] of part.errors) {
      linears++;
      expect(error, name).toBeLessThan(rounded);
      expect(rounded, name).toBeLessThan(0.1);
    }
    if (part.part === 0) middle = part.state;
  }
  expect(linears).toBeGreaterThanOrEqual(7 * model.config.num_hidden_layers - 1);
  const again: string[] = [];
  for await (const part of quantizeCalibrated(model, backend, {
    method: "gptq",
    types,
    calibration,
    resume: middle!,
  }))
    for (const [name, { bytes }] of part.blocks) {
      again.push(name);
      expect(bytes, name).toEqual(made.get(name));
    }
  expect(again.some((name) => name.includes("layers.0."))).toBe(false);
  expect(again.length).toBeGreaterThan(0);
  backend.close();
  await model.close();
});
