import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  packSample,
  philox,
  SAMPLE_FLOATS,
  SAMPLE_INTS,
  SAMPLE_NONE_ALLOWED,
  SAMPLE_NOT_FINITE,
  type SampleRow,
  sample,
  sampleError,
  uniform,
} from "./sampler.ts";

function row(settings: Partial<SampleRow> = {}): SampleRow {
  return {
    temperature: 1,
    top_k: 0,
    top_p: 1,
    min_p: 0,
    repetition_penalty: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    seed: [1, 2],
    counter: 0,
    logprobs: -1,
    ...settings,
  };
}

/** Ids that 400 draws give. */
function support(logits: number[], settings: Partial<SampleRow>): number[] {
  const ids = new Set<number>();
  for (let counter = 0; counter < 400; counter++)
    ids.add(sample(Float32Array.from(logits), row({ ...settings, counter })).id);
  return [...ids].sort((a, b) => a - b);
}

describe("philox", () => {
  it("gives the known answers of Random123", () => {
    const hex = (words: number[]) => words.map((w) => w.toString(16).padStart(8, "0")).join(" ");
    const all = 0xffffffff;
    expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    expect(hex(philox([all, all, all, all], [all, all]))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
    expect(hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]))).toBe(
      "d16cfe09 94fdcceb 5001e420 24126ea1",
    );
  });

  it("draws evenly in [0, 1)", () => {
    const bins = new Array<number>(10).fill(0);
    for (let i = 0; i < 20000; i++) bins[Math.floor(uniform([7, 9], i) * 10)]!++;
    for (const n of bins) expect(Math.abs(n - 2000)).toBeLessThan(200);
  });
});

describe("sample", () => {
  it("takes the largest at temperature 0, the lowest id among equals", () => {
    expect(sample(Float32Array.of(1, 3, 3, 2), row({ temperature: 0 })).id).toBe(1);
  });

  it("draws in proportion to softmax(logits / temperature)", () => {
    const logits = Float32Array.of(0, 1, 2);
    const n = [0, 0, 0];
    for (let counter = 0; counter < 20000; counter++)
      n[sample(logits, row({ temperature: 2, counter })).id]! += 1 / 20000;
    const w = [0, 0.5, 1].map(Math.exp);
    const total = w.reduce((a, b) => a + b);
    n.forEach((share, id) => {
      expect(share).toBeCloseTo(w[id]! / total, 1.7);
    });
  });

  it("cuts with top_k, then top_p of what is left, then min_p", () => {
    const logits = [0.5, 0.2, 0.15, 0.1, 0.05].map(Math.log);
    expect(support(logits, { top_k: 2 })).toEqual([0, 1]);
    expect(support(logits, { top_p: 0.69 })).toEqual([0, 1]);
    expect(support(logits, { top_p: 0.71 })).toEqual([0, 1, 2]);
    expect(support(logits, { top_k: 2, top_p: 0.71 })).toEqual([0]);
    expect(support(logits, { min_p: 0.29 })).toEqual([0, 1, 2]);
    expect(support(logits, { top_p: 0 })).toEqual([0]);
    expect(support(logits, { min_p: 2 })).toEqual([0]);
  });

  it("cuts at temperature 1 whatever the temperature", () => {
    expect(support([0.5, 0.3, 0.2].map(Math.log), { top_p: 0.6, temperature: 100 })).toEqual([0, 1]);
  });

  it("applies penalties to the history only", () => {
    const history = { ids: Int32Array.of(0, 1, 9), counts: Int32Array.of(2, 0, 5), length: 2 };
    const greedy = (logits: number[], settings: Partial<SampleRow>) =>
      sample(Float32Array.from(logits), row({ temperature: 0, history, ...settings })).id;
    expect(greedy([4, 1, 3], { repetition_penalty: 1.5 })).toBe(2);
    expect(greedy([-1, -1, -1.2], { repetition_penalty: 1.5 })).toBe(2);
    expect(greedy([4, 1, 3.5], { presence_penalty: 0.6 })).toBe(2);
    expect(greedy([4, 1, 3], { frequency_penalty: 0.6 })).toBe(2);
    expect(greedy([3, 4, 3], { presence_penalty: 5, frequency_penalty: 5 })).toBe(1);
  });

  it("adds the bias, then masks", () => {
    const bias = { ids: Int32Array.of(2, 0), values: Float64Array.of(10, -Infinity) };
    expect(sample(Float32Array.of(5, 1, 0), row({ temperature: 0, bias })).id).toBe(2);
    expect(support([5, 1, 0], { bias: { ...bias, values: Float64Array.of(0, -Infinity) } })).toEqual([1, 2]);
    expect(
      sample(Float32Array.of(5, 1, 0), row({ temperature: 0, bias, mask: Uint32Array.of(0b10) })).id,
    ).toBe(1);
  });

  it("reports log-softmax of the raw logits", () => {
    const logits = [0.5, 0.3, 0.2].map(Math.log);
    const bias = { ids: Int32Array.of(2), values: Float64Array.of(9) };
    const result = sample(Float32Array.from(logits), row({ temperature: 0, bias, logprobs: 2 }));
    expect(result.id).toBe(2);
    expect(Math.exp(result.logprob)).toBeCloseTo(0.2, 6);
    expect(result.top!.map((t) => t.id)).toEqual([0, 1]);
    expect(Math.exp(result.top![1]!.logprob)).toBeCloseTo(0.3, 6);
  });

  it("says so when nothing is allowed or a logit is not finite", () => {
    const none = sample(Float32Array.of(1, 2), row({ mask: Uint32Array.of(0) }));
    expect(none.id).toBe(SAMPLE_NONE_ALLOWED);
    expect(sampleError(none)!.message).toMatch(/allow none/);
    for (const bad of [Number.NaN, Infinity]) {
      const result = sample(Float32Array.of(1, bad), row());
      expect(result.id).toBe(SAMPLE_NOT_FINITE);
      expect(sampleError(result)!.message).toMatch(/NaN or Infinity/);
    }
    expect(sample(Float32Array.of(-Infinity, 0), row()).id).toBe(1);
    expect(sampleError({ id: 0, logprob: 0 })).toBeUndefined();
  });

  it("depends on seed and counter alone", () => {
    const logits = Float32Array.from({ length: 50 }, (_, i) => Math.sin(i));
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(1e6), (low, high, counter) => {
        const a = sample(logits, row({ seed: [low, high], counter }));
        expect(sample(logits, row({ seed: [low, high], counter }))).toEqual(a);
      }),
      { numRuns: 50 },
    );
    const texts = new Set(
      [0, 1, 2, 3].map((s) =>
        Array.from({ length: 20 }, (_, counter) => sample(logits, row({ seed: [s, 0], counter })).id).join(),
      ),
    );
    expect(texts.size).toBe(4);
  });
});

