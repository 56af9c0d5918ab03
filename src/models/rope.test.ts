import { describe, expect, test } from "vitest";
import { llama3Of, type Rope, ropeFactors, ropeFrequencies, ropeTable } from "./rope.ts";

const llama3: Rope = {
  rope_theta: 500000,
  scaling: {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
};

test("the table holds cos, then sin, of position times frequency", () => {
  const table = ropeTable({ rope_theta: 10000 }, 4, 3);
  const row = [Math.cos(2), Math.cos(2 * 0.01), Math.sin(2), Math.sin(2 * 0.01)];
  expect(Array.from(table.subarray(0, 4))).toEqual([1, 1, 0, 0]);
  expect(Array.from(table.subarray(8))).toEqual(row.map(Math.fround));
});

test("linear scaling divides every frequency", () => {
  const scaled = ropeFrequencies({ rope_theta: 10000, scaling: { rope_type: "linear", factor: 4 } }, 8);
  const plain = ropeFrequencies({ rope_theta: 10000 }, 8);
  expect(Array.from(scaled)).toEqual(Array.from(plain, (f) => f / 4));
});

describe("llama3", () => {
  test("short wavelengths stay, long ones are stretched by the factor, between them lies a slope", () => {
    const factors = ropeFactors(llama3, 64);
    expect(factors[0]).toBe(1);
    expect(factors.at(-1)).toBe(32);
    for (let i = 1; i < factors.length; i++) expect(factors[i]).toBeGreaterThanOrEqual(factors[i - 1]!);
    const between = factors.filter((x) => x > 1 && x < 32);
    expect(between.length).toBeGreaterThan(1);
    // By hand for i = 15: the wavelength is 2π · 500000^(28/64).
    const wavelength = 2 * Math.PI * 500000 ** (30 / 64);
    const smooth = (8192 / wavelength - 1) / 3;
    expect(ropeFrequencies(llama3, 64)[15]).toBeCloseTo(
      ((1 - smooth) / 32 + smooth) * 500000 ** (-30 / 64),
      12,
    );
  });

  test.each([64, 128])("is found again from the divisors in f32, head_dim %i", (dim) => {
    const factors = Array.from(ropeFactors(llama3, dim), Math.fround);
    expect(llama3Of(500000, factors)).toEqual(llama3.scaling);
  });

  test("other divisors are no llama3", () => {
    expect(llama3Of(500000, Array(32).fill(1))).toBeUndefined();
    expect(
      llama3Of(
        500000,
        Array.from({ length: 32 }, (_, i) => 1 + i / 7),
      ),
    ).toBeUndefined();
  });
});
