// A tiny config.json of every model type beyond the first two, and weights for any of them, the same on every machine.
// Sizes are odd on purpose: heads wider than hidden / heads, windows and lengths within a hundred tokens.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../../src/formats/index.ts";
import { definitionOf, parseConfig } from "../../src/models/index.ts";
import { storedShape } from "../../src/models/stored.ts";

const base = {
  hidden_size: 48,
  intermediate_size: 80,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 60,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 0,
};

const factors = (step: number) => Array.from({ length: 6 }, (_, i) => 1 + i * step);
const phi3 = {
  ...base,
  model_type: "phi3",
  hidden_size: 64, // its heads have no size of their own
  tie_word_embeddings: true,
  partial_rotary_factor: 0.75,
  original_max_position_embeddings: 64,
  rope_scaling: { type: "longrope", short_factor: factors(0.125), long_factor: factors(1.5) },
};

const gemma4 = {
  ...base,
  model_type: "gemma4_text",
  tie_word_embeddings: true,
  hidden_activation: "gelu_pytorch_tanh",
  layer_types: ["sliding", "sliding", "sliding", "full", "sliding", "sliding", "sliding", "full"].map(
    (type) => `${type}_attention`,
  ),
  sliding_window: 24,
  hidden_size_per_layer_input: 0,
  rope_theta: undefined,
  rope_parameters: {
    full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1e4 },
    sliding_attention: { rope_type: "default", rope_theta: 1e3 },
  },
};

export interface TinyType {
  /** A raw config.json. */
  readonly config: Readonly<Record<string, unknown>> & { readonly vocab_size: number };
  /** Longest sequence that it is opened for. Default 256. */
  readonly ctx?: number;
  /** Tokens of the golden sequence. Default 100. */
  readonly tokens?: number;
  /** Why it is not written as GGUF. */
  readonly noGguf?: string;
}

export const TINY_TYPES: Readonly<Record<string, TinyType>> = {
  "llama-yarn": {
    config: {
      ...base,
      model_type: "llama",
      attention_bias: true,
      rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 },
    },
  },
  mistral: { config: { ...base, model_type: "mistral", sliding_window: 24 } },
  qwen3: { config: { ...base, model_type: "qwen3", tie_word_embeddings: true, rope_theta: 1e6 } },
  "qwen3-sliding": {
    config: {
      ...base,
      model_type: "qwen3",
      use_sliding_window: true,
      sliding_window: 40,
      max_window_layers: 1,
    },
    noGguf: "sliding layers",
  },
  phi3: { config: phi3 },
  "phi3-short": { config: { ...phi3, sliding_window: 20 }, ctx: 64, tokens: 64 },
  smollm3: { config: { ...base, model_type: "smollm3", num_hidden_layers: 5, tie_word_embeddings: true } },
  gemma3_text: {
    config: {
      ...base,
      model_type: "gemma3_text",
      num_hidden_layers: 7,
      num_key_value_heads: 1,
      tie_word_embeddings: true,
      rope_theta: 1e6,
      rope_scaling: { rope_type: "linear", factor: 8 },
      rope_local_base_freq: 1e4,
      sliding_window: 24,
      query_pre_attn_scalar: 16,
      final_logit_softcapping: 9.5,
    },
  },
  "gemma3_text-layers": {
    config: {
      ...base,
      model_type: "gemma3_text",
      num_hidden_layers: 3,
      tie_word_embeddings: false,
      query_pre_attn_scalar: 24,
      sliding_window: 40,
      layer_types: ["full_attention", "sliding_attention", "sliding_attention"],
      rope_theta: undefined,
      rope_parameters: {
        full_attention: { rope_type: "default", rope_theta: 5e5 },
        sliding_attention: { rope_type: "linear", rope_theta: 2e4, factor: 2 },
      },
    },
    noGguf: "query_pre_attn_scalar is not head_dim",
  },
  // Layers of both kinds that read earlier ones' keys and values, and an input for each layer.
  gemma4_text: {
    config: {
      ...gemma4,
      num_hidden_layers: 8,
      num_key_value_heads: 1,
      global_head_dim: 24,
      num_kv_shared_layers: 4,
      use_double_wide_mlp: true,
      hidden_size_per_layer_input: 12,
      vocab_size_per_layer_input: 60,
      final_logit_softcapping: 9.5,
    },
  },
  // Heads of two counts, and keys that are values too.
  "gemma4_text-dense": {
    config: {
      ...gemma4,
      num_hidden_layers: 3,
      tie_word_embeddings: false,
      global_head_dim: 32,
      num_global_key_value_heads: 1,
      attention_k_eq_v: true,
      layer_types: ["full_attention", "sliding_attention", "full_attention"],
    },
  },
  gpt2: {
    config: {
      model_type: "gpt2",
      n_embd: 48,
      n_layer: 2,
      n_head: 4,
      n_positions: 256,
      n_inner: 80,
      vocab_size: 60,
      activation_function: "gelu_new",
      layer_norm_epsilon: 1e-5,
      bos_token_id: 1,
      eos_token_id: 2,
    },
  },
  lfm2: {
    config: {
      ...base,
      model_type: "lfm2",
      hidden_size: 64,
      head_dim: undefined,
      rms_norm_eps: undefined,
      norm_eps: 1e-5,
      num_hidden_layers: 5,
      full_attn_idxs: [2, 4],
      block_ff_dim: 108, // 72 of it, and then a multiple of 16
      block_multiple_of: 16,
      conv_L_cache: 3,
      tie_embedding: true,
      tie_word_embeddings: undefined,
    },
  },
  qwen3_5_text: {
    config: {
      ...base,
      model_type: "qwen3_5_text",
      num_hidden_layers: 5,
      layer_types: undefined,
      full_attention_interval: 3,
      rope_theta: undefined,
      rope_parameters: { rope_type: "default", rope_theta: 1e5, partial_rotary_factor: 0.5 },
      linear_num_key_heads: 2,
      linear_num_value_heads: 2,
      linear_key_head_dim: 20,
      linear_value_head_dim: 20,
      linear_conv_kernel_dim: 4,
      tie_word_embeddings: true,
    },
  },
  "qwen3_5_text-grouped": {
    config: {
      ...base,
      model_type: "qwen3_5_text",
      num_hidden_layers: 3,
      layer_types: ["linear_attention", "full_attention", "linear_attention"],
      attention_bias: true,
      linear_num_key_heads: 2,
      linear_num_value_heads: 6,
      linear_key_head_dim: 12,
      linear_value_head_dim: 24,
      linear_conv_kernel_dim: 3,
    },
    noGguf: "heads of two sizes",
  },
  "qwen3_5_text-tiled": {
    config: {
      ...base,
      model_type: "qwen3_5_text",
      num_hidden_layers: 3,
      layer_types: ["linear_attention", "full_attention", "linear_attention"],
      linear_num_key_heads: 2,
      linear_num_value_heads: 6,
      linear_key_head_dim: 12,
      linear_value_head_dim: 12,
    },
  },
  granite: {
    config: {
      ...base,
      model_type: "granite",
      embedding_multiplier: 3,
      residual_multiplier: 0.4,
      attention_multiplier: 0.125,
      logits_scaling: 1.5,
    },
  },
};