describe("packSample", () => {
  it("lays rows out as documented", () => {
    const rows = [
      row({ top_k: 40, counter: 7, logprobs: 3, seed: [5, 0xffffffff] }),
      row({
        temperature: 0.5,
        history: { ids: Int32Array.of(3, 4, 0), counts: Int32Array.of(1, 0, 0), length: 2 },
        bias: { ids: Int32Array.of(6), values: Float64Array.of(-2.5) },
        mask: Uint32Array.of(0xffffffff, 1),
      }),
    ];
    const { ints, floats, stride } = packSample(rows, 40);
    const at = 2 * SAMPLE_INTS;
    expect(stride).toBe(4);
    expect([...ints.subarray(0, 8)]).toEqual([40, 3, 7, 5, -1, 0, 0, 0]);
    expect([...ints.subarray(SAMPLE_INTS, at)]).toEqual([
      0,
      -1,
      0,
      1,
      2,
      2,
      1,
      2,
      at,
      at + 4,
      at + 5,
      2 * SAMPLE_FLOATS,
    ]);
    expect([...ints.subarray(at)]).toEqual([3, 4, 1, 0, 6, -1, 1]);
    expect([...floats.subarray(SAMPLE_FLOATS)]).toEqual([0.5, 1, 0, 1, 0, 0, -2.5]);
  });

  it("refuses what C++ could not survive", () => {
    const history = { ids: Int32Array.of(40), counts: Int32Array.of(0), length: 1 };
    expect(() => packSample([row({ history })], 40)).toThrow(/token 40 .* wanted 0 to 39/);
    expect(() => packSample([row({ mask: new Uint32Array(1) })], 40)).toThrow(/1 words, wanted 2/);
    expect(() =>
      packSample([row({ bias: { ids: Int32Array.of(-1), values: Float64Array.of(0) } })], 40),
    ).toThrow(/bias for token -1/);
    expect(() => packSample([row({ temperature: Number.NaN })], 40)).toThrow(/temperature is NaN/);
  });
});
