// BERT: an encoder. Tokens, positions and kinds are embedded; every token sees all of its sequence; layer_norm stands
// behind each part. `head` gives the last hidden states. Source: transformers, `models/bert/modeling_bert.py`.

import { add, attention, gather_rows, gelu_erf, layer_norm, reshape } from "../engine/nn.ts";
import type { Tensor } from "../engine/tensor.ts";
import { linearParams } from "./decoder.ts";
import type { Batch, Definition, Module } from "./definition.ts";

const LAYER = "encoder.layer.*";

export const bert: Definition = {
  model_type: "bert",
  architecture: "BertModel",
  hidden_act: ["gelu"],
  learned_positions: true,
  encoder: true,
  gguf: {
    architecture: "bert",
    layer_norm: true,
    names: {
      "embeddings.word_embeddings": "token_embd",
      "embeddings.position_embeddings": "position_embd",
      "embeddings.token_type_embeddings": "token_types",
      "embeddings.LayerNorm": "token_embd_norm",
      [`${LAYER}.attention.self.query`]: "blk.*.attn_q",
      [`${LAYER}.attention.self.key`]: "blk.*.attn_k",
      [`${LAYER}.attention.self.value`]: "blk.*.attn_v",
      [`${LAYER}.attention.output.dense`]: "blk.*.attn_output",
      [`${LAYER}.attention.output.LayerNorm`]: "blk.*.attn_output_norm",
      [`${LAYER}.intermediate.dense`]: "blk.*.ffn_up",
      [`${LAYER}.output.dense`]: "blk.*.ffn_down",
      [`${LAYER}.output.LayerNorm`]: "blk.*.layer_output_norm",
    },
    readConfig(_fields, _common, file) {
      const count = file.metadata.get("tokenizer.ggml.token_type_count");
      const rows = file.tensors.get("token_types.weight")?.shape[0];
      return { ...FIXED, type_vocab_size: rows ?? (count?.type === "uint32" ? count.value : 2) };
    },
    writeConfig: () => [["attention.causal", { type: "bool", value: false }]],
  },

  commonFields: (own) =>
    own.under({ rms_norm_eps: "layer_norm_eps" }, { rms_norm_eps: 1e-12, max_position_embeddings: 512 }),
  readConfig(fields) {
    const positions = fields.string("position_embedding_type", "absolute");
    if (positions !== "absolute") fields.fail("position_embedding_type", positions, '"absolute"');
    for (const name of ["is_decoder", "add_cross_attention"])
      if (fields.boolean(name, false)) fields.fail(name, true, "false: it is read as an encoder");
    return { ...FIXED, type_vocab_size: fields.integer("type_vocab_size", { min: 1, max: 2 ** 16 }, 2) };
  },
  writeConfig: (c) => ({
    layer_norm_eps: c.rms_norm_eps,
    position_embedding_type: "absolute",
    rms_norm_eps: undefined,
    num_key_value_heads: undefined,
    head_dim: undefined,
    attention_bias: undefined,
    mlp_bias: undefined,
    tie_word_embeddings: undefined,
  }),

  // As a part of other classes the model's names begin with "bert."; norms of the first checkpoints have gamma and beta.
  parameterName: (name) =>
    name
      .replace(/^bert\./, "")
      .replace(/\.gamma$/, ".weight")
      .replace(/\.beta$/, ".bias"),

  params(c) {
    const shapes = new Map<string, readonly number[]>();
    const norm = (path: string) =>
      shapes.set(`${path}.weight`, [c.hidden_size]).set(`${path}.bias`, [c.hidden_size]);
    const table = (name: string, rows: number) =>
      shapes.set(`embeddings.${name}_embeddings.weight`, [rows, c.hidden_size]);
    table("word", c.vocab_size);
    table("position", c.max_position_embeddings);
    table("token_type", c.type_vocab_size!);
    norm("embeddings.LayerNorm");
    for (let i = 0; i < c.num_hidden_layers; i++) {
      const layer = LAYER.replace("*", `${i}`);
      for (const name of ["query", "key", "value"])
        linearParams(shapes, `${layer}.attention.self.${name}`, c.hidden_size, c.hidden_size, true);
      linearParams(shapes, `${layer}.attention.output.dense`, c.hidden_size, c.hidden_size, true);
      norm(`${layer}.attention.output.LayerNorm`);
      linearParams(shapes, `${layer}.intermediate.dense`, c.intermediate_size, c.hidden_size, true);
      linearParams(shapes, `${layer}.output.dense`, c.hidden_size, c.intermediate_size, true);
      norm(`${layer}.output.LayerNorm`);
    }
    return shapes;
  },

  embed(m, { tokens, positions, token_types }) {
    const rows = (name: string, ids: Tensor) =>
      gather_rows(m.param(`embeddings.${name}_embeddings.weight`), ids);
    const x = add(rows("word", tokens), rows("token_type", token_types!)); // [T, hidden_size]
    return norm(m, "embeddings.LayerNorm", add(x, rows("position", positions)));
  },

  block(m, i, x, batch) {
    const layer = LAYER.replace("*", `${i}`);
    const attended = selfAttention(m, `${layer}.attention`, x, batch);
    const y = norm(m, `${layer}.attention.output.LayerNorm`, add(x, attended));
    const h = gelu_erf(m.linear(`${layer}.intermediate.dense`, y)); // [T, intermediate_size]
    return norm(m, `${layer}.output.LayerNorm`, add(y, m.linear(`${layer}.output.dense`, h))); // [T, hidden_size]
  },

  head: (_m, x, batch) => gather_rows(x, batch.rows), // [R, hidden_size]
};

/** What no BERT's config says. */
const FIXED = { attention_bias: true, mlp_bias: true, tie_word_embeddings: true };

function norm(m: Module, path: string, x: Tensor): Tensor {
  return layer_norm(x, m.param(`${path}.weight`), m.param(`${path}.bias`), m.config.rms_norm_eps);
}

/** softmax(q kᵀ / √D) v over the whole sequence: x [T, C] -> [T, C] */
function selfAttention(m: Module, path: string, x: Tensor, batch: Batch): Tensor {
  const { hidden_size, num_attention_heads, head_dim } = m.config;
  const heads = (name: string) =>
    reshape(m.linear(`${path}.self.${name}`, x), ["T", num_attention_heads, head_dim]);
  const [o] = attention(heads("query"), heads("key"), heads("value"), batch.segments, {
    causal: false,
    window: 0,
    scale: 1 / Math.sqrt(head_dim),
  });
  return m.linear(`${path}.output.dense`, reshape(o, ["T", hidden_size]));
}
