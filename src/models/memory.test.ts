import { describe, expect, test } from "vitest";
import { availableMemory } from "../engine/machine.ts";
import { parseConfig } from "./config.ts";
import { llama } from "./llama.ts";
import { checkFits, kvBytes, memoryNeeded, packedBytes, parameters } from "./memory.ts";

const config = parseConfig(
  "c",
  JSON.stringify({
    model_type: "llama",
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    tie_word_embeddings: true,
  }),
);
const tensors = (type: "f32" | "q4_0") =>
  [...llama.params(config).values()].map((shape) => ({
    type: shape.length > 1 ? type : ("f32" as const),
    shape,
  }));
const MIB = 2 ** 20;

test("a KV cache of whole pages, heads padded to 16", () => {
  expect(kvBytes(config, 4096, "f16")).toBe(4096 * 16 * 8 * 2 * 64 * 2);
  expect(kvBytes(config, 1, "f32")).toBe(64 * 16 * 8 * 2 * 64 * 4);
  expect(kvBytes({ ...config, head_dim: 8 }, 64, "f16")).toBe(64 * 16 * 8 * 2 * 16 * 2);
});

test("a matrix in panels of 16 rows", () => {
  expect(packedBytes("q4_0", [16, 64])).toBe(16 * 2 * 18);
  expect(packedBytes("f16", [17, 3])).toBe(32 * 3 * 2);
  expect(packedBytes("q6_k", [16, 256])).toBe(16 * 210);
});

test("parameters of a config", () => {
  const all = [...llama.params(config).values()].filter((shape) => shape.length > 1);
  expect(parameters(config)).toBe(all.reduce((sum, shape) => sum + shape[0]! * shape[1]!, 0));
});

describe("a model that does not fit is refused with both numbers and what would fit", () => {
  const sizes = { ctx: 131072, kv: "f16", T: 512, R: 8 } as const;
  const refusal = (type: "f32" | "q4_0", available: number, more: object = {}) => {
    const all = { ...sizes, ...more };
    try {
      checkFits("m", config, memoryNeeded(config, tensors(type), all), all, available);
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
      return (error as Error).message;
    }
    return undefined;
  };

  test("enough", () => {
    expect(refusal("q4_0", 8000 * MIB)).toBeUndefined();
  });

  test("a shorter context", () => {
    const message = refusal("q4_0", 2000 * MIB)!;
    expect(message).toMatch(
      /^Cannot load "m": it needs 4\.\d\d GiB \(weights 664 MiB, f16 cache of 131072 tokens 4\.00 GiB, work \d+ MiB\), but 1\.95 GiB of memory is available; --ctx \d+ would fit$/,
    );
    const ctx = Number(/--ctx (\d+)/.exec(message)![1]);
    expect(refusal("q4_0", 2000 * MIB, { ctx })).toBeUndefined();
    expect(ctx).toBeGreaterThan(30000);
  });

  test("f16 in place of an f32 cache", () => {
    expect(refusal("q4_0", 6000 * MIB, { kv: "f32" })).toMatch(/--kv f16 would fit$/);
  });

  test("a smaller type of weights", () => {
    expect(refusal("f32", 3000 * MIB, { ctx: 4096 })).toMatch(
      /as q8_0 its weights would take 1\.22 GiB and fit: pith quantize <model> --to q8_0 --out out\.gguf$/,
    );
    expect(refusal("f32", 1000 * MIB, { ctx: 4096 })).toMatch(/--to q4_0 --out out\.gguf$/);
    expect(refusal("f32", 100 * MIB, { ctx: 4096 })).toMatch(
      /no type of weights that pith has would make it fit$/,
    );
  });
});

test("the memory of this machine", () => {
  expect(availableMemory()).toBeGreaterThan(16 * MIB);
});
