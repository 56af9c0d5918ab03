// Qwen3.5, text: three of four layers are linear attention by the gated delta rule behind a short convolution, the others
// attend with a gate on what comes out and rotate a quarter of a head. Norms hold the weight less one.
// Source: transformers, `models/qwen3_5/modeling_qwen3_5.py`.

import {
  add,
  causal_conv,
  gated_delta_net,
  mul,
  reshape,
  rms_norm,
  sigmoid,
  slice_last,
} from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { GgufValue } from "../formats/index.ts";
import type { Config } from "./config.ts";
import {
  attend,
  decoderParams,
  embedTokens,
  gatedMlp,
  heads,
  linearParams,
  mlpParams,
  normedHead,
} from "./decoder.ts";
import type { Batch, Definition, Module } from "./definition.ts";
import { Fields } from "./fields.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { kvLayers, type LayerType, layerTypesOf } from "./layers.ts";

/** What a config.json may leave out: the defaults of transformers' Qwen3_5TextConfig. */
const DEFAULTS = {
  vocab_size: 248320,
  hidden_size: 4096,
  intermediate_size: 12288,
  num_hidden_layers: 32,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  partial_rotary_factor: 0.25,
  full_attention_interval: 4,
  linear_conv_kernel_dim: 4,
  linear_key_head_dim: 128,
  linear_value_head_dim: 128,
  linear_num_key_heads: 16,
  linear_num_value_heads: 32,
};
const TAPS = { min: 2, max: 8 };
const HEADS = { min: 1, max: 4096 };
const HEAD_DIM = { min: 1, max: 256 };
const INTERVAL = { min: 1, max: 2 ** 16 };
/** Components of a head for each kind of position; those of text are all the same. */
const SECTIONS = [11, 11, 10, 0];

/** Sizes of the linear attention. */
function sizes(c: Config) {
  const { Hk, Hv, Dk, Dv, taps, tiled } = c.linear_attention!;
  const width = 2 * Hk * Dk + Hv * Dv;
  const conv = (taps - 1) * width;
  return { Hk, Hv, Dk, Dv, taps, tiled, width, conv, state: conv + Hv * Dk * Dv };
}

function checkLinearHeads(fields: Fields, key: string, Hk: number, Hv: number): void {
  if (Hv % Hk !== 0) fields.fail(key, Hv, `a multiple of the number of key heads, ${Hk}`);
}

/** The last of every `interval` layers attends. */
const layerOf =
  (interval: number) =>
  (i: number): LayerType =>
    (i + 1) % interval === 0 ? "full_attention" : "linear_attention";

