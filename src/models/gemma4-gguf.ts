// Gemma 4 in GGUF: names of tensors and metadata. There `attention.key_length` is that of the layers that see all, and
// sliding layers have keys of their own.

import type { GgufFile, GgufValue } from "../formats/index.ts";
import { type Config, LIMITS } from "./config.ts";
import type { GgufForm } from "./definition.ts";
import { Fields } from "./fields.ts";
import { checkShared, otherHeads } from "./gemma4-config.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { kvSource, type LayerType, layerHeads, WINDOW } from "./layers.ts";

const HEADS_KV = "attention.head_count_kv";
const WIDTHS = "feed_forward_length";
const CAP = { min: 0, max: 1e6 };
const THETA = { min: 1e-3, max: 1e15 };
const SHARED = "attention.shared_kv_layers";

export const gemma4Gguf: GgufForm = {
  architecture: "gemma4",
  rope_freqs: true,
  names: {
    ...DECODER_NAMES,
    "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
    "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
    "model.layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
    "model.layers.*.pre_feedforward_layernorm": "blk.*.ffn_norm",
    "model.layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
    "model.layers.*.per_layer_input_gate": "blk.*.inp_gate",
    "model.layers.*.per_layer_projection": "blk.*.proj",
    "model.layers.*.post_per_layer_input_norm": "blk.*.post_norm",
    "model.layers.*.layer_scalar": "blk.*.layer_output_scale.weight",
    "model.embed_tokens_per_layer": "per_layer_token_embd",
    "model.per_layer_model_projection": "per_layer_model_proj",
    "model.per_layer_projection_norm": "per_layer_proj_norm",
  },
  // Lists, where layers differ: the first layer stands for all, and readConfig looks at each.
  commonFields: (own) =>
    new Fields(
      own.file,
      (key) => {
        const value = own.value(key);
        return (key === HEADS_KV || key === WIDTHS) && Array.isArray(value) ? value[0] : value;
      },
      own.prefix,
    ),
  readConfig,
  writeConfig,
};

function readConfig(fields: Fields, common: Config, file: GgufFile): Partial<Config> {
  const layers = common.num_hidden_layers;
  const layer_types = layerTypes(fields, layers);
  const head_dim = fields.integer("attention.key_length_swa", LIMITS.head_dim, common.head_dim);
  for (const key of ["attention.value_length_swa", "rope.dimension_count_swa"]) {
    const found = fields.integer(key, LIMITS.head_dim, head_dim);
    if (found !== head_dim) fields.fail(key, found, `${head_dim}, as attention.key_length_swa`);
  }
  const shared = fields.integer(SHARED, { min: 0, max: layers - 1 }, 0);
  checkShared(fields, SHARED, layer_types, shared);
  const kv = listOf(fields, HEADS_KV, layers);
  const ofType = (type: LayerType) => kv[layer_types.indexOf(type)] ?? common.num_key_value_heads;
  const [num_key_value_heads, all] = [ofType("sliding_attention"), ofType("full_attention")];
  for (const [i, type] of layer_types.entries())
    if (kv[i] !== ofType(type))
      fields.fail(`${HEADS_KV}[${i}]`, kv[i], `${ofType(type)}, as others of its type`);
  for (const count of [num_key_value_heads, all])
    if (!Number.isInteger(count) || count < 1 || common.num_attention_heads % count !== 0)
      fields.fail(HEADS_KV, count, `divisors of the number of heads, ${common.num_attention_heads}`);
  const first = layers - shared;
  const widths = listOf(fields, WIDTHS, layers);
  const wide = shared > 0 && widths[first] !== common.intermediate_size;
  for (const [i, found] of widths.entries()) {
    const wanted = common.intermediate_size * (wide && i >= first ? 2 : 1);
    if (found !== wanted) fields.fail(`${WIDTHS}[${i}]`, found, `${wanted}`);
  }
  const sliding = layer_types.includes("sliding_attention");
  const full = layer_types.indexOf("full_attention");
  const width = fields.integer("embedding_length_per_layer_input", { ...LIMITS.hidden_size, min: 0 }, 0);
  const cap = fields.number("final_logit_softcapping", CAP, 0);
  return {
    head_dim,
    num_key_value_heads,
    layer_types,
    value_norm: true,
    ...(sliding && {
      sliding_window: fields.integer("attention.sliding_window", WINDOW),
      rope_local: { rope_theta: fields.number("rope.freq_base_swa", THETA, 10000) },
    }),
    ...otherHeads({ head_dim, num_key_value_heads }, { head_dim: common.head_dim, num_key_value_heads: all }),
    ...(full >= 0 && !file.tensors.has(`blk.${full}.attn_v.weight`) && { attention_k_eq_v: true }),
    ...(shared > 0 && { num_kv_shared_layers: shared }),
    ...(wide && { use_double_wide_mlp: true }),
    ...(width > 0 && { hidden_size_per_layer_input: width }),
    ...(cap > 0 && { final_logit_softcapping: cap }),
  };
}

