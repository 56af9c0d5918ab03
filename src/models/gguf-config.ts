// A model's config as GGUF metadata, both ways. Keys are `<architecture>.<name>`; the architectures that GGUF calls
// "llama" and "qwen2" are the model types of the same names.

import type { GgufFile, GgufValue } from "../formats/index.ts";
import { type Config, checkHeads, LIMITS } from "./config.ts";
import { Fields, show } from "./fields.ts";
import { llama3Of, type Rope } from "./rope.ts";

/** The metadata of a GGUF file as fields. A per-layer list whose values are all equal counts as that value. */
export function ggufFields(file: Pick<GgufFile, "name" | "metadata">, prefix = ""): Fields {
  const get = (name: string): unknown => {
    const { type, value } = file.metadata.get(prefix + name) ?? {};
    if (type === "float32") return shortest(value as number);
    if (!ArrayBuffer.isView(value)) return value;
    const list = value as Uint32Array;
    return list.length > 0 && list.every((x) => x === list[0]) ? list[0] : Array.from(list);
  };
  return new Fields(file.name, get, prefix);
}

/** The shortest decimal that is `x` in f32: what was written before it was rounded, such as 1e-6. */
function shortest(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const y = Number(x.toPrecision(digits));
    if (Math.fround(y) === x) return y;
  }
  return x;
}

/**
 * The config that a GGUF file states.
 * @param ropeFactors values of `rope_freqs.weight`, where the file has that tensor
 * @throws {TypeError | RangeError} naming the key, the value found and the value wanted.
 */
export function configFromGguf(file: GgufFile, ropeFactors?: readonly number[]): Config {
  const architecture = ggufFields(file).string("general.architecture");
  const fields = ggufFields(file, `${architecture}.`);
  const has = (tensor: string) => file.tensors.has(tensor);
  const hidden_size = fields.integer("embedding_length", LIMITS.hidden_size);
  const heads = fields.integer("attention.head_count", LIMITS.num_attention_heads);
  if (!fields.has("attention.key_length") && hidden_size % heads !== 0)
    fields.fail("embedding_length", hidden_size, `a multiple of attention.head_count ${heads}`);
  const head_dim = fields.integer("attention.key_length", LIMITS.head_dim, hidden_size / heads);
  for (const same of ["attention.value_length", "rope.dimension_count"]) {
    const found = fields.integer(same, LIMITS.head_dim, head_dim);
    if (found !== head_dim) fields.fail(same, found, `${head_dim}, as attention.key_length`);
  }
  if (fields.integer("expert_count", { min: 0, max: 2 ** 20 }, 0) > 0)
    fields.fail("expert_count", fields.value("expert_count"), "0: a mixture of experts is not implemented");
  const embedding = file.tensors.get("token_embd.weight");
  const config: Config = {
    model_type: architecture,
    hidden_size,
    intermediate_size: fields.integer("feed_forward_length", LIMITS.intermediate_size),
    num_hidden_layers: fields.integer("block_count", LIMITS.num_hidden_layers),
    num_attention_heads: heads,
    num_key_value_heads: fields.integer("attention.head_count_kv", LIMITS.num_attention_heads, heads),
    head_dim,
    vocab_size: fields.integer("vocab_size", LIMITS.vocab_size, embedding?.shape[0]),
    max_position_embeddings: fields.integer("context_length", LIMITS.max_position_embeddings),
    rms_norm_eps: fields.number("attention.layer_norm_rms_epsilon", LIMITS.rms_norm_eps),
    tie_word_embeddings: !has("output.weight"),
    attention_bias: architecture === "qwen2" || has("blk.0.attn_q.bias"),
    mlp_bias: has("blk.0.ffn_gate.bias"),
    rope: ropeFromGguf(fields, head_dim, ropeFactors),
    ...specialTokens(file),
  };
  checkHeads(fields, config, "attention.head_count_kv", "attention.key_length");
  return config;
}

/** Divisors of frequencies. */
const FACTOR = { min: 1e-3, max: 1e6 };

