// LFM2 (Liquid): most layers are short convolutions between gates that the input gives, the others attend with rms_norm
// of every head of q and k. Source: transformers, `models/lfm2/modeling_lfm2.py`.

import { add, rms_norm, short_conv, slice_last, swiglu } from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { GgufValue } from "../formats/index.ts";
import { type Config, LIMITS } from "./config.ts";
import { attend, embedTokens, heads, linearParams, normedHead, type Shapes } from "./decoder.ts";
import type { Batch, Definition, Module } from "./definition.ts";
import { Fields } from "./fields.ts";
import { kvLayers, type LayerType, layerTypesOf } from "./layers.ts";

/** What a config.json may leave out: the defaults of transformers' Lfm2Config. */
const DEFAULTS = {
  vocab_size: 65536,
  hidden_size: 2560,
  intermediate_size: 12288,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 128000,
  norm_eps: 1e-5,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  rope_theta: 1e6,
};
/** Tokens that a convolution sees. */
const TAPS = { min: 2, max: 8 };
const HEADS_KV = "attention.head_count_kv";

/** Values of the state of one convolution: its last taps - 1 inputs. */
const convSize = ({ conv_L_cache, hidden_size }: Config) => (conv_L_cache! - 1) * hidden_size;

export const lfm2: Definition = {
  model_type: "lfm2",
  architecture: "Lfm2ForCausalLM",
  sliding: true,
  gguf: {
    architecture: "lfm2",
    names: {
      "model.embed_tokens": "token_embd",
      "model.layers.*.operator_norm": "blk.*.attn_norm",
      "model.layers.*.self_attn.q_proj": "blk.*.attn_q",
      "model.layers.*.self_attn.k_proj": "blk.*.attn_k",
      "model.layers.*.self_attn.v_proj": "blk.*.attn_v",
      "model.layers.*.self_attn.out_proj": "blk.*.attn_output",
      "model.layers.*.self_attn.q_layernorm": "blk.*.attn_q_norm",
      "model.layers.*.self_attn.k_layernorm": "blk.*.attn_k_norm",
      "model.layers.*.conv.in_proj": "blk.*.shortconv.in_proj",
      "model.layers.*.conv.conv": "blk.*.shortconv.conv",
      "model.layers.*.conv.out_proj": "blk.*.shortconv.out_proj",
      "model.layers.*.ffn_norm": "blk.*.ffn_norm",
      "model.layers.*.feed_forward.w1": "blk.*.ffn_gate",
      "model.layers.*.feed_forward.w3": "blk.*.ffn_up",
      "model.layers.*.feed_forward.w2": "blk.*.ffn_down",
      "model.embedding_norm": "token_embd_norm",
      lm_head: "output",
    },
    // A list, 0 where a layer does not attend.
    commonFields(own) {
      const list = own.value(HEADS_KV);
      const most = Array.isArray(list) ? list.reduce((a, b) => Math.max(a, b), 0) : list;
      return new Fields(own.file, (key) => (key === HEADS_KV ? most : own.value(key)), own.prefix);
    },
    readConfig(fields, { num_hidden_layers, num_key_value_heads }) {
      const list = fields.value(HEADS_KV);
      if (Array.isArray(list) && list.length !== num_hidden_layers)
        fields.fail(HEADS_KV, list, `${num_hidden_layers} values`);
      const layer_types = Array.from({ length: num_hidden_layers }, (_, i): LayerType => {
        const heads: unknown = Array.isArray(list) ? list[i] : list;
        if (heads !== 0 && heads !== num_key_value_heads)
          fields.fail(`${HEADS_KV}[${i}]`, heads, `0 or ${num_key_value_heads}`);
        return heads === 0 ? "conv" : "full_attention";
      });
      const window = fields.integer("attention.sliding_window", { min: 0, max: 2 ** 30 }, 0);
      if (window > 0) fields.fail("attention.sliding_window", window, "0: it is not implemented for lfm2");
      return { layer_types, conv_L_cache: fields.integer("shortconv.l_cache", TAPS) };
    },
    *writeConfig({ layer_types, num_key_value_heads, conv_L_cache }): Generator<[string, GgufValue]> {
      const value = Int32Array.from(layer_types!, (type) => (type === "conv" ? 0 : num_key_value_heads));
      yield [HEADS_KV, { type: "array", of: "int32", value }];
      yield ["shortconv.l_cache", { type: "uint32", value: conv_L_cache! }];
    },
  },

  commonFields: (own) =>
    own.under(
      {
        rms_norm_eps: "norm_eps",
        ...(own.has("tie_embedding") && { tie_word_embeddings: "tie_embedding" }),
        ...(own.has("block_ff_dim") && { intermediate_size: "block_ff_dim" }),
      },
      DEFAULTS,
    ),
  readConfig(fields, common) {
    if (fields.boolean("conv_bias", false)) fields.fail("conv_bias", true, "false: it is not implemented");
    const layers = common.num_hidden_layers;
    const attending = fields.integers("full_attn_idxs", { min: 0, max: layers - 1 }, layers);
    const layer_types = layerTypesOf(fields, layers, ["full_attention", "conv"], (i) =>
      !fields.has("full_attn_idxs") || attending.includes(i) ? "full_attention" : "conv",
    );
    if (!layer_types.includes("full_attention"))
      fields.fail("layer_types", layer_types, '"full_attention" for one layer at least');
    return {
      layer_types,
      conv_L_cache: fields.integer("conv_L_cache", TAPS, 3),
      intermediate_size: feedForward(fields, common.intermediate_size),
    };
  },
  writeConfig: ({ rms_norm_eps }) => ({
    norm_eps: rms_norm_eps,
    block_auto_adjust_ff_dim: false,
    conv_bias: false,
    rms_norm_eps: undefined,
    hidden_act: undefined,
    attention_bias: undefined,
    mlp_bias: undefined,
  }),

  stored: (name) => (name.endsWith(".conv.conv.weight") ? "depthwise" : undefined),
  stateSize: (c) => (c.num_hidden_layers - kvLayers(c)) * convSize(c),

  params(c) {
    const C = c.hidden_size;
    const shapes: Shapes = new Map([["model.embed_tokens.weight", [c.vocab_size, C]]]);
    for (let i = 0; i < c.num_hidden_layers; i++) {
      const layer = `model.layers.${i}`;
      shapes.set(`${layer}.operator_norm.weight`, [C]);
      if (c.layer_types![i] === "conv") {
        linearParams(shapes, `${layer}.conv.in_proj`, 3 * C, C, false);
        shapes.set(`${layer}.conv.conv.weight`, [C, c.conv_L_cache!]);
        linearParams(shapes, `${layer}.conv.out_proj`, C, C, false);
      } else {
        const at = `${layer}.self_attn`;
        const [q, kv] = [c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim];
        linearParams(shapes, `${at}.q_proj`, q, C, false);
        linearParams(shapes, `${at}.k_proj`, kv, C, false);
        linearParams(shapes, `${at}.v_proj`, kv, C, false);
        linearParams(shapes, `${at}.out_proj`, C, q, false);
        for (const name of ["q_layernorm", "k_layernorm"]) shapes.set(`${at}.${name}.weight`, [c.head_dim]);
      }
      shapes.set(`${layer}.ffn_norm.weight`, [C]);
      linearParams(shapes, `${layer}.feed_forward.w1`, c.intermediate_size, C, false);
      linearParams(shapes, `${layer}.feed_forward.w3`, c.intermediate_size, C, false);
      linearParams(shapes, `${layer}.feed_forward.w2`, C, c.intermediate_size, false);
    }
    shapes.set("model.embedding_norm.weight", [C]);
    if (!c.tie_word_embeddings) shapes.set("lm_head.weight", [c.vocab_size, C]);
    return shapes;
  },

  embed: embedTokens,

  block(m, i, x, batch) {
    const layer = `model.layers.${i}`;
    const h = norm(m, `${layer}.operator_norm`, x);
    const mixed =
      m.config.layer_types![i] === "conv"
        ? shortConv(m, `${layer}.conv`, i, h, batch)
        : attention(m, `${layer}.self_attn`, i, h, batch);
    const y = add(x, mixed);
    const g = norm(m, `${layer}.ffn_norm`, y);
    const gate = m.linear(`${layer}.feed_forward.w1`, g); // [T, F]
    const up = m.linear(`${layer}.feed_forward.w3`, g); // [T, F]
    return add(y, m.linear(`${layer}.feed_forward.w2`, swiglu(gate, up))); // [T, hidden_size]
  },

  head: (m, x, batch) => normedHead(m, x, batch, "model.embedding_norm"),
};

