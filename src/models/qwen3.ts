// Qwen3: Llama's block with rms_norm of every head of q and k before they are rotated. Its chat template knows
// `enable_thinking`. Source: transformers, `models/qwen3/modeling_qwen3.py`.

import { add, rms_norm } from "../engine/nn.ts";
import { attentionParams, decoderParams, gatedMlp, mlpParams, selfAttention } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { qwenLayers, qwenLayersToJson } from "./layers.ts";
import { llama } from "./llama.ts";

export const qwen3: Definition = {
  ...llama,
  model_type: "qwen3",
  architecture: "Qwen3ForCausalLM",
  gguf: {
    architecture: "qwen3",
    names: {
      ...DECODER_NAMES,
      "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
      "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
    },
  },
  sliding: true,

  readConfig: (fields, { num_hidden_layers }) => ({
    mlp_bias: false,
    ...qwenLayers(fields, num_hidden_layers),
  }),
  writeConfig: (config) => ({ mlp_bias: undefined, ...qwenLayersToJson(config) }),

  params: (c) =>
    decoderParams(c, (shapes, layer) => {
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      const bias = { qkv: c.attention_bias, o: c.attention_bias };
      attentionParams(shapes, `${layer}.self_attn`, c, bias, { qk_norm: true });
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      mlpParams(shapes, `${layer}.mlp`, c, false);
    }),

  block(m, i, x, batch) {
    const { rms_norm_eps } = m.config;
    const layer = `model.layers.${i}`;
    const h = rms_norm(x, m.param(`${layer}.input_layernorm.weight`), rms_norm_eps);
    const y = add(x, selfAttention(m, `${layer}.self_attn`, i, h, batch, { qk_norm: true }));
    const g = rms_norm(y, m.param(`${layer}.post_attention_layernorm.weight`), rms_norm_eps);
    return add(y, gatedMlp(m, `${layer}.mlp`, g)); // [T, hidden_size]
  },
};
