// Qwen2 and Qwen2.5: Llama's block with biases on q, k and v alone.
// Source: transformers, `models/qwen2/modeling_qwen2.py`.

import { add, gather_rows, rms_norm } from "../engine/nn.ts";
import { attentionParams, gatedMlp, mlpParams, selfAttention } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { qwenLayers } from "./layers.ts";

export const qwen2: Definition = {
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
  writeConfig: ({ layer_types }) => ({
    attention_bias: undefined,
    mlp_bias: undefined,
    ...(layer_types && { use_sliding_window: true }),
  }),

  params(c) {
    const shapes = new Map<string, readonly number[]>();
    shapes.set("model.embed_tokens.weight", [c.vocab_size, c.hidden_size]);
    for (let i = 0; i < c.num_hidden_layers; i++) {
      const layer = `model.layers.${i}`;
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      attentionParams(shapes, `${layer}.self_attn`, c, { qkv: true, o: false });
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      mlpParams(shapes, `${layer}.mlp`, c, false);
    }
    shapes.set("model.norm.weight", [c.hidden_size]);
    if (!c.tie_word_embeddings) shapes.set("lm_head.weight", [c.vocab_size, c.hidden_size]);
    return shapes;
  },

  embed(m, batch) {
    return gather_rows(m.param("model.embed_tokens.weight"), batch.tokens); // [T, hidden_size]
  },

  block(m, i, x, batch) {
    const { rms_norm_eps } = m.config;
    const layer = `model.layers.${i}`;
    const h = rms_norm(x, m.param(`${layer}.input_layernorm.weight`), rms_norm_eps);
    const y = add(x, selfAttention(m, `${layer}.self_attn`, i, h, batch));
    const g = rms_norm(y, m.param(`${layer}.post_attention_layernorm.weight`), rms_norm_eps);
    return add(y, gatedMlp(m, `${layer}.mlp`, g)); // [T, hidden_size]
  },

  head(m, x, batch) {
    const rows = gather_rows(x, batch.rows); // [R, hidden_size]
    const h = rms_norm(rows, m.param("model.norm.weight"), m.config.rms_norm_eps);
    return m.linear(m.config.tie_word_embeddings ? "model.embed_tokens" : "lm_head", h); // [R, vocab_size]
  },
};
