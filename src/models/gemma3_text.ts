// Gemma 3, text: norms before and behind each part that multiply by 1 + w, embeddings times √hidden_size, rms_norm of
// every head of q and k, a gelu-gated MLP; most layers slide and rotate by a table of their own.
// Source: transformers, `models/gemma3/modeling_gemma3.py`.

import { add, geglu, rms_norm, scale, tanh } from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { GgufValue } from "../formats/index.ts";
import type { Config } from "./config.ts";
import {
  attentionParams,
  decoderParams,
  embedTokens,
  gatedMlp,
  mlpParams,
  normedHead,
  selfAttention,
} from "./decoder.ts";
import type { Definition, Module } from "./definition.ts";
import type { Fields } from "./fields.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { type LayerType, readLayerTypes, WINDOW } from "./layers.ts";
import type { Rope } from "./rope.ts";

/** What a config.json may leave out: the defaults of transformers' Gemma3TextConfig. */
const DEFAULTS = {
  vocab_size: 262208,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  rope_theta: 1e6,
  rope_local_base_freq: 1e4,
  sliding_window: 4096,
  query_pre_attn_scalar: 256,
};
/** Every so many layers one sees all. */
const PATTERN = 6;
const CAP = { min: 1e-3, max: 1e6 };
const SCALAR = { min: 1e-3, max: 1e6 };
const THETA = { min: 1e-3, max: 1e15 };

/** The last of every `pattern` layers sees all, the others slide. */
const layerOf =
  (pattern: number) =>
  (i: number): LayerType =>
    (i + 1) % pattern === 0 ? "full_attention" : "sliding_attention";

/** llama.cpp's rule: of all sizes only the 27B, known by its 62 layers, scales by another number than head_dim. */
const ggufScalar = ({ num_hidden_layers, hidden_size, num_attention_heads, head_dim }: Config) =>
  num_hidden_layers === 62 ? Math.floor(hidden_size / num_attention_heads) : head_dim;

