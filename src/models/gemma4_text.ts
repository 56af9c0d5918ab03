// Gemma 4, text: Gemma 3's blocks with heads of another size in the layers that see all, normed values, layers at the end
// that read the keys and values of earlier ones, and an input of each layer's own for each token (not in every size).
// Source: transformers, `models/gemma4/modeling_gemma4.py`.

import {
  add,
  broadcast_last,
  gather_rows,
  geglu,
  mul,
  reshape,
  rms_norm,
  scale,
  slice_last,
  tanh,
} from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Config } from "./config.ts";
import {
  attend,
  decoderParams,
  embedTokens,
  gatedMlp,
  linearParams,
  mlpParams,
  normedHead,
} from "./decoder.ts";
import type { Batch, Definition, Module } from "./definition.ts";
import { commonFields, readConfig, writeConfig } from "./gemma4-config.ts";
import { gemma4Gguf } from "./gemma4-gguf.ts";
import { kvSource, layerHeads } from "./layers.ts";

/** What `embed` leaves for the blocks: the inputs of all layers, side by side. */
const INPUTS = "per_layer_inputs";

export const gemma4_text: Definition = {
  model_type: "gemma4_text",
  architecture: "Gemma4ForCausalLM",
  hidden_act: ["gelu_pytorch_tanh"],
  sliding: true,
  gguf: gemma4Gguf,
  commonFields,
  readConfig,
  writeConfig,

  parameterName: (name) => name.replace(/^model\.language_model\./, "model."),

  params(c) {
    const { hidden_size: C, hidden_size_per_layer_input: P } = c;
    const all = decoderParams(c, (shapes, layer) => {
      const i = Number(layer.split(".").at(-1));
      const norm = (name: string) => shapes.set(`${layer}.${name}.weight`, [C]);
      const { num_attention_heads: Hq, num_key_value_heads: Hkv, head_dim: D } = layerHeads(c, i);
      const at = `${layer}.self_attn`;
      const own = kvSource(c, i) === i;
      norm("input_layernorm");
      linearParams(shapes, `${at}.q_proj`, Hq * D, C, c.attention_bias);
      if (own) linearParams(shapes, `${at}.k_proj`, Hkv * D, C, c.attention_bias);
      if (own && !valuesAreKeys(c, i)) linearParams(shapes, `${at}.v_proj`, Hkv * D, C, c.attention_bias);
      linearParams(shapes, `${at}.o_proj`, C, Hq * D, c.attention_bias);
      for (const name of own ? ["q_norm", "k_norm"] : ["q_norm"]) shapes.set(`${at}.${name}.weight`, [D]);
      norm("post_attention_layernorm");
      norm("pre_feedforward_layernorm");
      const wide = c.use_double_wide_mlp && !own ? 2 : 1;
      mlpParams(shapes, `${layer}.mlp`, { ...c, intermediate_size: wide * c.intermediate_size }, false);
      norm("post_feedforward_layernorm");
      if (P !== undefined) {
        linearParams(shapes, `${layer}.per_layer_input_gate`, P, C, false);
        linearParams(shapes, `${layer}.per_layer_projection`, C, P, false);
        norm("post_per_layer_input_norm");
      }
      shapes.set(`${layer}.layer_scalar`, [1]);
    });
    if (P === undefined) return all;
    const [first, ...rest] = all;
    const width = c.num_hidden_layers * P;
    return new Map([
      first!,
      ["model.embed_tokens_per_layer.weight", [c.vocab_size, width]],
      ["model.per_layer_model_projection.weight", [width, C]],
      ["model.per_layer_projection_norm.weight", [P]],
      ...rest,
    ]);
  },
  /** A buffer of transformers'. */
  constant: (name) => name.endsWith(".layer_scalar"),

  embed(m, batch) {
    const { hidden_size: C, hidden_size_per_layer_input: P, num_hidden_layers: L } = m.config;
    const x = scale(embedTokens(m, batch), Math.sqrt(C));
    if (P === undefined) return x;
    const table = m.param("model.embed_tokens_per_layer.weight");
    const ofToken = scale(gather_rows(table, batch.tokens), Math.sqrt(P)); // [T, L · P]
    const projected = scale(m.linear("model.per_layer_model_projection", x), C ** -0.5);
    const ofContext = norm(m, "model.per_layer_projection_norm", reshape(projected, ["T", L, P]));
    const sum = add(reshape(ofContext, ["T", L * P]), ofToken);
    batch.kept.set(INPUTS, scale(sum, Math.SQRT1_2));
    return x;
  },

  block(m, i, x, batch) {
    const layer = `model.layers.${i}`;
    const { hidden_size: C, hidden_size_per_layer_input: P } = m.config;
    const attended = attention(m, `${layer}.self_attn`, i, norm(m, `${layer}.input_layernorm`, x), batch);
    const y = add(x, norm(m, `${layer}.post_attention_layernorm`, attended));
    const g = gatedMlp(m, `${layer}.mlp`, norm(m, `${layer}.pre_feedforward_layernorm`, y), geglu);
    let z = add(y, norm(m, `${layer}.post_feedforward_layernorm`, g));
    if (P !== undefined) {
      const input = slice_last(batch.kept.get(INPUTS)!, i * P, P); // [T, P]
      const gated = geglu(m.linear(`${layer}.per_layer_input_gate`, z), input);
      const back = m.linear(`${layer}.per_layer_projection`, gated); // [T, C]
      z = add(z, norm(m, `${layer}.post_per_layer_input_norm`, back));
    }
    return mul(z, broadcast_last(m.param(`${layer}.layer_scalar`), C));
  },

  head(m, x, batch) {
    const logits = normedHead(m, x, batch); // [R, vocab_size]
    const cap = m.config.final_logit_softcapping;
    return cap === undefined ? logits : scale(tanh(scale(logits, 1 / cap)), cap);
  },
};

