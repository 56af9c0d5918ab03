import { describe, expect, test } from "vitest";
import { randomBlocks } from "./conformance/blocks.ts";
import {
  GRIDS,
  groupSteps,
  isQuantType,
  packParts,
  QUANT_TYPES,
  type QuantType,
  unpackParts,
} from "./grids.ts";
import { dequantize, quantize, WEIGHT_TYPES } from "./weights.ts";

/** Random blocks as a packer writes them: in ternary types, random bytes are no codes. */
function blocks(type: QuantType, elements: number, seed: number): Uint8Array {
  const bytes = randomBlocks(type, elements, seed);
  if (GRIDS[type].levels !== 3) return bytes;
  const codes = Uint8Array.from({ length: elements }, (_, i) => ((i * 2654435761) >>> 7) % 3);
  return packParts(type, { ...unpackParts(type, bytes, elements), codes });
}

describe("grids", () => {
  test.each(QUANT_TYPES)("%s: its block is the file's", (type) => {
    const { block, group, levels, min, zero } = GRIDS[type];
    expect(block).toBe(WEIGHT_TYPES[type].blockSize);
    expect(block % group).toBe(0);
    expect(zero).toBe(min ? 0 : levels >> 1);
    expect(isQuantType(type)).toBe(true);
    expect(isQuantType("f16")).toBe(false);
  });

  test.each(QUANT_TYPES)("%s: parts are what dequantize reads", (type) => {
    const elements = 256 * 40;
    const bytes = blocks(type, elements, 3);
    const parts = unpackParts(type, bytes, elements);
    const want = new Float64Array(elements);
    dequantize(type, bytes, want);
    const { group, block, zero } = GRIDS[type];
    const { a, m } = groupSteps(type, parts);
    for (let i = 0; i < elements; i++) {
      const [n, g] = [Math.floor(i / block), Math.floor(i / group)];
      const code = parts.codes[i]!;
      const got =
        parts.d[n]! * (parts.scales?.[g] ?? 1) * (code - zero) -
        (parts.dmin?.[n] ?? 0) * (parts.mins?.[g] ?? 1);
      if (got !== want[i]) expect.fail(`element ${i}: ${got}, want ${want[i]}`);
      if (a[g]! * (code - zero) - (m?.[g] ?? 0) !== want[i]) expect.fail(`steps of element ${i}`);
    }
  });

  test.each(QUANT_TYPES)("%s: bytes taken apart and packed again are the same bytes", (type) => {
    const elements = 256 * 40;
    const bytes = blocks(type, elements, 7);
    expect(packParts(type, unpackParts(type, bytes, elements))).toEqual(bytes);
  });

  test.each(["q8_0", "q4_0"] as const)("%s: of the other quantizer's bytes too", (type) => {
    const x = Float32Array.from({ length: 3200 }, (_, i) => Math.sin(i * 1.7) * 2 ** ((i >> 8) % 9));
    const bytes = quantize(type, x);
    const parts = unpackParts(type, bytes, x.length);
    expect(packParts(type, parts)).toEqual(bytes);
    // A step is at most 1 / 8 of the largest of 32 values, and no value lies further than a step from its code.
    const { a } = groupSteps(type, parts);
    x.forEach((v, i) => {
      const d = a[i >> 5]!;
      expect(Math.abs(d * (parts.codes[i]! - GRIDS[type].zero) - v)).toBeLessThan(Math.abs(d) * 1.01);
    });
  });

  test("what a grid has not is refused by name", () => {
    const parts = unpackParts("q3_k", randomBlocks("q3_k", 256, 1), 256);
    expect(() => packParts("q3_k", { ...parts, codes: new Uint8Array(256).fill(8) })).toThrow(
      "Cannot pack q3_k: codes[0] is 8, want 0 to 7",
    );
    expect(() => packParts("q3_k", { ...parts, scales: new Int8Array(16).fill(32) })).toThrow(
      "Cannot pack q3_k: scales[0] is 32, want -32 to 31",
    );
    expect(() => packParts("q3_k", { ...parts, d: Float32Array.of(1e6) })).toThrow(
      "Cannot pack q3_k: d[0] is 1000000, want a number that is finite in f16",
    );
    expect(() => packParts("q3_k", { ...parts, d: Float32Array.of(Number.NaN) })).toThrow("d[0] is NaN");
    expect(() => packParts("q3_k", { ...parts, mins: new Int8Array(16) })).toThrow(
      "Cannot pack q3_k: 16 mins, want none",
    );
    expect(() => packParts("q4_k", parts)).toThrow("Cannot pack q4_k: 16 scales, want 8");
    expect(() => unpackParts("q4_k", new Uint8Array(143), 256)).toThrow(
      "Cannot unpack 256 elements of q4_k: found 143 bytes, want 144",
    );
  });
});