export const qwen3_5_text: Definition = {
  model_type: "qwen3_5_text",
  architecture: "Qwen3_5ForCausalLM",
  sliding: true,
  partial_rotary: true,
  gguf: {
    architecture: "qwen35",
    names: {
      ...DECODER_NAMES,
      "model.layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
      "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
      "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
      "model.layers.*.linear_attn.in_proj_qkv": "blk.*.attn_qkv",
      "model.layers.*.linear_attn.in_proj_z": "blk.*.attn_gate",
      "model.layers.*.linear_attn.in_proj_b": "blk.*.ssm_beta",
      "model.layers.*.linear_attn.in_proj_a": "blk.*.ssm_alpha",
      "model.layers.*.linear_attn.conv1d": "blk.*.ssm_conv1d",
      "model.layers.*.linear_attn.dt_bias": "blk.*.ssm_dt.bias",
      "model.layers.*.linear_attn.A_log": "blk.*.ssm_a",
      "model.layers.*.linear_attn.norm": "blk.*.ssm_norm",
      "model.layers.*.linear_attn.out_proj": "blk.*.ssm_out",
    },
    stored: (name) => (name.endsWith(".A_log") ? "neg_exp" : undefined),
    moved: movedHeads,
    // Layers that predict further tokens lie behind the others, and are not used.
    commonFields(own) {
      const further = own.integer("nextn_predict_layers", { min: 0, max: 64 }, 0);
      const get = (key: string) => {
        const value = own.value(key);
        return key === "block_count" && typeof value === "number" ? value - further : value;
      };
      return new Fields(own.file, get, own.prefix);
    },
    readConfig(fields, { num_hidden_layers: layers }) {
      const Hk = fields.integer("ssm.group_count", HEADS);
      const Hv = fields.integer("ssm.time_step_rank", HEADS);
      const D = fields.integer("ssm.state_size", HEAD_DIM);
      checkLinearHeads(fields, "ssm.time_step_rank", Hk, Hv);
      const inner = fields.integer("ssm.inner_size", { min: 1, max: 2 ** 20 });
      if (inner !== Hv * D) fields.fail("ssm.inner_size", inner, `${Hv * D}`);
      const key = "attention.recurrent_layers";
      const list = fields.value(key);
      if (Array.isArray(list) && list.length < layers) fields.fail(key, list, `${layers} values`);
      const interval = fields.integer("full_attention_interval", INTERVAL, DEFAULTS.full_attention_interval);
      const layer_types = Array.from({ length: layers }, (_, i): LayerType => {
        if (!Array.isArray(list)) return layerOf(interval)(i);
        return list[i] ? "linear_attention" : "full_attention";
      });
      if (!layer_types.includes("full_attention")) fields.fail(key, list, "one layer at least that attends");
      const taps = fields.integer("ssm.conv_kernel", TAPS);
      return { layer_types, linear_attention: { Hk, Hv, Dk: D, Dv: D, taps, tiled: Hv > Hk } };
    },
    *writeConfig(config): Generator<[string, GgufValue]> {
      const { Hk, Hv, Dk, Dv, taps } = sizes(config);
      if (Dk !== Dv)
        throw new TypeError(
          `Cannot write a qwen3_5 model as GGUF: linear_key_head_dim is ${Dk} and linear_value_head_dim ${Dv}, wanted equal, which is all that GGUF can state`,
        );
      const u32 = (value: number): GgufValue => ({ type: "uint32", value });
      yield ["ssm.conv_kernel", u32(taps)];
      yield ["ssm.state_size", u32(Dk)];
      yield ["ssm.group_count", u32(Hk)];
      yield ["ssm.time_step_rank", u32(Hv)];
      yield ["ssm.inner_size", u32(Hv * Dv)];
      const types = config.layer_types!;
      const first = types.indexOf("full_attention") + 1;
      yield ["full_attention_interval", u32(first)];
      const value = Uint8Array.from(types, (type) => (type === "linear_attention" ? 1 : 0));
      if (types.some((type, i) => type !== layerOf(first)(i)))
        yield ["attention.recurrent_layers", { type: "array", of: "bool", value }];
      yield ["rope.dimension_sections", { type: "array", of: "int32", value: Int32Array.from(SECTIONS) }];
    },
  },

  commonFields: (own) => own.under({}, DEFAULTS),
  readConfig(fields, { num_hidden_layers }) {
    if (!fields.boolean("attn_output_gate", true))
      fields.fail("attn_output_gate", false, "true: the type has a gate");
    const interval = fields.integer("full_attention_interval", INTERVAL);
    const allowed = ["full_attention", "linear_attention"] as const;
    const layer_types = layerTypesOf(fields, num_hidden_layers, allowed, layerOf(interval));
    if (!layer_types.includes("full_attention"))
      fields.fail("layer_types", layer_types, '"full_attention" for one layer at least');
    const Hk = fields.integer("linear_num_key_heads", HEADS);
    const Hv = fields.integer("linear_num_value_heads", HEADS);
    checkLinearHeads(fields, "linear_num_value_heads", Hk, Hv);
    const Dk = fields.integer("linear_key_head_dim", HEAD_DIM);
    const Dv = fields.integer("linear_value_head_dim", HEAD_DIM);
    const taps = fields.integer("linear_conv_kernel_dim", TAPS);
    return { mlp_bias: false, layer_types, linear_attention: { Hk, Hv, Dk, Dv, taps, tiled: false } };
  },
  writeConfig(config) {
    const { Hk, Hv, Dk, Dv, taps } = sizes(config);
    return {
      mlp_bias: undefined,
      linear_attention: undefined,
      linear_num_key_heads: Hk,
      linear_num_value_heads: Hv,
      linear_key_head_dim: Dk,
      linear_value_head_dim: Dv,
      linear_conv_kernel_dim: taps,
    };
  },

  parameterName: (name) => name.replace(/^model\.language_model\./, "model."),
  stored(name) {
    if (name.endsWith(".conv1d.weight")) return "depthwise";
    return name.endsWith("norm.weight") && !name.endsWith("linear_attn.norm.weight") ? "less_one" : undefined;
  },
  stateSize: (c) => (c.num_hidden_layers - kvLayers(c)) * sizes(c).state,

  params: (c) =>
    decoderParams(c, (shapes, layer) => {
      const C = c.hidden_size;
      shapes.set(`${layer}.input_layernorm.weight`, [C]);
      if (c.layer_types![Number(layer.split(".").at(-1))] === "linear_attention") {
        const at = `${layer}.linear_attn`;
        const { Hv, Dv, taps, width } = sizes(c);
        linearParams(shapes, `${at}.in_proj_qkv`, width, C, false);
        linearParams(shapes, `${at}.in_proj_z`, Hv * Dv, C, false);
        linearParams(shapes, `${at}.in_proj_b`, Hv, C, false);
        linearParams(shapes, `${at}.in_proj_a`, Hv, C, false);
        shapes.set(`${at}.conv1d.weight`, [width, taps]);
        shapes.set(`${at}.dt_bias`, [Hv]);
        shapes.set(`${at}.A_log`, [Hv]);
        shapes.set(`${at}.norm.weight`, [Dv]);
        linearParams(shapes, `${at}.out_proj`, C, Hv * Dv, false);
      } else {
        const at = `${layer}.self_attn`;
        const [q, kv] = [c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim];
        linearParams(shapes, `${at}.q_proj`, 2 * q, C, c.attention_bias);
        linearParams(shapes, `${at}.k_proj`, kv, C, c.attention_bias);
        linearParams(shapes, `${at}.v_proj`, kv, C, c.attention_bias);
        linearParams(shapes, `${at}.o_proj`, C, q, c.attention_bias);
        for (const name of ["q_norm", "k_norm"]) shapes.set(`${at}.${name}.weight`, [c.head_dim]);
      }
      shapes.set(`${layer}.post_attention_layernorm.weight`, [C]);
      mlpParams(shapes, `${layer}.mlp`, c, false);
    }),

  embed: embedTokens,

  block(m, i, x, batch) {
    const layer = `model.layers.${i}`;
    const h = norm(m, `${layer}.input_layernorm`, x);
    const mixed =
      m.config.layer_types![i] === "linear_attention"
        ? linearAttention(m, `${layer}.linear_attn`, i, h, batch)
        : gatedAttention(m, `${layer}.self_attn`, i, h, batch);
    const y = add(x, mixed);
    return add(y, gatedMlp(m, `${layer}.mlp`, norm(m, `${layer}.post_attention_layernorm`, y))); // [T, hidden_size]
  },

  head: normedHead,
};

