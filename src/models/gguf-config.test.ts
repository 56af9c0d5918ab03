import { describe, expect, test } from "vitest";
import type { GgufFile, GgufValue, TensorInfo } from "../formats/index.ts";
import { parseConfig } from "./config.ts";
import { configFromGguf, configToGguf } from "./gguf-config.ts";
import { ropeFactors } from "./rope.ts";

const LLAMA = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 5,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 16,
  vocab_size: 512,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: true,
};
const parse = (fields: object) => parseConfig("c", JSON.stringify(fields));

function file(
  metadata: Iterable<readonly [string, GgufValue]>,
  tensors: Record<string, number[]> = {},
): GgufFile {
  const infos = Object.entries(tensors).map(
    ([name, shape]) => [name, { name, shape } as unknown as TensorInfo] as const,
  );
  return { name: "m.gguf", version: 3, alignment: 32, metadata: new Map(metadata), tensors: new Map(infos) };
}
const u32 = (value: number): GgufValue => ({ type: "uint32", value });

describe("configFromGguf", () => {
  test("reads what configToGguf writes", () => {
    for (const fields of [
      LLAMA,
      { ...LLAMA, model_type: "qwen2" },
      { ...LLAMA, rope_scaling: { rope_type: "linear", factor: 2 } },
      {
        ...LLAMA,
        rope_scaling: {
          rope_type: "yarn",
          factor: 4,
          original_max_position_embeddings: 128,
          attention_factor: 1,
        },
      },
    ]) {
      const config = parse(fields);
      expect(configFromGguf(file(configToGguf(config, "m")))).toEqual(config);
    }
    const untied = parse({ ...LLAMA, tie_word_embeddings: false, attention_bias: true });
    const tensors = { "output.weight": [512, 64], "blk.0.attn_q.bias": [128] };
    expect(configFromGguf(file(configToGguf(untied, "m"), tensors))).toEqual(untied);
  });

  test("llama3's scaling from rope_freqs, and factors that are none of its", () => {
    const scaling = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const config = parse({ ...LLAMA, head_dim: 64, rope_theta: 500000, rope_scaling: scaling });
    const factors = Array.from(ropeFactors(config.rope!, 64), Math.fround);
    const gguf = file(configToGguf(config, "m"));
    expect(configFromGguf(gguf, { "rope_freqs.weight": factors })).toEqual(config);
    const odd = factors.map((_, i) => 1 + i / 8);
    expect(configFromGguf(gguf, { "rope_freqs.weight": odd }).rope!.scaling).toEqual({
      rope_type: "factors",
      factors: odd,
    });
    expect(() => configFromGguf(gguf, { "rope_freqs.weight": [1, 2] })).toThrow(
      'tensor "rope_freqs.weight" has 2 values, wanted 32',
    );
    expect(() => configFromGguf(gguf, { "rope_freqs.weight": factors.with(3, Number.NaN) })).toThrow(
      '"rope_freqs.weight" holds NaN at 3',
    );
  });

  test("a factor without a type is linear, under the older key too; 0 and 1 are none", () => {
    const metadata = configToGguf(parse(LLAMA), "m");
    const rope = () => configFromGguf(file(metadata)).rope!.scaling;
    metadata.set("llama.rope.scale_linear", { type: "float32", value: 2 });
    expect(rope()).toEqual({ rope_type: "linear", factor: 2 });
    metadata.set("llama.rope.scaling.factor", { type: "float32", value: 4 });
    expect(rope()).toEqual({ rope_type: "linear", factor: 4 });
    expect(() => configFromGguf(file(metadata), { "rope_freqs.weight": Array(8).fill(2) })).toThrow(
      "llama.rope.scaling.factor is 4, wanted 1 where",
    );
    metadata.set("llama.rope.scaling.type", { type: "string", value: "none" });
    expect(rope()).toBeUndefined();
    metadata.delete("llama.rope.scaling.type");
    metadata.set("llama.rope.scaling.factor", { type: "float32", value: 1 });
    expect(rope()).toBeUndefined();
  });

  test("what files leave out: key-value heads, head size, vocabulary, theta", () => {
    const metadata = configToGguf(parse({ ...LLAMA, head_dim: 8, num_key_value_heads: 8 }), "m");
    for (const key of [
      "attention.head_count_kv",
      "attention.key_length",
      "attention.value_length",
      "vocab_size",
      "rope.freq_base",
      "rope.dimension_count",
    ])
      metadata.delete(`llama.${key}`);
    const config = configFromGguf(file(metadata, { "token_embd.weight": [500, 64] }));
    expect(config).toMatchObject({
      num_key_value_heads: 8,
      head_dim: 8,
      vocab_size: 500,
      rope: { rope_theta: 10000 },
    });
  });

  test("a list with a value per layer counts when all are equal", () => {
    const metadata = configToGguf(parse(LLAMA), "m");
    metadata.set("llama.attention.head_count_kv", {
      type: "array",
      of: "int32",
      value: Int32Array.of(4, 4, 4, 4, 4),
    });
    expect(configFromGguf(file(metadata)).num_key_value_heads).toBe(4);
    metadata.set("llama.attention.head_count_kv", {
      type: "array",
      of: "int32",
      value: Int32Array.of(4, 2, 4, 4, 4),
    });
    expect(() => configFromGguf(file(metadata))).toThrow(
      'Cannot read "m.gguf": llama.attention.head_count_kv is a list of 5, wanted a number',
    );
  });

  test("end tokens: eos, end of turn, end of message", () => {
    const metadata = configToGguf(parse(LLAMA), "m");
    metadata.set("tokenizer.ggml.bos_token_id", u32(1)).set("tokenizer.ggml.eos_token_id", u32(2));
    metadata.set("tokenizer.ggml.eot_token_id", u32(7)).set("tokenizer.ggml.eom_token_id", u32(2));
    expect(configFromGguf(file(metadata))).toMatchObject({ bos_token_id: 1, eos_token_id: [2, 7] });
  });

  test.each<[string, GgufValue | undefined, string]>([
    ["embedding_length", undefined, "llama.embedding_length is missing, wanted a number"],
    [
      "embedding_length",
      { type: "uint64", value: 2n ** 60n },
      "llama.embedding_length is 1152921504606846976, wanted a number",
    ],
    ["block_count", u32(0), "llama.block_count is 0, wanted a whole number from 1 to 2048"],
    [
      "attention.head_count",
      { type: "string", value: "8" },
      'llama.attention.head_count is "8", wanted a number',
    ],
    ["attention.head_count_kv", u32(3), "llama.attention.head_count_kv is 3, wanted a divisor"],
    [
      "attention.value_length",
      u32(32),
      "llama.attention.value_length is 32, wanted 16, as attention.key_length",
    ],
    ["rope.dimension_count", u32(8), "llama.rope.dimension_count is 8, wanted 16, as attention.key_length"],
    [
      "rope.scaling.type",
      { type: "string", value: "longrope" },
      'llama.rope.scaling.type is "longrope", wanted "none", "linear", "yarn", or "longrope" with',
    ],
    ["expert_count", u32(8), "llama.expert_count is 8, wanted 0"],
    [
      "attention.layer_norm_rms_epsilon",
      { type: "float32", value: Number.NaN },
      "llama.attention.layer_norm_rms_epsilon is NaN, wanted a number",
    ],
  ])("refuses %s = %o", (key, value, message) => {
    const metadata = configToGguf(parse(LLAMA), "m");
    if (value) metadata.set(`llama.${key}`, value);
    else metadata.delete(`llama.${key}`);
    expect(() => configFromGguf(file(metadata))).toThrow(`Cannot read "m.gguf": ${message}`);
  });
});
