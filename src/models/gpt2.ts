// GPT-2: layer_norm before each part, embedded positions, one projection for q, k and v, a plain MLP with gelu.
// Source: transformers, `models/gpt2/modeling_gpt2.py`.

import { add, gather_rows, gelu, layer_norm, slice_last } from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import { attend, heads, linearParams } from "./decoder.ts";
import type { Batch, Definition, Module } from "./definition.ts";

/** The common names of config.json's fields -> GPT-2's. */
const NAMES = {
  hidden_size: "n_embd",
  intermediate_size: "n_inner",
  num_hidden_layers: "n_layer",
  num_attention_heads: "n_head",
  max_position_embeddings: "n_positions",
  rms_norm_eps: "layer_norm_epsilon",
  hidden_act: "activation_function",
};
const HIDDEN_ACT = ["gelu_new", "gelu_pytorch_tanh"];

export const gpt2: Definition = {
  model_type: "gpt2",
  architecture: "GPT2LMHeadModel",
  hidden_act: HIDDEN_ACT,
  learned_positions: true,
  gguf: {
    architecture: "gpt2",
    layer_norm: true,
    names: {
      "transformer.wte": "token_embd",
      "transformer.wpe": "position_embd",
      "transformer.h.*.ln_1": "blk.*.attn_norm",
      "transformer.h.*.attn.c_attn": "blk.*.attn_qkv",
      "transformer.h.*.attn.c_proj": "blk.*.attn_output",
      "transformer.h.*.ln_2": "blk.*.ffn_norm",
      "transformer.h.*.mlp.c_fc": "blk.*.ffn_up",
      "transformer.h.*.mlp.c_proj": "blk.*.ffn_down",
      "transformer.ln_f": "output_norm",
      lm_head: "output",
    },
    readConfig: () => ({ attention_bias: true, mlp_bias: true }),
  },

  commonFields(own) {
    const width = own.value("n_embd");
    return own.under(NAMES, {
      ...(typeof width === "number" && { intermediate_size: 4 * width }),
      max_position_embeddings: 1024,
      rms_norm_eps: 1e-5,
      tie_word_embeddings: true,
    });
  },
  readConfig(fields) {
    if (!fields.boolean("scale_attn_weights", true)) fields.fail("scale_attn_weights", false, "true");
    for (const name of ["scale_attn_by_inverse_layer_idx", "add_cross_attention"])
      if (fields.boolean(name, false)) fields.fail(name, true, "false: it is not implemented");
    return { attention_bias: true, mlp_bias: true };
  },
  writeConfig: (c) => ({
    ...Object.fromEntries(
      Object.entries(NAMES).flatMap(([name, own]) => [
        [name, undefined],
        [own, name === "hidden_act" ? HIDDEN_ACT[0] : c[name as "hidden_size"]],
      ]),
    ),
    n_ctx: c.max_position_embeddings,
    num_key_value_heads: undefined,
    head_dim: undefined,
    attention_bias: undefined,
    mlp_bias: undefined,
  }),

  // The first checkpoints have no "transformer."; the masks that some carry (`attn.bias`) are no parameters.
  parameterName: (name) => (/^(wte|wpe|h|ln_f)\./.test(name) ? `transformer.${name}` : name),
  stored: (name) => (/\.(c_attn|c_proj|c_fc)\.weight$/.test(name) ? "transposed" : undefined),

  params(c) {
    const shapes = new Map<string, readonly number[]>();
    const norm = (path: string) =>
      shapes.set(`${path}.weight`, [c.hidden_size]).set(`${path}.bias`, [c.hidden_size]);
    shapes.set("transformer.wte.weight", [c.vocab_size, c.hidden_size]);
    shapes.set("transformer.wpe.weight", [c.max_position_embeddings, c.hidden_size]);
    for (let i = 0; i < c.num_hidden_layers; i++) {
      const layer = `transformer.h.${i}`;
      norm(`${layer}.ln_1`);
      linearParams(shapes, `${layer}.attn.c_attn`, 3 * c.hidden_size, c.hidden_size, true);
      linearParams(shapes, `${layer}.attn.c_proj`, c.hidden_size, c.hidden_size, true);
      norm(`${layer}.ln_2`);
      linearParams(shapes, `${layer}.mlp.c_fc`, c.intermediate_size, c.hidden_size, true);
      linearParams(shapes, `${layer}.mlp.c_proj`, c.hidden_size, c.intermediate_size, true);
    }
    norm("transformer.ln_f");
    if (!c.tie_word_embeddings) shapes.set("lm_head.weight", [c.vocab_size, c.hidden_size]);
    return shapes;
  },

  embed(m, { tokens, positions }) {
    const x = gather_rows(m.param("transformer.wte.weight"), tokens); // [T, hidden_size]
    return add(x, gather_rows(m.param("transformer.wpe.weight"), positions));
  },

  block(m, i, x, batch) {
    const layer = `transformer.h.${i}`;
    const y = add(x, selfAttention(m, i, norm(m, `${layer}.ln_1`, x), batch));
    const h = gelu(m.linear(`${layer}.mlp.c_fc`, norm(m, `${layer}.ln_2`, y))); // [T, intermediate_size]
    return add(y, m.linear(`${layer}.mlp.c_proj`, h)); // [T, hidden_size]
  },

  head(m, x, batch) {
    const h = norm(m, "transformer.ln_f", gather_rows(x, batch.rows)); // [R, hidden_size]
    return m.linear(m.config.tie_word_embeddings ? "transformer.wte" : "lm_head", h); // [R, vocab_size]
  },
};

function norm(m: Module, path: string, x: Tensor): Tensor {
  return layer_norm(x, m.param(`${path}.weight`), m.param(`${path}.bias`), m.config.rms_norm_eps);
}

/** q, k and v are the three parts of one projection: h [T, C] -> [T, C] */
function selfAttention(m: Module, i: number, h: Tensor, batch: Batch): Tensor {
  const { hidden_size, num_attention_heads } = m.config;
  const path = `transformer.h.${i}.attn`;
  const qkv = m.linear(`${path}.c_attn`, h); // [T, 3 C]
  const [q, k, v] = [0, 1, 2].map((n) =>
    heads(m, slice_last(qkv, n * hidden_size, hidden_size), num_attention_heads),
  ) as [Tensor, Tensor, Tensor]; // [T, H, D]
  return m.linear(`${path}.c_proj`, attend(m, i, q, { k, v }, batch));
}
