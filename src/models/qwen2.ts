// Qwen2 and Qwen2.5: Llama's block with biases on q, k and v alone.
// Source: transformers, `models/qwen2/modeling_qwen2.py`.

import { attentionParams, decoderParams, mlpParams } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { qwenLayers, qwenLayersToJson } from "./layers.ts";
import { llama } from "./llama.ts";

export const qwen2: Definition = {
  ...llama,
  model_type: "qwen2",
  architecture: "Qwen2ForCausalLM",
  gguf: {
    architecture: "qwen2",
    names: DECODER_NAMES,
    readConfig: () => ({ attention_bias: true, mlp_bias: false }),
  },
  sliding: true,

  readConfig: (fields, { num_hidden_layers }) => ({
    attention_bias: true,
    mlp_bias: false,
    ...qwenLayers(fields, num_hidden_layers),
  }),
  writeConfig: (config) => ({
    attention_bias: undefined,
    mlp_bias: undefined,
    ...qwenLayersToJson(config),
  }),

  params: (c) =>
    decoderParams(c, (shapes, layer) => {
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      attentionParams(shapes, `${layer}.self_attn`, c, { qkv: true, o: false });
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      mlpParams(shapes, `${layer}.mlp`, c, false);
    }),
};