/** The text part of a Qwen3.5 that sees images too: its settings are an object of their own. */
export const qwen3_5: Definition = {
  ...qwen3_5_text,
  model_type: "qwen3_5",
  commonFields(own) {
    const text = own.object("text_config");
    if (!text) return own.fail("text_config", undefined, "an object");
    const tied = own.value("tie_word_embeddings");
    return text.under({}, { ...DEFAULTS, ...(tied !== undefined && { tie_word_embeddings: tied }) });
  },
  readConfig: (fields, common) => ({
    ...qwen3_5_text.readConfig!(fields, common),
    model_type: "qwen3_5_text",
  }),
};

/**
 * In GGUF value heads lie by their number within their key head first: what has one row, or column, for each component of
 * each of them is in another order there.
 */
function movedHeads(name: string, config: Config) {
  const part = /\.linear_attn\.(\w+)/.exec(name)?.[1];
  if (!part || part === "norm") return undefined;
  const { Hk, Hv, Dk, Dv } = sizes(config);
  if (Hv === Hk) return undefined;
  const before = part === "in_proj_qkv" || part === "conv1d" ? 2 * Hk * Dk : 0;
  const size = /^(in_proj_[ab]|dt_bias|A_log)$/.test(part) ? 1 : Dv;
  const from = Int32Array.from({ length: before + Hv * size }, (_, i) => {
    if (i < before) return i;
    const h = Math.floor((i - before) / size);
    return before + ((h % Hk) * (Hv / Hk) + Math.floor(h / Hk)) * size + ((i - before) % size);
  });
  return { from, columns: part === "out_proj" };
}

/** The gated delta rule between its projections: h [T, C] -> [T, C] */
function linearAttention(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { Hk, Hv, Dk, tiled, conv, state } = sizes(m.config);
  const qkv = m.linear(`${path}.in_proj_qkv`, h); // [T, 2 Hk Dk + Hv Dv]
  const z = m.linear(`${path}.in_proj_z`, h); // [T, Hv Dv]
  const b = m.linear(`${path}.in_proj_b`, h); // [T, Hv]
  const a = add(m.linear(`${path}.in_proj_a`, h), m.param(`${path}.dt_bias`)); // [T, Hv]
  const offset = (i - kvLayers(m.config, i)) * state;
  const held = (at: number) => batch.recurrent && { ...batch.recurrent, offset: at };
  const mixed = causal_conv(qkv, m.param(`${path}.conv1d.weight`), batch.segments, held(offset));
  const y = gated_delta_net(
    [mixed, z, a, b, m.param(`${path}.A_log`), m.param(`${path}.norm.weight`)],
    batch.segments,
    { tiled, num_key_heads: Hk, num_value_heads: Hv, key_head_dim: Dk, eps: m.config.rms_norm_eps },
    held(offset + conv),
  );
  return m.linear(`${path}.out_proj`, y);
}

/** Causal self-attention, q and k normed by head, times the sigmoid of a gate beside each q: h [T, C] -> [T, C] */
function gatedAttention(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { num_attention_heads: Hq, num_key_value_heads: Hkv, head_dim: D } = m.config;
  const both = reshape(m.linear(`${path}.q_proj`, h), ["T", Hq, 2 * D]);
  const q = norm(m, `${path}.q_norm`, slice_last(both, 0, D)); // [T, Hq, D]
  const k = norm(m, `${path}.k_norm`, heads(m, m.linear(`${path}.k_proj`, h), Hkv)); // [T, Hkv, D]
  const v = heads(m, m.linear(`${path}.v_proj`, h), Hkv); // [T, Hkv, D]
  const gate = reshape(slice_last(both, D, D), ["T", Hq * D]);
  return m.linear(`${path}.o_proj`, mul(attend(m, i, q, { k, v }, batch), sigmoid(gate)));
}

function norm(m: Module, path: string, x: Tensor): Tensor {
  return rms_norm(x, m.param(`${path}.weight`), m.config.rms_norm_eps);
}
