/** Rounding of rows to blocks: every backend against the float64 search, and that against what llama.cpp reaches. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMPUTING } from "../../test/helpers/backends.ts";
import type { Backend } from "./backend.ts";
import { createBackend } from "./backends/index.ts";
import { ReferenceBackend } from "./backends/reference.ts";
import { GRIDS, QUANT_TYPES, type QuantType } from "./grids.ts";
import { f16ToF32, f32ToF16 } from "./half.ts";
import { dequantize, floatRows, quantize, weightBytes } from "./weights.ts";

const COLS = 512;

function randoms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) + 0.5) / 2 ** 24;
  };
}

/** Like weights: normal, rows of other sizes, a few values far out. */
function weights(rows: number, seed: number): Float32Array {
  const random = randoms(seed);
  return Float32Array.from({ length: rows * COLS }, (_, i) => {
    const x = Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    return x * 0.02 * 2 ** (Math.floor(i / COLS) % 3) * (random() < 0.003 ? 6 : 1);
  });
}

/** Of columns: from 0.05 to 20 times the mean, as activations have them. */
function importances(seed: number): Float32Array {
  const random = randoms(seed);
  return Float32Array.from({ length: COLS }, () => Math.exp(4 * random() - 2));
}

function squaredError(
  type: QuantType,
  x: Float32Array,
  bytes: Uint8Array,
  importance?: Float32Array,
): number {
  const got = new Float64Array(x.length);
  dequantize(type, bytes, got);
  return got.reduce((sum, v, i) => sum + (v - x[i]!) ** 2 * (importance?.[i % COLS] ?? 1), 0);
}

/** What the search makes least: errors of large values count more. */
function searchedError(
  type: QuantType,
  x: Float32Array,
  bytes: Uint8Array,
  importance?: Float32Array,
): number {
  const got = new Float64Array(x.length);
  dequantize(type, bytes, got);
  const { block } = GRIDS[type];
  let sum = 0;
  for (let i = 0; i < x.length; i += block) {
    const mean = x.subarray(i, i + block).reduce((a, v) => a + v * v, 0) / block;
    for (let j = i; j < i + block; j++)
      sum += (got[j]! - x[j]!) ** 2 * Math.sqrt(1 + (x[j]! * x[j]!) / mean) * (importance?.[j % COLS] ?? 1);
  }
  return sum;
}

const reference = new ReferenceBackend();
const rows = 19;
const x = weights(rows, 5);
const importance = importances(11);

describe.each(COMPUTING)("encode, $label", ({ options }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.close());

  test.each(QUANT_TYPES)("%s leaves what the reference leaves", async (type) => {
    for (const by of [undefined, importance]) {
      const [got, want] = [
        await backend.encode(type, floatRows(x), COLS, by),
        await reference.encode(type, floatRows(x), COLS, by),
      ];
      expect(got.length).toBe(weightBytes(type, x.length));
      const ratio = searchedError(type, x, got, by) / searchedError(type, x, want, by);
      // Coarse integers have many states that leave nearly the same: 38 blocks of q2_k are few. Eight bits leave so little that
      // sums in f32 tell starts apart only so far.
      expect(Math.abs(ratio - 1)).toBeLessThan(type === "q2_k" ? 0.004 : type === "q8_0" ? 0.002 : 0.001);
      // Where two states leave nearly the same, either may be kept: a block here and there differs.
      const [a, b] = [got, want].map((bytes) => {
        const out = new Float32Array(x.length);
        dequantize(type, bytes, out);
        return out;
      });
      const { block } = GRIDS[type];
      let other = 0;
      for (let i = 0; i < x.length; i += block)
        if (a!.subarray(i, i + block).some((v, j) => v !== b![i + j])) other++;
      expect(other / (x.length / block)).toBeLessThan(block === 256 ? 0.5 : 0.05);
    }
  });

  test("rows in pieces, and any number of threads, give the same bytes", async () => {
    const alone = await createBackend({ ...options, threads: 1 });
    for (const type of ["q4_0", "q2_k"] as const) {
      const whole = await backend.encode(type, floatRows(x), COLS, importance);
      expect(await alone.encode(type, floatRows(x), COLS, importance)).toEqual(whole);
      const first = await backend.encode(type, floatRows(x.subarray(0, 5 * COLS)), COLS, importance);
      const rest = await backend.encode(type, floatRows(x.subarray(5 * COLS)), COLS, importance);
      expect(Uint8Array.of(...first, ...rest)).toEqual(whole);
    }
    alone.close();
  });

  test.each(["f16", "bf16"] as const)("rows of %s give the bytes of their values", async (from) => {
    const half = quantize(from, x);
    const values = new Float32Array(x.length);
    dequantize(from, half, values);
    // One byte further: files put tensors where they like.
    const odd = new Uint8Array(half.length + 1).subarray(1);
    odd.set(half);
    for (const type of ["q8_0", "q4_k"] as const) {
      const want = await backend.encode(type, floatRows(values), COLS, importance);
      for (const bytes of [half, odd])
        expect(await backend.encode(type, { type: from, bytes }, COLS, importance)).toEqual(want);
    }
  });

  test("more than a piece at once", async () => {
    const many = new Float32Array(2100 * COLS); // more than 2^20 values
    for (let r = 0; r < 2100; r += rows) many.set(x.subarray(0, Math.min(rows, 2100 - r) * COLS), r * COLS);
    const bytes = await backend.encode("q8_0", floatRows(many), COLS);
    const once = await backend.encode("q8_0", floatRows(x), COLS);
    for (let r = 0; r < 2100; r += rows) {
      const n = Math.min(rows, 2100 - r) * weightBytes("q8_0", COLS);
      const at = r * weightBytes("q8_0", COLS);
      expect(Buffer.compare(bytes.subarray(at, at + n), once.subarray(0, n))).toBe(0);
    }
  });

  checks(() => backend);
});

