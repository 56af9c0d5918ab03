import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { configToJson, parseConfig, parseGenerationConfig } from "./config.ts";

const SMOL = {
  architectures: ["LlamaForCausalLM"],
  attention_bias: false,
  bos_token_id: 1,
  eos_token_id: 2,
  hidden_act: "silu",
  hidden_size: 576,
  intermediate_size: 1536,
  max_position_embeddings: 8192,
  mlp_bias: false,
  model_type: "llama",
  num_attention_heads: 9,
  num_hidden_layers: 30,
  num_key_value_heads: 3,
  pad_token_id: 2,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  rope_theta: 100000,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  vocab_size: 49152,
};
const LLAMA3 = {
  factor: 32,
  high_freq_factor: 4,
  low_freq_factor: 1,
  original_max_position_embeddings: 8192,
  rope_type: "llama3",
};
const parse = (fields: object) => parseConfig("m/config.json", JSON.stringify(fields));

describe("parseConfig", () => {
  test("SmolLM2's", () => {
    expect(parse(SMOL)).toEqual({
      model_type: "llama",
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      head_dim: 64,
      vocab_size: 49152,
      max_position_embeddings: 8192,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      rope: { rope_theta: 100000 },
      bos_token_id: 1,
      eos_token_id: [2],
      pad_token_id: 2,
    });
  });

  test("defaults: key-value heads, head_dim, rope_theta, ties", () => {
    const { num_key_value_heads, rope_theta, tie_word_embeddings, ...rest } = SMOL;
    const config = parse({ ...rest, head_dim: 128 });
    expect(config.num_key_value_heads).toBe(9);
    expect(config.head_dim).toBe(128);
    expect(config.rope!.rope_theta).toBe(10000);
    expect(config.tie_word_embeddings).toBe(false);
  });

  test("several end tokens", () => {
    expect(parse({ ...SMOL, eos_token_id: [128001, 128008, 128009] }).eos_token_id).toEqual([
      128001, 128008, 128009,
    ]);
  });

  test("rope scaling in the old and the new spelling", () => {
    const { rope_type, ...values } = LLAMA3;
    const wanted = { rope_theta: 500000, scaling: LLAMA3 };
    expect(parse({ ...SMOL, rope_theta: 500000, rope_scaling: LLAMA3 }).rope)!.toEqual(wanted);
    expect(
      parse({ ...SMOL, rope_theta: 500000, rope_scaling: { ...values, type: rope_type } }).rope,
    )!.toEqual(wanted);
    const { rope_theta, rope_scaling, ...bare } = SMOL;
    expect(parse({ ...bare, rope_parameters: { ...LLAMA3, rope_theta: 500000 } }).rope)!.toEqual(wanted);
    expect(parse({ ...bare, rope_parameters: { rope_type: "default", rope_theta: 5000 } }).rope)!.toEqual({
      rope_theta: 5000,
    });
    expect(parse({ ...SMOL, rope_scaling: { type: "linear", factor: 4 } }).rope!.scaling).toEqual({
      rope_type: "linear",
      factor: 4,
    });
  });

  test("qwen2 has biases whatever its config says, and a window that is off", () => {
    const config = parse({ ...SMOL, model_type: "qwen2", sliding_window: 32768, use_sliding_window: false });
    expect(config.attention_bias).toBe(true);
    expect(config.mlp_bias).toBe(false);
  });

  test.each([
    [{ model_type: undefined }, "model_type is missing, wanted a string"],
    [{ hidden_size: 0 }, "hidden_size is 0, wanted a whole number from 1 to 262144"],
    [{ hidden_size: -64 }, "hidden_size is -64, wanted a whole number"],
    [{ hidden_size: 1e300 }, "hidden_size is 1e+300, wanted a whole number"],
    [{ hidden_size: "576" }, 'hidden_size is "576", wanted a number'],
    [{ hidden_size: 577 }, "hidden_size is 577, wanted a multiple of num_attention_heads 9"],
    [{ hidden_size: 9 }, "hidden_size is 9, wanted 2 to 512 for each head"],
    [{ hidden_size: 27 }, "head_dim is 3, wanted an even number"],
    [{ num_key_value_heads: 2 }, "num_key_value_heads is 2, wanted a divisor of the number of heads, 9"],
    [{ num_hidden_layers: 2.5 }, "num_hidden_layers is 2.5, wanted a whole number from 1 to 2048"],
    [{ vocab_size: 2 ** 40 }, "vocab_size is 1099511627776, wanted a whole number"],
    [{ rms_norm_eps: "x".repeat(9999) }, `rms_norm_eps is "${"x".repeat(56)}..., wanted a number`],
    [{ tie_word_embeddings: 1 }, "tie_word_embeddings is 1, wanted true or false"],
    [{ hidden_act: "gelu" }, 'hidden_act is "gelu", wanted "silu"'],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor is 0.5, wanted 1"],
    [
      { model_type: "qwen2", use_sliding_window: true, max_window_layers: 2 },
      "sliding_window is missing, wanted",
    ],
    [{ model_type: "qwen2", layer_types: ["full_attention"] }, "layer_types is a list of 1, wanted 30 types"],
    [{ layer_types: ["full_attention", "sliding_attention"] }, 'layer_types is "sliding_attention"'],
    [
      { rope_scaling: { type: "dynamic", factor: 4 } },
      'rope_scaling.type is "dynamic", wanted one that is implemented',
    ],
    [
      { rope_scaling: { type: "yarn", factor: 4 } },
      "rope_scaling.original_max_position_embeddings is missing, wanted a number",
    ],
    [
      {
        rope_scaling: {
          type: "longrope",
          original_max_position_embeddings: 4096,
          short_factor: Array(32).fill(1),
          long_factor: [1, 2],
        },
      },
      "rope_scaling.long_factor is a list of 2, wanted a list of 32 numbers",
    ],
    [{ rope_scaling: { rope_type: "linear" } }, "rope_scaling.factor is missing, wanted a number"],
    [{ rope_scaling: { rope_type: "linear", factor: 0 } }, "rope_scaling.factor is 0, wanted a number from"],
    [
      { rope_scaling: { ...LLAMA3, high_freq_factor: 1 } },
      "rope_scaling.high_freq_factor is 1, wanted more than 1",
    ],
    [{ rope_scaling: [] }, "rope_scaling is a list of 0, wanted an object"],
    [{ rope_theta: -1 }, "rope_theta is -1, wanted a number from"],
    [{ eos_token_id: [2, -1] }, "eos_token_id[1] is -1, wanted a whole number"],
    [{ eos_token_id: "2" }, 'eos_token_id is "2", wanted a whole number'],
  ])("refuses %j", (change, message) => {
    expect(() => parse({ ...SMOL, ...change })).toThrow(`Cannot read "m/config.json": ${message}`);
  });

  test("refuses what is no JSON object", () => {
    expect(() => parseConfig("c", "{")).toThrow(/^Cannot read "c": /);
    expect(() => parseConfig("c", "[1]")).toThrow('Cannot read "c": found a list of 1, wanted a JSON object');
    expect(() => parseConfig("c", "[".repeat(200_000))).toThrow(/^Cannot read "c": /);
  });

  test("a window for the layers that have one", () => {
    const qwen = { ...SMOL, model_type: "qwen2", num_hidden_layers: 3, sliding_window: 128 };
    expect(parse(qwen).sliding_window).toBeUndefined();
    const some = {
      sliding_window: 128,
      layer_types: ["full_attention", "sliding_attention", "sliding_attention"],
    };
    expect(parse({ ...qwen, use_sliding_window: true, max_window_layers: 1 })).toMatchObject(some);
    expect(parse({ ...qwen, ...some })).toMatchObject(some);
  });

  test("what it writes reads back the same", () => {
    for (const fields of [
      SMOL,
      { ...SMOL, rope_scaling: LLAMA3, eos_token_id: [2, 7] },
      { ...SMOL, model_type: "qwen2" },
      { ...SMOL, model_type: "qwen2", use_sliding_window: true, max_window_layers: 28, sliding_window: 99 },
      { ...SMOL, rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 2048 } },
    ]) {
      const config = parse(fields);
      expect(parse(configToJson(config, "X", "float32"))).toEqual(config);
    }
  });

  test("5,000 mutants: a config within the ranges, or an error that names the file", () => {
    const text = JSON.stringify({ ...SMOL, rope_scaling: LLAMA3 });
    const keys = Object.keys(SMOL);
    const value = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.constantFrom(0, -1, 1, 2 ** 31, 2 ** 53, 1e308, null, true, "", [], {}, "yarn", [[]]),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const field = fc.record({ key: fc.constantFrom(...keys), value });
    const byField = fc.array(field, { minLength: 1, maxLength: 3 }).map((changes) => {
      const fields: Record<string, unknown> = { ...SMOL, rope_scaling: LLAMA3 };
      for (const { key, value } of changes) fields[key] = value;
      return JSON.stringify(fields);
    });
    const byText = fc
      .array(fc.record({ at: fc.nat(text.length), cut: fc.nat(4), put: fc.string({ maxLength: 4 }) }), {
        minLength: 1,
        maxLength: 3,
      })
      .map((edits) => edits.reduce((s, { at, cut, put }) => s.slice(0, at) + put + s.slice(at + cut), text));
    fc.assert(
      fc.property(fc.oneof(byField, byText), (mutant) => {
        try {
          const c = parseConfig("mutant.json", mutant);
          expect(c.num_attention_heads % c.num_key_value_heads).toBe(0);
          for (const n of [c.hidden_size, c.intermediate_size, c.num_hidden_layers, c.head_dim, c.vocab_size])
            expect(n > 0 && n <= 2 ** 24).toBe(true);
          expect(Number.isFinite(c.rope!.rope_theta) && c.rope!.rope_theta > 0).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message).toMatch(/^Cannot (read|open) "mutant.json": /);
          expect((error as Error).message.length).toBeLessThan(400);
        }
      }),
      { numRuns: 5000, seed: 1 },
    );
  });
});

describe("parseGenerationConfig", () => {
  test("end tokens and sampling", () => {
    const text =
      '{"eos_token_id":[151645,151643],"do_sample":true,"temperature":0.7,"top_k":20,"top_p":0.8,"repetition_penalty":1.1,"pad_token_id":-1}';
    expect(parseGenerationConfig("g", text)).toEqual({
      eos_token_id: [151645, 151643],
      do_sample: true,
      temperature: 0.7,
      top_k: 20,
      top_p: 0.8,
      repetition_penalty: 1.1,
    });
    expect(parseGenerationConfig("g", "{}")).toEqual({ eos_token_id: [] });
  });

  test.each([
    ['{"temperature":-1}', "temperature is -1, wanted a number from 0 to 1000"],
    ['{"top_p":"0.9"}', 'top_p is "0.9", wanted a number'],
    ['{"top_k":1.5}', "top_k is 1.5, wanted a whole number"],
    ['{"do_sample":"yes"}', 'do_sample is "yes", wanted true or false'],
  ])("refuses %s", (text, message) => {
    expect(() => parseGenerationConfig("g.json", text)).toThrow(`Cannot read "g.json": ${message}`);
  });
});
