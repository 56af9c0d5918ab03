// Phi-3, 3.5 and 4: Llama's block with q, k and v in one projection, gate and up in another, and longrope; Phi-4-mini
// rotates three quarters of a head. Source: transformers, `models/phi3/modeling_phi3.py`.

import { add, rms_norm, slice_last, swiglu } from "../engine/nn.ts";
import { attend, decoderParams, heads, linearParams } from "./decoder.ts";
import type { Definition } from "./definition.ts";
import { DECODER_NAMES } from "./gguf-names.ts";
import { windowed, windowFromGguf, windowToGguf } from "./layers.ts";
import { llama } from "./llama.ts";

export const phi3: Definition = {
  ...llama,
  model_type: "phi3",
  architecture: "Phi3ForCausalLM",
  gguf: {
    architecture: "phi3",
    names: {
      ...DECODER_NAMES,
      "model.layers.*.self_attn.qkv_proj": "blk.*.attn_qkv",
      "model.layers.*.mlp.gate_up_proj": "blk.*.ffn_up",
    },
    readConfig: (fields, common) => ({
      attention_bias: false,
      mlp_bias: false,
      ...windowFromGguf(fields, common),
    }),
    // Zero tells llama.cpp that there is none.
    writeConfig: (config) =>
      config.layer_types
        ? windowToGguf(config)
        : [["attention.sliding_window", { type: "uint32", value: 0 }]],
  },
  sliding: true,
  partial_rotary: true,

  readConfig: (fields, { num_hidden_layers }) => ({
    attention_bias: false,
    mlp_bias: false,
    ...windowed(fields, num_hidden_layers),
  }),
  writeConfig: ({ sliding_window = null }) => ({
    attention_bias: undefined,
    mlp_bias: undefined,
    layer_types: undefined,
    sliding_window,
  }),

  params(c) {
    const q = c.num_attention_heads * c.head_dim;
    const kv = c.num_key_value_heads * c.head_dim;
    return decoderParams(c, (shapes, layer) => {
      shapes.set(`${layer}.input_layernorm.weight`, [c.hidden_size]);
      linearParams(shapes, `${layer}.self_attn.qkv_proj`, q + 2 * kv, c.hidden_size, false);
      linearParams(shapes, `${layer}.self_attn.o_proj`, c.hidden_size, q, false);
      shapes.set(`${layer}.post_attention_layernorm.weight`, [c.hidden_size]);
      linearParams(shapes, `${layer}.mlp.gate_up_proj`, 2 * c.intermediate_size, c.hidden_size, false);
      linearParams(shapes, `${layer}.mlp.down_proj`, c.hidden_size, c.intermediate_size, false);
    });
  },

  block(m, i, x, batch) {
    const { rms_norm_eps, num_attention_heads, num_key_value_heads, head_dim, intermediate_size } = m.config;
    const layer = `model.layers.${i}`;
    const h = rms_norm(x, m.param(`${layer}.input_layernorm.weight`), rms_norm_eps);
    const qkv = m.linear(`${layer}.self_attn.qkv_proj`, h); // [T, (Hq + 2 Hkv) D]
    const part = (first: number, count: number) =>
      heads(m, slice_last(qkv, first * head_dim, count * head_dim), count);
    const q = part(0, num_attention_heads);
    const k = part(num_attention_heads, num_key_value_heads);
    const v = part(num_attention_heads + num_key_value_heads, num_key_value_heads);
    const y = add(x, m.linear(`${layer}.self_attn.o_proj`, attend(m, i, q, { k, v }, batch)));
    const g = rms_norm(y, m.param(`${layer}.post_attention_layernorm.weight`), rms_norm_eps);
    const both = m.linear(`${layer}.mlp.gate_up_proj`, g); // [T, 2 F]
    const gate = slice_last(both, 0, intermediate_size);
    const up = slice_last(both, intermediate_size, intermediate_size);
    return add(y, m.linear(`${layer}.mlp.down_proj`, swiglu(gate, up))); // [T, hidden_size]
  },
};
