import { describe, expect, test } from "vitest";
import {
  bf16ToF32,
  bf16ToF32Array,
  f16ToF32,
  f16ToF32Array,
  f32ToBf16,
  f32ToBf16Array,
  f32ToF16,
  f32ToF16Array,
} from "./half.ts";

/** The value of 16 bits by the definition of the format, in double precision. */
function definedValue(bits: number, exponentBits: number): number {
  const mantissaBits = 15 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> mantissaBits;
  const mantissa = bits & (2 ** mantissaBits - 1);
  if (exponent === 2 ** exponentBits - 1) return mantissa ? Number.NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

const formats = [
  { name: "f16", exponentBits: 5, widen: f16ToF32, narrow: f32ToF16, quietBit: 0x200 },
  { name: "bf16", exponentBits: 8, widen: bf16ToF32, narrow: f32ToBf16, quietBit: 0x40 },
];

describe.each(formats)("$name", ({ exponentBits, widen, narrow, quietBit }) => {
  test("each of the 65,536 has the value the format defines, and comes back as the same bits", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = definedValue(bits, exponentBits);
      const got = widen(bits);
      if (!Object.is(got, value)) expect.fail(`${bits.toString(16)}: found ${got}, want ${value}`);
      const back = narrow(got);
      if (Number.isNaN(value)) {
        // NaN payloads may pass through a JavaScript number changed, but NaN stays NaN and quiet.
        if (!Number.isNaN(definedValue(back, exponentBits)) || !(back & quietBit)) {
          expect.fail(`NaN ${bits.toString(16)} came back as ${back.toString(16)}`);
        }
      } else if (back !== bits) expect.fail(`${bits.toString(16)} came back as ${back.toString(16)}`);
    }
  });

  test("rounds to nearest, ties to even, between every two neighbours", () => {
    const f32 = new Float32Array(1);
    const u32 = new Uint32Array(f32.buffer);
    const step = (x: number, by: number) => {
      f32[0] = x;
      u32[0]! += by;
      return f32[0]!;
    };
    const infinity = exponentBits === 5 ? 0x7c00 : 0x7f80;
    for (let bits = 0; bits < infinity - 1; bits++) {
      const low = definedValue(bits, exponentBits);
      const middle = (low + definedValue(bits + 1, exponentBits)) / 2;
      if (Math.fround(middle) !== middle) continue; // below the last bf16 subnormals f32 has no middle
      const even = bits & 1 ? bits + 1 : bits;
      for (const sign of [0, 0x8000]) {
        const by = sign ? -1 : 1;
        if (narrow(by * middle) !== (sign | even)) expect.fail(`tie above ${bits.toString(16)}`);
        if (narrow(by * step(middle, -1)) !== (sign | bits)) expect.fail(`below tie ${bits.toString(16)}`);
        if (narrow(by * step(middle, 1)) !== (sign | (bits + 1)))
          expect.fail(`above tie ${bits.toString(16)}`);
      }
    }
  });

  test("overflows to infinity halfway past the largest", () => {
    const infinity = exponentBits === 5 ? 0x7c00 : 0x7f80;
    const largest = definedValue(infinity - 1, exponentBits);
    expect(narrow(largest)).toBe(infinity - 1);
    // Halfway is 65520 for f16, and 3.396e38 for bf16, where the next would be 2^128.
    expect(narrow(exponentBits === 5 ? 65519.99 : 3.3961e38)).toBe(infinity - 1);
    expect(narrow(exponentBits === 5 ? 65520 : 3.3962e38)).toBe(infinity);
    expect(narrow(Infinity)).toBe(infinity);
    expect(narrow(-Infinity)).toBe(infinity | 0x8000);
    expect(narrow(0)).toBe(0);
    expect(narrow(-0)).toBe(0x8000);
  });
});

test("the array forms equal the scalar ones", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  for (const [widen, scalar] of [
    [f16ToF32Array, f16ToF32],
    [bf16ToF32Array, bf16ToF32],
  ] as const) {
    const f32 = new Float32Array(65536);
    const f64 = new Float64Array(65536);
    widen(all, f32);
    widen(all, f64);
    for (const bits of all) {
      if (!Object.is(f32[bits], scalar(bits))) expect.fail(`f32 of ${bits.toString(16)}`);
      if (!Object.is(f64[bits], scalar(bits))) expect.fail(`f64 of ${bits.toString(16)}`);
    }
  }
  let state = 1;
  const values = Float32Array.from({ length: 20000 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 2 ** ((state % 60) - 40);
  });
  const out = new Uint16Array(values.length);
  f32ToF16Array(values, out);
  expect(out).toEqual(Uint16Array.from(values, f32ToF16));
  f32ToBf16Array(values, out);
  expect(out).toEqual(Uint16Array.from(values, f32ToBf16));
  expect(() => f16ToF32Array(all, new Float32Array(3))).toThrow(
    "the output has 3 elements, want at least 65536",
  );
});
