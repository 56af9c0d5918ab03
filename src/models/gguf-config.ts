// A model's config as GGUF metadata, both ways. Keys are `<architecture>.<name>`; what one model type has beyond the
// others is in its definition.

import type { GgufFile, GgufValue } from "../formats/index.ts";
import { type Config, checkHeads, LIMITS } from "./config.ts";
import type { Definition, GgufForm } from "./definition.ts";
import { Fields, show } from "./fields.ts";
import { definitionOf, definitionOfGguf } from "./registry.ts";
import { llama3Of, type Rope, yarnAttention } from "./rope.ts";

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

/** Tensors of divisors of frequencies: llama3's and others', and longrope's two. */
export const ROPE_TENSORS = [
  "rope_freqs.weight",
  "rope_factors_short.weight",
  "rope_factors_long.weight",
] as const;
/** Values of those tensors that a file has. */
export type RopeTensors = Partial<Record<(typeof ROPE_TENSORS)[number], readonly number[]>>;

/** The definition of the model in a GGUF file. @throws {TypeError} when there is none. */
export function ggufDefinition(file: Pick<GgufFile, "name" | "metadata">): Definition {
  const architecture = ggufFields(file).string("general.architecture");
  const window = ggufFields(file).value(`${architecture}.attention.sliding_window`);
  return definitionOfGguf(architecture, window !== undefined && window !== 0, file.name);
}

/**
 * The config that a GGUF file states.
 * @throws {TypeError | RangeError} naming the key, the value found and the value wanted.
 */
export function configFromGguf(file: GgufFile, ropeTensors: RopeTensors = {}): Config {
  const { model_type, gguf, partial_rotary, learned_positions } = ggufDefinition(file);
  const own = ggufFields(file, `${gguf.architecture}.`);
  const fields = gguf.commonFields?.(own) ?? own;
  const has = (tensor: string) => file.tensors.has(tensor);
  const hidden_size = fields.integer("embedding_length", LIMITS.hidden_size);
  const heads = fields.integer("attention.head_count", LIMITS.num_attention_heads);
  if (!fields.has("attention.key_length") && hidden_size % heads !== 0)
    fields.fail("embedding_length", hidden_size, `a multiple of attention.head_count ${heads}`);
  const head_dim = fields.integer("attention.key_length", LIMITS.head_dim, hidden_size / heads);
  const rotary_dim = fields.integer("rope.dimension_count", LIMITS.head_dim, head_dim);
  const partial = partial_rotary && rotary_dim < head_dim && rotary_dim % 2 === 0;
  if (rotary_dim !== head_dim && !partial)
    fields.fail("rope.dimension_count", rotary_dim, `${head_dim}, as attention.key_length`);
  const value_length = fields.integer("attention.value_length", LIMITS.head_dim, head_dim);
  if (value_length !== head_dim)
    fields.fail("attention.value_length", value_length, `${head_dim}, as attention.key_length`);
  if (fields.integer("expert_count", { min: 0, max: 2 ** 20 }, 0) > 0)
    fields.fail("expert_count", fields.value("expert_count"), "0: a mixture of experts is not implemented");
  const embedding = file.tensors.get("token_embd.weight");
  const config: Config = {
    model_type,
    hidden_size,
    intermediate_size: fields.integer("feed_forward_length", LIMITS.intermediate_size),
    num_hidden_layers: fields.integer("block_count", LIMITS.num_hidden_layers),
    num_attention_heads: heads,
    num_key_value_heads: fields.integer("attention.head_count_kv", LIMITS.num_attention_heads, heads),
    head_dim,
    vocab_size: fields.integer("vocab_size", LIMITS.vocab_size, embedding?.shape[0]),
    max_position_embeddings: fields.integer("context_length", LIMITS.max_position_embeddings),
    rms_norm_eps: fields.number(`attention.${epsKey(gguf)}`, LIMITS.rms_norm_eps),
    tie_word_embeddings: !has("output.weight"),
    attention_bias: has("blk.0.attn_q.bias"),
    mlp_bias: has("blk.0.ffn_gate.bias"),
    ...(!learned_positions && {
      rope: {
        rope_theta: fields.number("rope.freq_base", { min: 1e-3, max: 1e15 }, 10000),
        ...(partial && { rotary_dim }),
        ...scalingFromGguf(fields, rotary_dim, ropeTensors),
      },
    }),
    ...specialTokens(file),
  };
  checkHeads(fields, config, "attention.head_count_kv", "attention.key_length");
  return { ...config, ...gguf.readConfig?.(own, config, file) };
}

const epsKey = ({ layer_norm }: GgufForm) => (layer_norm ? "layer_norm_epsilon" : "layer_norm_rms_epsilon");

/** Divisors of frequencies. */
const FACTOR = { min: 1e-3, max: 1e6 };
/** The divisor of a pair that does not turn is at least so. */
const UNTURNED = 1e20;

