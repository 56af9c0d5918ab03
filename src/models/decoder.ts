// What the decoders share: grouped-query attention with rotary positions, the gated MLP, and their parameters.
// T: tokens · Hq, Hkv: query and key-value heads · D: head size · C: hidden size · F: intermediate size

import { attention, attention_paged, kv_write, reshape, rope, swiglu } from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Config } from "./config.ts";
import type { Batch, Module } from "./definition.ts";
import { layerWindow } from "./layers.ts";

type Shapes = Map<string, readonly number[]>;

/** `path.weight` [out, in] and, when it has one, `path.bias` [out]. */
export function linearParams(shapes: Shapes, path: string, out: number, width: number, bias: boolean): void {
  shapes.set(`${path}.weight`, [out, width]);
  if (bias) shapes.set(`${path}.bias`, [out]);
}

/** q, k, v and o projections of layer `i` of width C. */
export function attentionParams(
  shapes: Shapes,
  path: string,
  c: Config,
  bias: { qkv: boolean; o: boolean },
): void {
  const q = c.num_attention_heads * c.head_dim;
  const kv = c.num_key_value_heads * c.head_dim;
  linearParams(shapes, `${path}.q_proj`, q, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.k_proj`, kv, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.v_proj`, kv, c.hidden_size, bias.qkv);
  linearParams(shapes, `${path}.o_proj`, c.hidden_size, q, bias.o);
}

/** gate, up [F, C] and down [C, F]. */
export function mlpParams(shapes: Shapes, path: string, c: Config, bias: boolean): void {
  linearParams(shapes, `${path}.gate_proj`, c.intermediate_size, c.hidden_size, bias);
  linearParams(shapes, `${path}.up_proj`, c.intermediate_size, c.hidden_size, bias);
  linearParams(shapes, `${path}.down_proj`, c.hidden_size, c.intermediate_size, bias);
}

/**
 * Causal self-attention of layer `i`: softmax(q kᵀ / √D) v with rotated q and k, projected back.
 * h [T, C] -> [T, C]. With a cache the step's k and v go to pages first and attention reads everything from there.
 */
export function selfAttention(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { num_attention_heads, num_key_value_heads, head_dim, num_hidden_layers } = m.config;
  const heads = (name: string, count: number) =>
    reshape(m.linear(`${path}.${name}`, h), ["T", count, head_dim]);
  const q = heads("q_proj", num_attention_heads); // [T, Hq, D]
  const k = heads("k_proj", num_key_value_heads); // [T, Hkv, D]
  const v = heads("v_proj", num_key_value_heads); // [T, Hkv, D]
  const table = batch.rope_table(i);
  const qr = table ? rope(q, batch.positions, table) : q;
  const kr = table ? rope(k, batch.positions, table) : k;
  const scale = 1 / Math.sqrt(head_dim);
  const window = layerWindow(m.config, i);
  let o: Tensor; // [T, Hq, D]
  if (batch.cache) {
    const { kv, pages } = batch.cache;
    const layers = num_hidden_layers;
    const attrs = { layer: i, layers, num_attention_heads, num_key_value_heads, head_dim, window, scale };
    kv_write(kr, v, kv, batch.segments, pages, attrs);
    o = attention_paged(qr, kv, batch.segments, pages, attrs);
  } else {
    [o] = attention(qr, kr, v, batch.segments, { causal: true, window, scale });
  }
  return m.linear(`${path}.o_proj`, reshape(o, ["T", num_attention_heads * head_dim]));
}

/** down(silu(gate(h)) · up(h)): h [T, C] -> [T, C] */
export function gatedMlp(m: Module, path: string, h: Tensor): Tensor {
  const gate = m.linear(`${path}.gate_proj`, h); // [T, F]
  const up = m.linear(`${path}.up_proj`, h); // [T, F]
  return m.linear(`${path}.down_proj`, swiglu(gate, up));
}
