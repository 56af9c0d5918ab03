// Names of tensors: Hugging Face's <-> GGUF's, by the table of a model type; and the rows that GGUF moves.

import type { Config } from "./config.ts";
import type { GgufForm } from "./definition.ts";

/** Stems of what most decoders have, `*` for the layer. */
export const DECODER_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.layers.*.input_layernorm": "blk.*.attn_norm",
  "model.layers.*.self_attn.q_proj": "blk.*.attn_q",
  "model.layers.*.self_attn.k_proj": "blk.*.attn_k",
  "model.layers.*.self_attn.v_proj": "blk.*.attn_v",
  "model.layers.*.self_attn.o_proj": "blk.*.attn_output",
  "model.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
  "model.layers.*.mlp.gate_proj": "blk.*.ffn_gate",
  "model.layers.*.mlp.up_proj": "blk.*.ffn_up",
  "model.layers.*.mlp.down_proj": "blk.*.ffn_down",
  "model.norm": "output_norm",
  lm_head: "output",
};

type Names = Readonly<Record<string, string>>;
const inverted = new WeakMap<Names, Names>();

/** GGUF's name of a tensor, or undefined for one it has no name for. */
export function toGgufName(names: Names, name: string): string | undefined {
  return translate(names, name);
}

/** Hugging Face's name of a GGUF tensor, or undefined for one it has no name for (`rope_freqs.weight`). */
export function fromGgufName(names: Names, name: string): string | undefined {
  let back = inverted.get(names);
  if (!back) {
    back = Object.fromEntries(Object.entries(names).map(([hf, gguf]) => [gguf, hf]));
    inverted.set(names, back);
  }
  return translate(back, name);
}

function translate(names: Names, name: string): string | undefined {
  const layer = /\.(\d+)\./.exec(name)?.[1];
  // A few have no such end, or one of them alone.
  const whole = layer === undefined ? name : name.replace(`.${layer}.`, ".*.");
  if (Object.hasOwn(names, whole) && layer !== undefined) return names[whole]!.replace("*", layer);
  const [, stem = "", end] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const key = layer === undefined ? stem : stem.replace(`.${layer}.`, ".*.");
  const found = Object.hasOwn(names, key) ? names[key]! : undefined;
  if (found === undefined || key.includes("*") !== (layer !== undefined)) return undefined;
  return `${layer === undefined ? found : found.replace("*", layer)}.${end}`;
}

/**
 * Rows of q and k of types such as llama lie in GGUF with the halves of each head interleaved: row 2i and 2i + 1 of a
 * head are i and i + head_dim / 2 of Hugging Face's. The number of heads of such a tensor, else undefined.
 * @param name Hugging Face's
 */
export function interleavedHeads(
  gguf: GgufForm,
  config: { num_attention_heads: number; num_key_value_heads: number },
  name: string,
): number | undefined {
  if (!gguf.interleaved) return undefined;
  if (/\.q_proj\.(weight|bias)$/.test(name)) return config.num_attention_heads;
  if (/\.k_proj\.(weight|bias)$/.test(name)) return config.num_key_value_heads;
  return undefined;
}

/**
 * Whether a linear's rows or columns lie in another order in an adapter of one format than in a model whose heads are
 * `tiled` or not (see `GgufForm.moved`).
 */
export function liesOtherwise(
  gguf: GgufForm,
  config: Config,
  path: string,
  format: "gguf" | "peft",
): boolean {
  const tiled = config.linear_attention?.tiled ?? false;
  return gguf.moved?.(`${path}.weight`, config) !== undefined && tiled !== (format === "gguf");
}

/**
 * Row of the source that row `row` of the target is, when heads are interleaved (HF -> GGUF) or put back.
 * @param rows of the whole tensor
 */
export function sourceRow(row: number, rows: number, heads: number, to: "gguf" | "hf"): number {
  const dim = rows / heads;
  const start = row - (row % dim);
  const r = row % dim;
  const half = dim / 2;
  return start + (to === "gguf" ? (r & 1) * half + (r >> 1) : r < half ? 2 * r : 2 * (r - half) + 1);
}

/** `bytes` of a tensor with its rows moved; blocks of quantized types never cross rows, so every type moves alike. */
export function moveRows(bytes: Uint8Array, rows: number, heads: number, to: "gguf" | "hf"): Uint8Array {
  const width = bytes.length / rows;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const from = sourceRow(row, rows, heads, to) * width;
    out.set(bytes.subarray(from, from + width), row * width);
  }
  return out;
}