export const gemma3_text: Definition = {
  model_type: "gemma3_text",
  architecture: "Gemma3ForCausalLM",
  hidden_act: ["gelu_pytorch_tanh"],
  sliding: true,
  gguf: {
    architecture: "gemma3",
    names: {
      ...DECODER_NAMES,
      "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
      "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
      "model.layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
      "model.layers.*.pre_feedforward_layernorm": "blk.*.ffn_norm",
      "model.layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
    },
    readConfig(fields, common) {
      const sliding_window = fields.integer("attention.sliding_window", { ...WINDOW, min: 0 }, 0);
      const key = "attention.sliding_window_pattern";
      const list = fields.value(key);
      const layers = common.num_hidden_layers;
      // All layers alike are given as that one value.
      const pattern = typeof list === "boolean" ? (list ? layers + 1 : 1) : list === undefined ? PATTERN : 0;
      if (Array.isArray(list) && list.length < layers) fields.fail(key, list, `${layers} values`);
      const own = pattern || Array.isArray(list) ? pattern : fields.integer(key, { min: 1, max: 2 ** 16 });
      const layer_types = Array.from(
        { length: layers },
        (_, i): LayerType =>
          Array.isArray(list) ? (list[i] ? "sliding_attention" : "full_attention") : layerOf(own)(i),
      );
      const cap = fields.number("final_logit_softcapping", { ...CAP, min: 0 }, 0);
      return {
        query_pre_attn_scalar: ggufScalar(common),
        ...(sliding_window > 0 &&
          layer_types.includes("sliding_attention") && { sliding_window, layer_types }),
        ...(sliding_window > 0 && {
          rope_local: {
            rope_theta: fields.number("rope.freq_base_swa", THETA, DEFAULTS.rope_local_base_freq),
          },
        }),
        ...(cap > 0 && { final_logit_softcapping: cap }),
      };
    },
    *writeConfig(config): Generator<[string, GgufValue]> {
      const { layer_types, sliding_window, rope_local, query_pre_attn_scalar: scalar } = config;
      if (scalar !== ggufScalar(config))
        throw new TypeError(
          `Cannot write a gemma3 model as GGUF: query_pre_attn_scalar is ${scalar}, wanted ${ggufScalar(config)}, which llama.cpp takes it for`,
        );
      if (rope_local?.scaling)
        throw new TypeError(
          "Cannot write a gemma3 model as GGUF: its sliding layers have rope scaling, which GGUF cannot state",
        );
      const cap = config.final_logit_softcapping;
      if (cap !== undefined) yield ["final_logit_softcapping", { type: "float32", value: cap }];
      if (!layer_types || sliding_window === undefined) return;
      yield ["attention.sliding_window", { type: "uint32", value: sliding_window }];
      if (rope_local) yield ["rope.freq_base_swa", { type: "float32", value: rope_local.rope_theta }];
      // llama.cpp's own files leave the usual pattern out, and its older versions know no other.
      if (layer_types.every((type, i) => type === layerOf(PATTERN)(i))) return;
      const value = Uint8Array.from(layer_types, (type) => (type === "sliding_attention" ? 1 : 0));
      yield ["attention.sliding_window_pattern", { type: "array", of: "bool", value }];
    },
  },

  commonFields: (own) => own.under({ hidden_act: "hidden_activation" }, DEFAULTS),
  readConfig,
  writeConfig: ({ rope, rope_local }) => ({
    hidden_activation: "gelu_pytorch_tanh",
    hidden_act: undefined,
    mlp_bias: undefined,
    // As transformers has it from version 5 on, beside the common fields, which are from before.
    ...(rope_local && {
      rope_local_base_freq: rope_local.rope_theta,
      rope_parameters: {
        full_attention: ropeParameters(rope!),
        sliding_attention: ropeParameters(rope_local),
      },
    }),
  }),

  parameterName: (name) => name.replace(/^(language_model\.model|model\.language_model)\./, "model."),
  stored: (name) => (name.endsWith("norm.weight") ? "less_one" : undefined),

  params: (c) =>
    decoderParams(c, (shapes, layer) => {
      const norm = (name: string) => shapes.set(`${layer}.${name}_layernorm.weight`, [c.hidden_size]);
      norm("input");
      const bias = { qkv: c.attention_bias, o: c.attention_bias };
      attentionParams(shapes, `${layer}.self_attn`, c, bias, { qk_norm: true });
      norm("post_attention");
      norm("pre_feedforward");
      mlpParams(shapes, `${layer}.mlp`, c, false);
      norm("post_feedforward");
    }),

  embed: (m, batch) => scale(embedTokens(m, batch), Math.sqrt(m.config.hidden_size)),

  block(m, i, x, batch) {
    const layer = `model.layers.${i}`;
    const options = { qk_norm: true, scale: (m.config.query_pre_attn_scalar ?? m.config.head_dim) ** -0.5 };
    const h = norm(m, `${layer}.input_layernorm`, x);
    const attended = selfAttention(m, `${layer}.self_attn`, i, h, batch, options);
    const y = add(x, norm(m, `${layer}.post_attention_layernorm`, attended));
    const g = norm(m, `${layer}.pre_feedforward_layernorm`, y);
    return add(y, norm(m, `${layer}.post_feedforward_layernorm`, gatedMlp(m, `${layer}.mlp`, g, geglu)));
  },

  head(m, x, batch) {
    const logits = normedHead(m, x, batch); // [R, vocab_size]
    const cap = m.config.final_logit_softcapping;
    return cap === undefined ? logits : scale(tanh(scale(logits, 1 / cap)), cap);
  },
};

function norm(m: Module, path: string, x: Tensor): Tensor {
  return rms_norm(x, m.param(`${path}.weight`), m.config.rms_norm_eps);
}

const ropeParameters = ({ rope_theta, scaling }: Rope) => ({ rope_type: "default", rope_theta, ...scaling });

function readConfig(fields: Fields, common: Config): Partial<Config> {
  if (fields.has("attn_logit_softcapping"))
    fields.fail(
      "attn_logit_softcapping",
      fields.value("attn_logit_softcapping"),
      "none: it is not implemented",
    );
  if (fields.boolean("use_bidirectional_attention", false))
    fields.fail("use_bidirectional_attention", true, "false: it is read as a decoder");
  const key = fields.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
  const pattern = fields.integer(key, { min: 1, max: 2 ** 16 }, PATTERN);
  const layers = readLayerTypes(fields, common.num_hidden_layers, layerOf(pattern));
  return {
    ...layers,
    mlp_bias: false,
    query_pre_attn_scalar: fields.number("query_pre_attn_scalar", SCALAR),
    ...(layers.layer_types && {
      rope_local: common.rope_local ?? { rope_theta: fields.number("rope_local_base_freq", THETA) },
    }),
    ...(fields.has("final_logit_softcapping") && {
      final_logit_softcapping: fields.number("final_logit_softcapping", CAP),
    }),
  };
}

/** The text part of a Gemma 3 that sees images too: its settings are an object of their own. */
export const gemma3: Definition = {
  ...gemma3_text,
  model_type: "gemma3",
  commonFields(own) {
    const text = own.object("text_config");
    if (!text) return own.fail("text_config", undefined, "an object");
    return gemma3_text.commonFields!(text);
  },
  readConfig: (fields, common) => ({ ...readConfig(fields, common), model_type: "gemma3_text" }),
};
