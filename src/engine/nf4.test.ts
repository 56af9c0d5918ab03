// NF4 with double quantization against torch doing what bitsandbytes does (numbers below), and against its definition.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { NF4 } from "./dequantize.ts";
import { DYNAMIC, nf4Magnitudes, nf4Scales, quantizeNf4 } from "./nf4.ts";
import { dequantize } from "./weights.ts";

/** 600 blocks, of a distribution with a peak. */
function values(): Float32Array {
  let seed = 12345;
  const uniform = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return ((seed >>> 8) / 2 ** 24) * 2 - 1;
  };
  return Float32Array.from({ length: 64 * 600 }, () => {
    const u = uniform();
    return (u + uniform()) * u * 0.05;
  });
}

test("codes and scales are those of bitsandbytes, the scales but for their rounding to f16", () => {
  const x = values();
  const magnitudes = nf4Magnitudes(x);
  const scales = nf4Scales(magnitudes);
  const out = new Float32Array(x.length);
  dequantize("nf4", quantizeNf4(x, magnitudes, scales), out);
  const codes = Uint8Array.from(out, (y, i) => {
    const ratio = y / scales[Math.floor(i / 64)]!;
    return NF4.findIndex((v) => Math.abs(v - ratio) < 1e-6);
  });
  expect(createHash("sha256").update(codes).digest("hex")).toBe(
    "ae27d2573226e02004a4923d2b5163fdb785a8c938a054173be13cbf29bd2ad7",
  );
  const wanted = new Map([
    [0, 0.054898605],
    [1, 0.081629775],
    [255, 0.091944888],
    [256, 0.070520841],
    [599, 0.093435936],
  ]);
  for (const [block, scale] of wanted)
    expect(Math.abs(scales[block]! / scale - 1)).toBeLessThan(2 ** -11 + 1e-6);
  let [error, all] = [0, 0];
  x.forEach((v, i) => {
    error += (out[i]! - v) ** 2;
    all += v * v;
  });
  expect(Math.sqrt(error / all)).toBeCloseTo(0.0936933, 5);
});

test("the numbers of eight bits", () => {
  expect(DYNAMIC.length).toBe(256);
  expect(new Set(DYNAMIC).size).toBe(256);
  expect(DYNAMIC[255]).toBe(1);
  expect(DYNAMIC[254]).toBeCloseTo(0.99296875, 7);
  expect(DYNAMIC[0]).toBeCloseTo(-0.99296875, 7);
  expect(DYNAMIC[127]).toBe(0);
  expect(DYNAMIC[128]).toBeCloseTo(5.5e-7, 12);
});

test("blocks of zeros stay zeros, and equal scales stay as they are", () => {
  const x = new Float32Array(192).fill(0.5, 64);
  const magnitudes = nf4Magnitudes(x);
  expect([...magnitudes]).toEqual([0, 0.5, 0.5]);
  const equal = nf4Scales(Float32Array.of(0.5, 0.5, 0.5));
  expect([...equal]).toEqual([0.5, 0.5, 0.5]);
  const out = new Float32Array(192);
  dequantize("nf4", quantizeNf4(x, magnitudes, nf4Scales(magnitudes)), out);
  expect([...out.subarray(0, 64)]).toEqual(new Array(64).fill(0));
  expect(() => nf4Magnitudes(Float32Array.of(1, Number.NaN))).toThrow("value 1 is NaN, want finite values");
});