/** out(c · conv(b · x)), b, c and x by one projection: h [T, C] -> [T, C] */
function shortConv(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { hidden_size: C } = m.config;
  const all = m.linear(`${path}.in_proj`, h); // [T, 3 C]
  const [b, c, x] = [0, 1, 2].map((part) => slice_last(all, part * C, C)) as [Tensor, Tensor, Tensor];
  const state = batch.recurrent && {
    ...batch.recurrent,
    offset: (i - kvLayers(m.config, i)) * convSize(m.config),
  };
  const y = short_conv(b, c, x, m.param(`${path}.conv.weight`), batch.segments, state);
  return m.linear(`${path}.out_proj`, y);
}

/** Causal self-attention, q and k normed by head and rotated: h [T, C] -> [T, C] */
function attention(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { num_attention_heads, num_key_value_heads } = m.config;
  const q = heads(m, m.linear(`${path}.q_proj`, h), num_attention_heads); // [T, Hq, D]
  const k = heads(m, m.linear(`${path}.k_proj`, h), num_key_value_heads); // [T, Hkv, D]
  const v = heads(m, m.linear(`${path}.v_proj`, h), num_key_value_heads); // [T, Hkv, D]
  const [qn, kn] = [norm(m, `${path}.q_layernorm`, q), norm(m, `${path}.k_layernorm`, k)];
  return m.linear(`${path}.out_proj`, attend(m, i, qn, { k: kn, v }, batch));
}

function norm(m: Module, path: string, x: Tensor): Tensor {
  return rms_norm(x, m.param(`${path}.weight`), m.config.rms_norm_eps);
}

/** The width of the MLP: two thirds of what is stated, and then a multiple of something, unless that is switched off. */
function feedForward(fields: Fields, stated: number): number {
  if (!fields.boolean("block_auto_adjust_ff_dim", true)) return stated;
  const factor = fields.number("block_ffn_dim_multiplier", { min: 1e-3, max: 1e3 }, 1);
  const multiple = fields.integer("block_multiple_of", { min: 1, max: LIMITS.intermediate_size.max }, 256);
  const width = multiple * Math.ceil(Math.floor(factor * Math.floor((2 * stated) / 3)) / multiple);
  if (width < 1 || width > LIMITS.intermediate_size.max)
    fields.fail("block_multiple_of", multiple, `an MLP of at most ${LIMITS.intermediate_size.max}`);
  return width;
}
