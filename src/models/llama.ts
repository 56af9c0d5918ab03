// Llama 2 and 3, SmolLM2, TinyLlama: rms_norm before each part, rotary positions, grouped-query attention, SwiGLU.
// Source: transformers, `models/llama/modeling_llama.py`.

import { add, gather_rows, rms_norm } from "../engine/nn.ts";
import { attentionParams, gatedMlp, mlpParams, selfAttention } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";

export const llama: Definition = {
  model_type: "llama",
  architecture: "LlamaForCausalLM",
  gguf: { architecture: "llama", names: DECODER_NAMES, interleaved: true },

  params(c) {
    const shapes = new Map<string, readonly number[]>();
    shapes.set("model.embed_tokens.weight", [c.vocab_size, c.hidden_size]);
    for (let i = 0; i < c.num_hidden_layers; i++) {
      const layer = `model.layers.${i}`;
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      attentionParams(shapes, `${layer}.self_attn`, c, { qkv: c.attention_bias, o: c.attention_bias });
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      mlpParams(shapes, `${layer}.mlp`, c, c.mlp_bias);
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
