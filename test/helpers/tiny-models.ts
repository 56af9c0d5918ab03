// Two tiny models with random weights, the same on every machine: all that the two types can do, little to compute.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../../src/formats/index.ts";
import type { PlainConfig } from "./plain-forward.ts";

export const TINY: Record<"llama" | "qwen2", PlainConfig> = {
  // Three query heads for each key head, heads wider than hidden / heads, llama3 rope within reach, all biases.
  llama: {
    model_type: "llama",
    hidden_size: 32,
    intermediate_size: 44,
    num_hidden_layers: 3,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 8,
    vocab_size: 50,
    max_position_embeddings: 256,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 500,
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    },
  },
  qwen2: {
    model_type: "qwen2",
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 70,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    rope_theta: 10000,
  },
};

/** Parameters by name, with their shapes; values are multiples of 2^-12, so every f32 here is exact in text too. */
export function tinyWeights(c: PlainConfig): Map<string, { shape: number[]; data: Float32Array }> {
  const weights = new Map<string, { shape: number[]; data: Float32Array }>();
  let seed = 12345;
  const uniform = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return ((seed >>> 8) / 2 ** 24) * 2 - 1;
  };
  const add = (name: string, shape: number[], mean: number, spread: number) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from(
      { length: count },
      () => Math.round((mean + spread * uniform()) * 4096) / 4096,
    );
    weights.set(name, { shape, data });
  };
  const linear = (name: string, out: number, width: number, bias: boolean) => {
    add(`${name}.weight`, [out, width], 0, 2 / Math.sqrt(width));
    if (bias) add(`${name}.bias`, [out], 0, 0.5);
  };
  const q = c.num_attention_heads * c.head_dim;
  const kv = c.num_key_value_heads * c.head_dim;
  const qwen = c.model_type === "qwen2";
  const bias = c.attention_bias ?? qwen;
  add("model.embed_tokens.weight", [c.vocab_size, c.hidden_size], 0, 1);
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const at = `model.layers.${i}`;
    add(`${at}.input_layernorm.weight`, [c.hidden_size], 1, 0.5);
    linear(`${at}.self_attn.q_proj`, q, c.hidden_size, bias);
    linear(`${at}.self_attn.k_proj`, kv, c.hidden_size, bias);
    linear(`${at}.self_attn.v_proj`, kv, c.hidden_size, bias);
    linear(`${at}.self_attn.o_proj`, c.hidden_size, q, bias && !qwen);
    add(`${at}.post_attention_layernorm.weight`, [c.hidden_size], 1, 0.5);
    linear(`${at}.mlp.gate_proj`, c.intermediate_size, c.hidden_size, c.mlp_bias ?? false);
    linear(`${at}.mlp.up_proj`, c.intermediate_size, c.hidden_size, c.mlp_bias ?? false);
    linear(`${at}.mlp.down_proj`, c.hidden_size, c.intermediate_size, c.mlp_bias ?? false);
  }
  add("model.norm.weight", [c.hidden_size], 1, 0.5);
  if (!c.tie_word_embeddings) linear("lm_head", c.vocab_size, c.hidden_size, false);
  return weights;
}

/** Writes a tiny model as a Hugging Face folder, without a tokenizer. */
export async function writeTinyModel(
  folder: string,
  config: PlainConfig,
  weights = tinyWeights(config),
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ ...config, eos_token_id: 2, bos_token_id: 1 }),
  );
  const tensors = [...weights].map(([name, { shape, data }]) => ({
    name,
    type: "f32" as const,
    shape,
    data: async () => new Uint8Array(data.buffer),
  }));
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
}

/** Tokens of a test sequence. */
export function tinyIds(count: number, vocab_size: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, i) => (i * 7 + ((i * i) >> 1) * 3 + seed * 13) % vocab_size);
}
