// Names of tensors: Hugging Face's <-> GGUF's, for llama and qwen2.

/** HF prefix inside a layer -> GGUF's inside a block. Both end in `.weight` or `.bias`. */
const BLOCK: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};
const TOP: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};

const invert = (table: Readonly<Record<string, string>>) =>
  new Map(Object.entries(table).map(([hf, gguf]) => [gguf, hf]));
const FROM_TOP = invert(TOP);
const FROM_BLOCK = invert(BLOCK);

/** GGUF's name of a tensor, or undefined for one it has no name for. */
export function toGgufName(name: string): string | undefined {
  const [, stem = "", end] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const top = Object.hasOwn(TOP, stem) ? TOP[stem] : undefined;
  if (top) return `${top}.${end}`;
  const [, layer, part = ""] = /^model\.layers\.(\d+)\.(.*)$/.exec(stem) ?? [];
  const block = Object.hasOwn(BLOCK, part) ? BLOCK[part] : undefined;
  return block && `blk.${layer}.${block}.${end}`;
}

/** Hugging Face's name of a GGUF tensor, or undefined for one it has no name for (`rope_freqs.weight`). */
export function fromGgufName(name: string): string | undefined {
  const [, stem = "", end] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const top = FROM_TOP.get(stem);
  if (top) return `${top}.${end}`;
  const [, layer, part = ""] = /^blk\.(\d+)\.(.*)$/.exec(stem) ?? [];
  const inner = FROM_BLOCK.get(part);
  return inner && `model.layers.${layer}.${inner}.${end}`;
}

/**
 * Rows of q and k of the llama type lie in GGUF with the halves of each head interleaved: row 2i and 2i + 1 of a
 * head are i and i + head_dim / 2 of Hugging Face's. The number of heads of such a tensor, else undefined.
 * @param name Hugging Face's
 */
export function interleavedHeads(
  config: { model_type: string; num_attention_heads: number; num_key_value_heads: number },
  name: string,
): number | undefined {
  if (config.model_type !== "llama") return undefined;
  if (/\.q_proj\.(weight|bias)$/.test(name)) return config.num_attention_heads;
  if (/\.k_proj\.(weight|bias)$/.test(name)) return config.num_key_value_heads;
  return undefined;
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