function ropeFromGguf(fields: Fields, head_dim: number, factors: readonly number[] | undefined): Rope {
  const rope_theta = fields.number("rope.freq_base", { min: 1e-3, max: 1e15 }, 10000);
  // llama.cpp takes a factor without a type for a linear one, and knows it by an older key too.
  const type = fields.string("rope.scaling.type", "linear");
  if (type !== "none" && type !== "linear")
    fields.fail("rope.scaling.type", type, `"none" or "linear": others are not implemented`);
  const key = fields.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const factor = type === "linear" ? fields.number(key, { min: 0, max: FACTOR.max }, 0) : 0;
  if (factor !== 0 && factor !== 1) {
    if (factors) fields.fail(key, factor, '1 where tensor "rope_freqs.weight" is there');
    return { rope_theta, scaling: { rope_type: "linear", factor } };
  }
  if (!factors) return { rope_theta };
  if (factors.length !== head_dim / 2)
    throw new RangeError(
      `Cannot read ${JSON.stringify(fields.file)}: tensor "rope_freqs.weight" has ${factors.length} values, wanted ${head_dim / 2}`,
    );
  const bad = factors.findIndex((x) => !(x >= FACTOR.min && x <= FACTOR.max));
  if (bad >= 0)
    throw new RangeError(
      `Cannot read ${JSON.stringify(fields.file)}: tensor "rope_freqs.weight" holds ${show(factors[bad])} at ${bad}, wanted ${FACTOR.min} to ${FACTOR.max}`,
    );
  // The same numbers either way; as llama3 they can be written to a config.json.
  return { rope_theta, scaling: llama3Of(rope_theta, factors) ?? { rope_type: "factors", factors } };
}

function specialTokens(file: GgufFile) {
  const fields = ggufFields(file, "tokenizer.ggml.");
  const token = { min: 0, max: 2 ** 32 - 1 };
  const optional = (key: string): number | undefined =>
    fields.has(key) ? fields.integer(key, token) : undefined;
  const bos = optional("bos_token_id");
  const pad = optional("padding_token_id");
  const eos = ["eos_token_id", "eot_token_id", "eom_token_id"].map(optional).filter((id) => id !== undefined);
  return {
    ...(bos !== undefined && { bos_token_id: bos }),
    ...(pad !== undefined && { pad_token_id: pad }),
    eos_token_id: [...new Set(eos)],
  };
}

const u32 = (value: number): GgufValue => ({ type: "uint32", value });
const f32 = (value: number): GgufValue => ({ type: "float32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

/** Metadata that states `config`, for writing; without the tokenizer's and without `general.file_type`. */
export function configToGguf(config: Config, name: string): Map<string, GgufValue> {
  const a = config.model_type;
  const { rope } = config;
  const entries: [string, GgufValue][] = [
    ["general.architecture", text(a)],
    ["general.type", text("model")],
    ["general.name", text(name)],
    [`${a}.block_count`, u32(config.num_hidden_layers)],
    [`${a}.context_length`, u32(config.max_position_embeddings)],
    [`${a}.embedding_length`, u32(config.hidden_size)],
    [`${a}.feed_forward_length`, u32(config.intermediate_size)],
    [`${a}.attention.head_count`, u32(config.num_attention_heads)],
    [`${a}.attention.head_count_kv`, u32(config.num_key_value_heads)],
    [`${a}.attention.key_length`, u32(config.head_dim)],
    [`${a}.attention.value_length`, u32(config.head_dim)],
    [`${a}.attention.layer_norm_rms_epsilon`, f32(config.rms_norm_eps)],
    [`${a}.rope.dimension_count`, u32(config.head_dim)],
    [`${a}.rope.freq_base`, f32(rope.rope_theta)],
    [`${a}.vocab_size`, u32(config.vocab_size)],
  ];
  if (rope.scaling?.rope_type === "linear")
    entries.push(
      [`${a}.rope.scaling.type`, text("linear")],
      [`${a}.rope.scaling.factor`, f32(rope.scaling.factor)],
    );
  return new Map(entries);
}