/** The text part of a Gemma 4 that sees and hears too: its settings are an object of their own. */
export const gemma4: Definition = {
  ...gemma4_text,
  model_type: "gemma4",
  commonFields(own) {
    const text = own.object("text_config");
    if (!text) return own.fail("text_config", undefined, "an object");
    return commonFields(text, own.value("tie_word_embeddings"));
  },
  readConfig: (fields, common) => ({ ...readConfig(fields, common), model_type: "gemma4_text" }),
};

const valuesAreKeys = (c: Config, i: number) =>
  c.attention_k_eq_v === true && c.layer_types![i] === "full_attention";

/** Causal self-attention, every head of q, k and v normed, scores not scaled: h [T, C] -> [T, C] */
function attention(m: Module, path: string, i: number, h: Tensor, batch: Batch): Tensor {
  const { num_attention_heads: Hq, num_key_value_heads: Hkv, head_dim: D } = layerHeads(m.config, i);
  const heads = (name: string, count: number) => reshape(m.linear(`${path}.${name}`, h), ["T", count, D]);
  const q = norm(m, `${path}.q_norm`, heads("q_proj", Hq)); // [T, Hq, D]
  if (kvSource(m.config, i) !== i) return m.linear(`${path}.o_proj`, attend(m, i, q, undefined, batch, 1));
  const key = heads("k_proj", Hkv); // [T, Hkv, D]
  const value = valuesAreKeys(m.config, i) ? key : heads("v_proj", Hkv);
  const k = norm(m, `${path}.k_norm`, key);
  const v = rms_norm(value, batch.ones(D), m.config.rms_norm_eps);
  return m.linear(`${path}.o_proj`, attend(m, i, q, { k, v }, batch, 1));
}

function norm(m: Module, path: string, x: Tensor): Tensor {
  return rms_norm(x, m.param(`${path}.weight`), m.config.rms_norm_eps);
}