function layerTypes(fields: Fields, layers: number): LayerType[] {
  const key = "attention.sliding_window_pattern";
  const list = fields.value(key);
  if (!Array.isArray(list) && typeof list !== "boolean") fields.fail(key, list, "a list of true and false");
  if (Array.isArray(list) && list.length < layers) fields.fail(key, list, `${layers} values`);
  return Array.from({ length: layers }, (_, i) =>
    (Array.isArray(list) ? list[i] : list) ? "sliding_attention" : "full_attention",
  );
}

/** A number for each layer; one number is for all. */
function listOf(fields: Fields, key: string, layers: number): number[] {
  const value = fields.value(key);
  if (!Array.isArray(value)) return Array<number>(layers).fill(value as number);
  if (value.length < layers) fields.fail(key, value, `${layers} values`);
  return value.slice(0, layers) as number[];
}

function* writeConfig(config: Config): Generator<[string, GgufValue]> {
  const { layer_types: types = [], num_hidden_layers: layers, rope, rope_local, sliding_window } = config;
  const cannot = (why: string) => new TypeError(`Cannot write a gemma4 model as GGUF: ${why}`);
  if (!rope_local || sliding_window === undefined)
    throw cannot("none of its layers slides, wanted one at least, without which llama.cpp does not open it");
  if (rope_local.scaling) throw cannot("its sliding layers have rope scaling, which GGUF cannot state");
  const { scaling } = rope!;
  if (scaling && scaling.rope_type !== "proportional")
    throw cannot(
      `it has ${scaling.rope_type} rope scaling, wanted "proportional", which is all that llama.cpp reads`,
    );
  if (config.attention_bias) throw cannot("its attention has biases, which llama.cpp does not read");
  const shared = config.num_kv_shared_layers ?? 0;
  // llama.cpp takes the last layer with keys and values for one that sees all, and the one before it for a sliding one.
  for (let i = layers - shared; i < layers; i++) {
    const source = layers - shared - (types[i] === "sliding_attention" ? 2 : 1);
    if (kvSource(config, i) !== source)
      throw cannot(
        `layer ${i} reads the keys and values of layer ${kvSource(config, i)}, but llama.cpp would take those of layer ${source}`,
      );
  }
  const u32 = (value: number): GgufValue => ({ type: "uint32", value });
  const f32 = (value: number): GgufValue => ({ type: "float32", value });
  const heads = types.map((_, i) => layerHeads(config, i));
  const all = heads[types.indexOf("full_attention")]!;
  yield ["attention.key_length", u32(all.head_dim)];
  yield ["attention.value_length", u32(all.head_dim)];
  yield ["rope.dimension_count", u32(all.head_dim)];
  for (const key of ["attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa"])
    yield [key, u32(config.head_dim)];
  const kv = Int32Array.from(heads, (one) => one.num_key_value_heads);
  if (kv.some((count) => count !== kv[0])) yield [HEADS_KV, { type: "array", of: "int32", value: kv }];
  if (config.use_double_wide_mlp) {
    const width = (i: number) => config.intermediate_size * (i < layers - shared ? 1 : 2);
    yield [WIDTHS, { type: "array", of: "int32", value: Int32Array.from(types, (_, i) => width(i)) }];
  }
  yield ["rope.freq_base_swa", f32(rope_local.rope_theta)];
  yield ["attention.sliding_window", u32(sliding_window)];
  const pattern = Uint8Array.from(types, (type) => (type === "sliding_attention" ? 1 : 0));
  yield ["attention.sliding_window_pattern", { type: "array", of: "bool", value: pattern }];
  yield [SHARED, u32(shared)];
  yield ["embedding_length_per_layer_input", u32(config.hidden_size_per_layer_input ?? 0)];
  const cap = config.final_logit_softcapping;
  if (cap !== undefined) yield ["final_logit_softcapping", f32(cap)];
}
