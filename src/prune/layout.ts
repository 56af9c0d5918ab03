// Which dimension of which parameter counts what: hidden channels, neurons, heads. One table for all types whose layers lie
// as Llama's do; a type that is not in it cannot be pruned, and the error says why.

import type { Config, OpenedModel } from "../models/index.ts";

/** What a dimension counts. `qkv` and `gate_up` are fused projections: rows of q, k and v; of gate and up. */
export type Axis = "vocab" | "hidden" | "ffn" | "q" | "kv" | "head_dim" | "qkv" | "gate_up";

/** Of a layer, by the stem of a parameter's name: what the rows and the columns of its weight count. A bias has the rows. */
const LAYER: Readonly<Record<string, readonly [Axis, Axis?]>> = {
  input_layernorm: ["hidden"],
  "self_attn.q_proj": ["q", "hidden"],
  "self_attn.k_proj": ["kv", "hidden"],
  "self_attn.v_proj": ["kv", "hidden"],
  "self_attn.qkv_proj": ["qkv", "hidden"],
  "self_attn.q_norm": ["head_dim"],
  "self_attn.k_norm": ["head_dim"],
  "self_attn.o_proj": ["hidden", "q"],
  post_attention_layernorm: ["hidden"],
  pre_feedforward_layernorm: ["hidden"],
  post_feedforward_layernorm: ["hidden"],
  "mlp.gate_proj": ["ffn", "hidden"],
  "mlp.up_proj": ["ffn", "hidden"],
  "mlp.gate_up_proj": ["gate_up", "hidden"],
  "mlp.down_proj": ["hidden", "ffn"],
};
const OUTSIDE: Readonly<Record<string, readonly [Axis, Axis?]>> = {
  "model.embed_tokens": ["vocab", "hidden"],
  "model.norm": ["hidden"],
  lm_head: ["vocab", "hidden"],
};

/** Types whose parameters are those above. */
const SAME = ["llama", "mistral", "qwen2", "qwen3", "smollm3", "granite", "phi3", "gemma3_text", "gemma3"];
/** Why the others are not. */
const OTHER: Readonly<Record<string, string>> = {
  gpt2: "its norms subtract a mean over all channels and its positions are learned vectors",
  lfm2: "some of its layers are convolutions over the channels, with a state of their width",
  qwen3_5: "some of its layers are recurrent, with heads of another number and size",
  qwen3_5_text: "some of its layers are recurrent, with heads of another number and size",
  gemma4: "its layers have heads of two sizes and read each other's keys and values",
  gemma4_text: "its layers have heads of two sizes and read each other's keys and values",
  bert: "it is an encoder, which predicts no next token to measure a loss by",
};
/** Why hidden channels of a type stay, although the rest can be pruned. */
const KEEPS_HIDDEN: Readonly<Record<string, string>> = {
  gemma3_text: "its embedding is multiplied by the root of the hidden size",
  gemma3: "its embedding is multiplied by the root of the hidden size",
};

/** What can be pruned of a model. */
export interface Layout {
  /** Norms [hidden_size] that read the residual stream, in their order: what decides over hidden channels. */
  readonly norms: readonly string[];
  /** Why hidden channels cannot be dropped; absent: they can. */
  readonly keepsHidden?: string;
}

/** @throws {TypeError} for a type of another layout, or a matrix that is no float type, naming it */
export function layoutOf({ name, config, definition, tensors }: OpenedModel): Layout {
  const { model_type, num_hidden_layers } = config;
  const cannot = `Cannot prune ${JSON.stringify(name)}: `;
  if (!SAME.includes(model_type))
    throw new TypeError(
      `${cannot}${OTHER[model_type] ?? "its layers are of another kind"} (${model_type}), wanted one of ${SAME.join(", ")}`,
    );
  for (const parameter of definition.params(config).keys()) {
    const type = tensors.get(parameter)?.type;
    if (type !== undefined && type !== "f32" && type !== "f16" && type !== "bf16")
      throw new TypeError(
        `${cannot}tensor ${JSON.stringify(parameter)} is ${type}, wanted f32, f16 or bf16: blocks of quantized weights cannot be cut; prune the model that it was made from, and quantize what comes of it`,
      );
  }
  const layers = Array.from({ length: num_hidden_layers }, (_, i) => `model.layers.${i}`);
  const norms = layers.flatMap((at) => [
    `${at}.input_layernorm.weight`,
    `${at}.post_attention_layernorm.weight`,
  ]);
  const keepsHidden = KEEPS_HIDDEN[model_type];
  return { norms: [...norms, "model.norm.weight"], ...(keepsHidden !== undefined && { keepsHidden }) };
}

/** What a parameter's dimensions count, and its layer. */
export function axesOf(name: string): { readonly axes: readonly Axis[]; readonly layer?: number } {
  const [, layer, stem = "", end] = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  const [rows, columns] = (layer === undefined ? OUTSIDE[stem] : LAYER[stem]) ?? [];
  if (!rows) throw new RangeError(`Cannot prune: parameter ${JSON.stringify(name)} is of no known layout`);
  const axes = end === "weight" && columns ? [rows, columns] : [rows];
  return { axes, ...(layer !== undefined && { layer: Number(layer) }) };
}

/** What stays of a model. Numbers are the old model's, ascending. */
export interface Kept {
  readonly layers: readonly number[];
  readonly hidden: Int32Array;
  /** Of each kept layer, in their order: neurons, and heads of queries and of keys and values. */
  readonly ffn: readonly Int32Array[];
  readonly heads: readonly Int32Array[];
  readonly kv_heads: readonly Int32Array[];
}

/** Rows or columns of a parameter that stay. @param layer the new layer's number */
export function keptIndices(axis: Axis, kept: Kept, layer: number | undefined, config: Config): Int32Array {
  const { num_attention_heads, num_key_value_heads, head_dim, intermediate_size, vocab_size } = config;
  const j = layer ?? 0;
  const wide = (heads: Int32Array, from = 0) =>
    Int32Array.from(
      { length: heads.length * head_dim },
      (_, i) => from + heads[Math.floor(i / head_dim)]! * head_dim + (i % head_dim),
    );
  switch (axis) {
    case "vocab":
      return Int32Array.from({ length: vocab_size }, (_, i) => i);
    case "head_dim":
      return Int32Array.from({ length: head_dim }, (_, i) => i);
    case "hidden":
      return kept.hidden;
    case "ffn":
      return kept.ffn[j]!;
    case "gate_up":
      return joined(
        kept.ffn[j]!,
        kept.ffn[j]!.map((i) => i + intermediate_size),
      );
    case "q":
      return wide(kept.heads[j]!);
    case "kv":
      return wide(kept.kv_heads[j]!);
    case "qkv": {
      const [q, kv] = [num_attention_heads * head_dim, num_key_value_heads * head_dim];
      const own = kept.kv_heads[j]!;
      return joined(wide(kept.heads[j]!), wide(own, q), wide(own, q + kv));
    }
  }
}

function joined(...parts: Int32Array[]): Int32Array {
  return Int32Array.from(parts.flatMap((part) => [...part]));
}
