// Granite 3: Llama's block with four factors: of the embedding, of what each part adds to the residual, of q·k, and a
// divisor of the logits. Source: transformers, `models/granite/modeling_granite.py`.

import { add, rms_norm, scale } from "../engine/nn.ts";
import type { GgufValue } from "../formats/index.ts";
import type { Config } from "./config.ts";
import { embedTokens, gatedMlp, normedHead, selfAttention } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { llama } from "./llama.ts";

/** Fields of config.json -> GGUF keys. */
const FACTORS = {
  embedding_multiplier: "embedding_scale",
  residual_multiplier: "residual_scale",
  attention_multiplier: "attention.scale",
  logits_scaling: "logit_scale",
} as const;
type Factor = keyof typeof FACTORS;
const NAMES = Object.keys(FACTORS) as Factor[];
const RANGE = { min: 1e-6, max: 1e6 };

export const granite: Definition = {
  ...llama,
  model_type: "granite",
  architecture: "GraniteForCausalLM",
  gguf: {
    ...llama.gguf,
    architecture: "granite",
    readConfig(fields, { head_dim }) {
      const absent = {
        embedding_multiplier: 1,
        residual_multiplier: 1,
        attention_multiplier: head_dim ** -0.5,
      };
      const read = (name: Factor) =>
        fields.number(FACTORS[name], RANGE, name === "logits_scaling" ? undefined : absent[name]);
      return Object.fromEntries(NAMES.map((name) => [name, read(name)]));
    },
    writeConfig: (config) =>
      NAMES.map((name): [string, GgufValue] => [
        FACTORS[name],
        { type: "float32", value: factor(config, name) },
      ]),
  },

  readConfig: (fields) => Object.fromEntries(NAMES.map((name) => [name, fields.number(name, RANGE, 1)])),

  embed: (m, batch) => scale(embedTokens(m, batch), factor(m.config, "embedding_multiplier")),

  block(m, i, x, batch) {
    const { rms_norm_eps } = m.config;
    const layer = `model.layers.${i}`;
    const residual = factor(m.config, "residual_multiplier");
    const options = { scale: factor(m.config, "attention_multiplier") };
    const h = rms_norm(x, m.param(`${layer}.input_layernorm.weight`), rms_norm_eps);
    const y = add(x, scale(selfAttention(m, `${layer}.self_attn`, i, h, batch, options), residual));
    const g = rms_norm(y, m.param(`${layer}.post_attention_layernorm.weight`), rms_norm_eps);
    return add(y, scale(gatedMlp(m, `${layer}.mlp`, g), residual)); // [T, hidden_size]
  },

  head: (m, x, batch) => scale(normedHead(m, x, batch), 1 / factor(m.config, "logits_scaling")),
};

function factor(config: Config, name: Factor): number {
  return config[name] ?? 1;
}
