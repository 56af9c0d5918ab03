// What the decoders share: grouped-query attention with rotary positions, the gated MLP, and their parameters.
// T: tokens · Hq, Hkv: query and key-value heads · D: head size · C: hidden size · F: intermediate size

import {
  attention,
  attention_paged,
  gather_rows,
  kv_write,
  reshape,
  rms_norm,
  rope,
  swiglu,
} from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Config } from "./config.ts";
import type { Batch, Module } from "./definition.ts";
import { kvPlace, kvSource, layerHeads, layerWindow } from "./layers.ts";

export type Shapes = Map<string, readonly number[]>;

/** `path.weight` [out, in] and, when it has one, `path.bias` [out]. */
export function linearParams(shapes: Shapes, path: string, out: number, width: number, bias: boolean): void {
  shapes.set(`${path}.weight`, [out, width]);
  if (bias) shapes.set(`${path}.bias`, [out]);
}

/** Embedding, what `layer` adds under `model.layers.i`, the last norm, and the head where it is not the embedding. */
export function decoderParams(c: Config, layer: (shapes: Shapes, at: string) => void): Shapes {
  const shapes: Shapes = new Map([["model.embed_tokens.weight", [c.vocab_size, c.hidden_size]]]);
  for (let i = 0; i < c.num_hidden_layers; i++) layer(shapes, `model.layers.${i}`);
  shapes.set("model.norm.weight", [c.hidden_size]);
  if (!c.tie_word_embeddings) shapes.set("lm_head.weight", [c.vocab_size, c.hidden_size]);
  return shapes;
}

/** q, k, v and o projections of layer `i` of width C. */
export function attentionParams(
  shapes: Shapes,
  path: string,
  c: Config,
  bias: { qkv: boolean; o: boolean },
  { qk_norm = false } = {},
): void {
  const q = c.num_attention_heads * c.head_dim;
  const kv = c.num_key_value_heads * c.head_dim;
  linearParams(shapes, `${path}.q_proj`, q, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.k_proj`, kv, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.v_proj`, kv, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.o_proj`, c.hidden_size, q, bias.o);
  if (qk_norm) for (const name of ["q_norm", "k_norm"]) shapes.set(`${path}.${name}.weight`, [c.head_dim]);
}

/** gate, up [F, C] and down [C, F]. */
export function mlpParams(shapes: Shapes, path: string, c: Config, bias: boolean): void {
  linearParams(shapes, `${path}.gate_proj`, c.intermediate_size, c.hidden_size, bias);
  linearParams(shapes, `${path}.up_proj`, c.intermediate_size, c.hidden_size, bias);
  linearParams(shapes, `${path}.down_proj`, c.hidden_size, c.intermediate_size, bias);
}

/** How the attention of a type differs from Llama's. */
export interface AttentionOptions {
  /** rms_norm of every head of q and k, by `q_norm` and `k_norm` [D], before they are rotated. */
  readonly qk_norm?: boolean;
  /** Factor of q·k. Default: 1 / √D. */
  readonly scale?: number;
}

/** Causal self-attention of layer `i`: softmax(q kᵀ · scale) v with rotated q and k, projected back. h [T, C] -> [T, C] */
export function selfAttention(
  m: Module,
  path: string,
  i: number,
  h: Tensor,
  batch: Batch,
  { qk_norm = false, scale }: AttentionOptions = {},
): Tensor {
  const { num_attention_heads, num_key_value_heads, rms_norm_eps } = m.config;
  let q = heads(m, m.linear(`${path}.q_proj`, h), num_attention_heads); // [T, Hq, D]
  let k = heads(m, m.linear(`${path}.k_proj`, h), num_key_value_heads); // [T, Hkv, D]
  const v = heads(m, m.linear(`${path}.v_proj`, h), num_key_value_heads); // [T, Hkv, D]
  if (qk_norm) {
    q = rms_norm(q, m.param(`${path}.q_norm.weight`), rms_norm_eps);
    k = rms_norm(k, m.param(`${path}.k_norm.weight`), rms_norm_eps);
  }
  return m.linear(`${path}.o_proj`, attend(m, i, q, { k, v }, batch, scale));
}

/** x [T, count · D] as [T, count, D] */
export function heads(m: Module, x: Tensor, count: number): Tensor {
  return reshape(x, ["T", count, m.config.head_dim]);
}

/**
 * softmax(q kᵀ · scale) v of layer `i`, in its window, q and k rotated by its table if it has one.
 * q [T, Hq, D], k, v [T, Hkv, D] -> [T, Hq · D]. With a cache the step's k and v go to pages first and attention reads
 * everything from there. Without `own` k and v the layer reads those of an earlier one (see `kvSource`).
 */
export function attend(
  m: Module,
  i: number,
  q: Tensor,
  own: { readonly k: Tensor; readonly v: Tensor } | undefined,
  batch: Batch,
  scale = m.config.head_dim ** -0.5,
): Tensor {
  const { num_attention_heads, num_key_value_heads, head_dim } = layerHeads(m.config, i);
  const table = batch.rope_table(i);
  const turned = (x: Tensor) => (table ? rope(x, batch.positions, table) : x);
  const qr = turned(q);
  const kr = own && turned(own.k);
  const window = layerWindow(m.config, i);
  let o: Tensor; // [T, Hq, D]
  if (batch.cache) {
    const { pages } = batch.cache;
    const kv = batch.cache.kv(i);
    const { layer, pool } = kvPlace(m.config, i);
    const { layers } = pool;
    const attrs = { layer, layers, num_attention_heads, num_key_value_heads, head_dim, window, scale };
    if (own && kr) kv_write(kr, own.v, kv, batch.segments, pages, attrs);
    o = attention_paged(qr, kv, batch.segments, pages, attrs);
  } else {
    const source = kvSource(m.config, i);
    if (own && kr) batch.kept.set(`${i}.k`, kr).set(`${i}.v`, own.v);
    const [k, v] = [batch.kept.get(`${source}.k`)!, batch.kept.get(`${source}.v`)!];
    [o] = attention(qr, k, v, batch.segments, { causal: true, window, scale });
  }
  return reshape(o, ["T", num_attention_heads * head_dim]);
}

/** down(act(gate(h)) · up(h)), act silu by default: h [T, C] -> [T, C] */
export function gatedMlp(m: Module, path: string, h: Tensor, gated: typeof swiglu = swiglu): Tensor {
  const gate = m.linear(`${path}.gate_proj`, h); // [T, F]
  const up = m.linear(`${path}.up_proj`, h); // [T, F]
  return m.linear(`${path}.down_proj`, gated(gate, up));
}

/** Rows of the embedding: tokens -> [T, C] */
export function embedTokens(m: Module, batch: Batch): Tensor {
  return gather_rows(m.param("model.embed_tokens.weight"), batch.tokens);
}

/** rms_norm of the wanted rows, then the head, which may be the embedding: x [T, C] -> [R, vocab_size] */
export function normedHead(m: Module, x: Tensor, batch: Batch, norm = "model.norm"): Tensor {
  const rows = gather_rows(x, batch.rows); // [R, C]
  const h = rms_norm(rows, m.param(`${norm}.weight`), m.config.rms_norm_eps);
  return m.linear(m.config.tie_word_embeddings ? "model.embed_tokens" : "lm_head", h);
}