function scalingFromGguf(fields: Fields, rotary_dim: number, tensors: RopeTensors): Pick<Rope, "scaling"> {
  for (const name of ROPE_TENSORS) checkFactors(fields.file, name, tensors[name], rotary_dim / 2);
  const factors = tensors["rope_freqs.weight"]?.every((x) => x === 1)
    ? undefined
    : tensors["rope_freqs.weight"];
  const short_factor = tensors["rope_factors_short.weight"];
  const long_factor = tensors["rope_factors_long.weight"];
  const length = () =>
    fields.integer(
      "rope.scaling.original_context_length",
      LIMITS.max_position_embeddings,
      fields.integer("context_length", LIMITS.max_position_embeddings),
    );
  const attention_factor = () => fields.number("rope.scaling.attn_factor", FACTOR, 1);
  // The tensors make it longrope, whatever the type says: llama.cpp writes none for Phi.
  if (short_factor && long_factor)
    return {
      scaling: {
        rope_type: "longrope",
        short_factor,
        long_factor,
        original_max_position_embeddings: length(),
        attention_factor: attention_factor(),
      },
    };
  // llama.cpp takes a factor without a type for a linear one, and knows it by an older key too.
  const type = fields.string("rope.scaling.type", "linear");
  const key = fields.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  if (type === "yarn") {
    const factor = fields.number(key, FACTOR);
    return {
      scaling: {
        rope_type: "yarn",
        factor,
        original_max_position_embeddings: length(),
        beta_fast: fields.number("rope.scaling.yarn_beta_fast", FACTOR, 32),
        beta_slow: fields.number("rope.scaling.yarn_beta_slow", FACTOR, 1),
        attention_factor: attention_factor() * yarnAttention(factor),
      },
    };
  }
  if (type !== "none" && type !== "linear")
    fields.fail(
      "rope.scaling.type",
      type,
      `"none", "linear", "yarn", or "longrope" with tensors ${ROPE_TENSORS[1]} and ${ROPE_TENSORS[2]}`,
    );
  const factor = type === "linear" ? fields.number(key, { min: 0, max: FACTOR.max }, 0) : 0;
  if (factor !== 0 && factor !== 1) {
    if (factors) fields.fail(key, factor, '1 where tensor "rope_freqs.weight" is there');
    return { scaling: { rope_type: "linear", factor } };
  }
  if (!factors) return {};
  // Pairs that do not turn have a divisor beyond all bounds: Gemma 4's.
  const turning = factors.filter((x) => x === 1).length;
  if (factors.every((x, i) => (i < turning ? x === 1 : x >= UNTURNED)))
    return { scaling: { rope_type: "proportional", partial_rotary_factor: turning / factors.length } };
  // The same numbers either way; as llama3 they can be written to a config.json.
  const rope_theta = fields.number("rope.freq_base", { min: 1e-3, max: 1e15 }, 10000);
  return { scaling: llama3Of(rope_theta, factors) ?? { rope_type: "factors", factors } };
}

function checkFactors(
  file: string,
  name: string,
  factors: readonly number[] | undefined,
  count: number,
): void {
  if (!factors) return;
  if (factors.length !== count)
    throw new RangeError(
      `Cannot read ${JSON.stringify(file)}: tensor "${name}" has ${factors.length} values, wanted ${count}`,
    );
  const bad = factors.findIndex(
    (x) => !((x >= FACTOR.min && x <= FACTOR.max) || (x >= UNTURNED && x < 2 ** 128)),
  );
  if (bad >= 0)
    throw new RangeError(
      `Cannot read ${JSON.stringify(file)}: tensor "${name}" holds ${show(factors[bad])} at ${bad}, wanted ${FACTOR.min} to ${FACTOR.max}`,
    );
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
  const { gguf } = definitionOf(config.model_type, name);
  const a = gguf.architecture;
  if (config.layer_types && !gguf.writeConfig)
    throw new TypeError(
      `Cannot write a ${config.model_type} model as GGUF: it has sliding layers, which GGUF cannot state for ${a}`,
    );
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
    [`${a}.attention.${epsKey(gguf)}`, f32(config.rms_norm_eps)],
    [`${a}.vocab_size`, u32(config.vocab_size)],
  ];
  if (rope)
    entries.push(
      [`${a}.rope.dimension_count`, u32(rope.rotary_dim ?? config.head_dim)],
      [`${a}.rope.freq_base`, f32(rope.rope_theta)],
    );
  for (const [key, value] of [...(rope ? scalingToGguf(rope) : []), ...(gguf.writeConfig?.(config) ?? [])])
    entries.push([`${a}.${key}`, value]);
  return new Map(entries);
}

function scalingToGguf({ scaling }: Rope): [string, GgufValue][] {
  const key = (name: string, value: GgufValue): [string, GgufValue] => [`rope.scaling.${name}`, value];
  switch (scaling?.rope_type) {
    case "linear":
      return [key("type", text("linear")), key("factor", f32(scaling.factor))];
    case "yarn":
      return [
        key("type", text("yarn")),
        key("factor", f32(scaling.factor)),
        key("original_context_length", u32(scaling.original_max_position_embeddings)),
        key("yarn_beta_fast", f32(scaling.beta_fast)),
        key("yarn_beta_slow", f32(scaling.beta_slow)),
        key("attn_factor", f32(scaling.attention_factor / yarnAttention(scaling.factor))),
      ];
    case "longrope":
      return [
        key("type", text("longrope")),
        key("original_context_length", u32(scaling.original_max_position_embeddings)),
        key("attn_factor", f32(scaling.attention_factor)),
      ];
    default: // llama3, proportional and other divisors are a tensor
      return [];
  }
}
