// Llama 2 and 3, SmolLM2, TinyLlama: rms_norm before each part, rotary positions, grouped-query attention, SwiGLU.
// Source: transformers, `models/llama/modeling_llama.py`.

import { add, rms_norm } from "../engine/nn.ts";
import {
  attentionParams,
  decoderParams,
  embedTokens,
  gatedMlp,
  mlpParams,
  normedHead,
  selfAttention,
} from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";

export const llama: Definition = {
  model_type: "llama",
  architecture: "LlamaForCausalLM",
  gguf: { architecture: "llama", names: DECODER_NAMES, interleaved: true },

  params: (c) =>
    decoderParams(c, (shapes, layer) => {
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      attentionParams(shapes, `${layer}.self_attn`, c, { qkv: c.attention_bias, o: c.attention_bias });
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      mlpParams(shapes, `${layer}.mlp`, c, c.mlp_bias);
    }),

  embed: embedTokens,

  block(m, i, x, batch) {
    const { rms_norm_eps } = m.config;
    const layer = `model.layers.${i}`;
    const h = rms_norm(x, m.param(`${layer}.input_layernorm.weight`), rms_norm_eps);
    const y = add(x, selfAttention(m, `${layer}.self_attn`, i, h, batch));
    const g = rms_norm(y, m.param(`${layer}.post_attention_layernorm.weight`), rms_norm_eps);
    return add(y, gatedMlp(m, `${layer}.mlp`, g)); // [T, hidden_size]
  },

  head: normedHead,
};