/** Values of each parameter: multiples of 2^-12 from a generator seeded by its name; norms about 1, matrices about 0. */
export function typeWeights(config: object): Map<string, { shape: number[]; data: Float32Array }> {
  const parsed = parseConfig("tiny", JSON.stringify(config));
  const weights = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const [name, shape] of definitionOf(parsed.model_type, "tiny").params(parsed)) {
    let seed = 12345;
    for (const letter of name) seed = (Math.imul(seed, 31) + letter.charCodeAt(0)) >>> 0;
    const uniform = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return ((seed >>> 8) / 2 ** 24) * 2 - 1;
    };
    const norm = shape.length === 1 && /(weight|layer_scalar)$/.test(name);
    const spread = shape.length === 1 ? 0.5 : name.includes("embed") ? 1 : 2 / Math.sqrt(shape.at(-1)!);
    const data = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => Math.round((Number(norm) + spread * uniform()) * 4096) / 4096,
    );
    weights.set(name, { shape: [...shape], data });
  }
  return weights;
}

/** Writes a tiny model as a Hugging Face folder, without a tokenizer. @param change may write other values, by name */
export async function writeTinyType(
  folder: string,
  config: object,
  change: (name: string, shape: readonly number[], data: Float32Array) => void = () => {},
): Promise<void> {
  const { model_type } = parseConfig("tiny", JSON.stringify(config));
  const { stored } = definitionOf(model_type, "tiny");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const tensors = [...typeWeights(config)].map(([name, { shape, data }]) => {
    change(name, shape, data);
    const form = stored?.(name);
    const [rows, cols] = shape as [number, number];
    const values =
      form === "less_one"
        ? data.map((x) => x - 1)
        : form === "transposed"
          ? data.map((_, i) => data[(i % rows) * cols + Math.floor(i / rows)]!)
          : data;
    return {
      name,
      type: "f32" as const,
      shape: storedShape(shape, form),
      data: async () => new Uint8Array(values.buffer),
    };
  });
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
}