describe("encode, reference", () => {
  checks(() => reference);

  // The errors that llama.cpp's quantizers leave on the same weights, without and with an importance matrix.
  const golden = JSON.parse(
    readFileSync(new URL("../../test/golden/llama-quantize.json", import.meta.url), "utf8"),
  ) as { errors: Record<string, [plain: number, weighted: number]> };
  test.each(Object.entries(golden.errors))(
    "%s: no more error than llama.cpp leaves",
    async (name, [plain, weighted]) => {
      const type = name as QuantType;
      const values = weights(64, 77);
      const by = importances(78);
      const own = squaredError(type, values, await reference.encode(type, floatRows(values), COLS));
      expect(own).toBeLessThan(plain);
      const ownWeighted = squaredError(
        type,
        values,
        await reference.encode(type, floatRows(values), COLS, by),
        by,
      );
      expect(ownWeighted).toBeLessThan(weighted);
    },
  );
});

function checks(backend: () => Backend): void {
  test.each(QUANT_TYPES)("%s: zeros, one large value, tiny values", async (type) => {
    const zeros = new Float32Array(COLS);
    const out = new Float32Array(COLS);
    dequantize(type, await backend().encode(type, floatRows(zeros), COLS, importance), out);
    expect(out.every((v) => v === 0)).toBe(true);

    const spike = weights(1, 3);
    spike[40] = 1000;
    dequantize(type, await backend().encode(type, floatRows(spike), COLS), out);
    expect(Math.abs(out[40]! - 1000)).toBeLessThan(1000 / 8);

    // Denormals, and values whose scale is one of f16's: nothing but small numbers may come of them.
    for (const size of [1e-42, 1e-20, 1e-7, 1e-5]) {
      const tiny = weights(1, 4).map((v) => v * 50 * size);
      dequantize(type, await backend().encode(type, floatRows(tiny), COLS, importance), out);
      const most = Math.max(...tiny.map(Math.abs));
      expect(Math.max(...out.map(Math.abs))).toBeLessThanOrEqual(Math.max(most * 1.5, 1.2e-7));
    }
  });

  test.each(["tq2_0", "tq1_0"] as const)("%s of ternary values is exact", async (type) => {
    const random = randoms(9);
    const values = new Float32Array(8 * COLS);
    for (let i = 0; i < values.length; i += 256) {
      const d = f16ToF32(f32ToF16(0.001 + random()));
      for (let j = i; j < i + 256; j++) values[j] = d * (Math.floor(random() * 3) - 1);
    }
    const out = new Float32Array(values.length);
    for (const by of [undefined, importance]) {
      dequantize(type, await backend().encode(type, floatRows(values), COLS, by), out);
      expect(out.map((v) => v + 0)).toEqual(values.map((v) => v + 0)); // no -0
    }
  });

  test("what cannot be encoded is named", async () => {
    const encode = (type: QuantType, v: Float32Array, cols = COLS, by?: Float32Array) =>
      backend().encode(type, floatRows(v), cols, by);
    for (const [value, says] of [
      [Number.NaN, "row 18, column 301 is NaN, want finite numbers"],
      [Number.NEGATIVE_INFINITY, "row 18, column 301 is -Infinity, want finite numbers"],
      [1e12, "row 18, column 301 is 999999995904, want numbers whose scale fits in f16"],
      [3e38, /row 18, column 301 is .*e\+38, want numbers whose scale fits in f16/],
    ] as const) {
      const bad = x.slice();
      bad[18 * COLS + 301] = value;
      for (const type of ["q4_0", "q4_k", "q6_k", "tq2_0"] as const)
        await expect(encode(type, bad)).rejects.toThrow(says);
    }
    await expect(encode("q4_k", x.subarray(0, 384), 384)).rejects.toThrow(
      "Cannot encode rows of 384 to q4_k: want a multiple of 256",
    );
    await expect(encode("q4_k", x.subarray(1))).rejects.toThrow("want rows of 512");
    await expect(encode("q4_k", x, COLS, importance.subarray(1))).rejects.toThrow(
      "Cannot encode to q4_k: 511 numbers of importance, want 512",
    );
    const negative = importance.slice();
    negative[7] = -1;
    await expect(encode("q4_k", x, COLS, negative)).rejects.toThrow("importance of column 7 is -1");
    expect(await encode("q4_k", new Float32Array(0))).toEqual(new Uint8Array(0));
    // Nothing seen at all is as no importance.
    expect(await encode("q4_0", x, COLS, new Float32Array(COLS))).toEqual(await encode("q4_0", x));
  });
}
