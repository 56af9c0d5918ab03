import { describe, expect, it } from "vitest";
import { sampleRow, seedOf } from "./sampling.ts";

const nothing = { eos_token_id: [] };

describe("sampleRow", () => {
  it("is llama.cpp's where nobody says anything", () => {
    expect(sampleRow({}, nothing, 100)).toMatchObject({
      temperature: 0.8,
      top_k: 40,
      top_p: 0.95,
      min_p: 0.05,
    });
  });

  it("takes what the maker says, and what the maker leaves out is off", () => {
    const maker = { ...nothing, temperature: 0.6, top_p: 0.9, repetition_penalty: 1.1 };
    expect(sampleRow({}, maker, 100)).toMatchObject({
      temperature: 0.6,
      top_k: 0,
      top_p: 0.9,
      min_p: 0,
      repetition_penalty: 1.1,
    });
    expect(sampleRow({}, { ...nothing, do_sample: false, temperature: 0.6 }, 100).temperature).toBe(0);
  });

  it("lets the caller decide before all", () => {
    const maker = { ...nothing, do_sample: false, top_k: 5 };
    const row = sampleRow(
      { temperature: 1.5, topK: 3, topP: 0.5, minP: 0.1, repetitionPenalty: 2 },
      maker,
      100,
    );
    expect(row).toMatchObject({ temperature: 1.5, top_k: 3, top_p: 0.5, min_p: 0.1, repetition_penalty: 2 });
  });

  it("reads a bias from a record or a map", () => {
    const record = sampleRow({ logitBias: { 7: -Infinity, 3: 1.5 } }, nothing, 100).bias!;
    const map = sampleRow(
      {
        logitBias: new Map([
          [3, 1.5],
          [7, -Infinity],
        ]),
      },
      nothing,
      100,
    ).bias!;
    expect(record).toEqual(map);
    expect([...map.ids]).toEqual([3, 7]);
    expect(() => sampleRow({ logitBias: { 7: Number.NaN } }, nothing, 100)).toThrow(/token 7 by NaN/);
  });

  it("keeps all 64 bits of a seed and gives it back", () => {
    for (const seed of [0, 5, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER, 2n ** 64n - 1n])
      expect(BigInt(seedOf(sampleRow({ seed }, nothing, 9)))).toBe(BigInt(seed));
    const drawn = seedOf(sampleRow({}, nothing, 9));
    expect(Number.isSafeInteger(drawn)).toBe(true);
    expect(seedOf(sampleRow({}, nothing, 9))).not.toBe(drawn);
    for (const seed of [-1, 1.5, 2 ** 53, 2n ** 64n])
      expect(() => sampleRow({ seed }, nothing, 9)).toThrow(/Cannot generate with seed/);
  });
});
