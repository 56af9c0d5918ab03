// What a model is, from Hugging Face's config.json and generation_config.json. Both are untrusted: every number
// has a range. GGUF metadata gives the same record (gguf-config.ts).

import type { Definition } from "./definition.ts";
import { type Fields, parseFields } from "./fields.ts";
import type { LayerType } from "./layers.ts";
import { definitionOf } from "./registry.ts";
import { type Rope, readRope, ropeToJson } from "./rope.ts";

/** The shape of a decoder, under Hugging Face's names. */
export interface Config {
  /** Key of the registry: "llama", "qwen2", ... */
  readonly model_type: string;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** Divides num_attention_heads. */
  readonly num_key_value_heads: number;
  /** Even. */
  readonly head_dim: number;
  readonly vocab_size: number;
  /** Longest sequence the model was trained for, in tokens. */
  readonly max_position_embeddings: number;
  /** Added to the mean square in every norm; `layer_norm_epsilon` of GPT-2, `layer_norm_eps` of BERT. */
  readonly rms_norm_eps: number;
  /** The output head is the embedding. */
  readonly tie_word_embeddings: boolean;
  /** Llama: q, k, v and o have a bias. Qwen2: true (q, k and v always have one, o never). */
  readonly attention_bias: boolean;
  /** Llama: gate, up and down may have a bias. */
  readonly mlp_bias: boolean;
  /** Absent: positions are embedded (`learned_positions`). */
  readonly rope?: Rope;
  /** Kinds of tokens that BERT tells apart by an embedding. */
  readonly type_vocab_size?: number;
  /** Which layers see a window only; absent: none. */
  readonly layer_types?: readonly LayerType[];
  /** Positions that a token of a sliding layer sees, its own included. */
  readonly sliding_window?: number;
  /** LFM2: tokens that a short convolution sees, its own included. */
  readonly conv_L_cache?: number;
  /** Qwen3.5: key and value heads of its linear attention and their sizes, and tokens that its convolution sees. */
  readonly linear_attention?: {
    readonly Hk: number;
    readonly Hv: number;
    readonly Dk: number;
    readonly Dv: number;
    readonly taps: number;
    /** Value head h goes with key head h mod Hk, as in GGUF; otherwise with ⌊h · Hk / Hv⌋. */
    readonly tiled: boolean;
  };
  /** How sliding layers rotate, where they do it their own way. */
  readonly rope_local?: Rope;
  /** For each layer 1, or 0 where positions are not rotated (so in SmolLM3's config.json); absent: all rotate. */
  readonly no_rope_layers?: readonly number[];
  /** Granite: factors of the embedding, of what is added to the residual and of q·k; a divisor of the logits. */
  readonly embedding_multiplier?: number;
  readonly residual_multiplier?: number;
  readonly attention_multiplier?: number;
  readonly logits_scaling?: number;
  /** Gemma: q·k is divided by its root. Absent: head_dim. */
  readonly query_pre_attn_scalar?: number;
  /** Gemma: logits become c tanh(logits / c). */
  readonly final_logit_softcapping?: number;
  /** Gemma 4: heads of the layers that see all, where they are others than those of sliding layers. */
  readonly global_heads?: { readonly num_key_value_heads: number; readonly head_dim: number };
  /** Gemma 4: every head of v is normed, without a weight. */
  readonly value_norm?: boolean;
  /** Gemma 4: in layers that see all v is what k is before its norm. */
  readonly attention_k_eq_v?: boolean;
  /** Gemma 4: so many of the last layers read the keys and values of the last layer of their type before them. */
  readonly num_kv_shared_layers?: number;
  /** Gemma 4: the MLPs of those layers are twice as wide. */
  readonly use_double_wide_mlp?: boolean;
  /** Gemma 4: width of what a layer gets of each token beside the residual stream; absent: nothing. */
  readonly hidden_size_per_layer_input?: number;
  readonly bos_token_id?: number;
  readonly eos_token_id: readonly number[];
  readonly pad_token_id?: number;
}

/** Sampling defaults that a model's maker gives, and all tokens that end a text. */
export interface GenerationConfig {
  readonly bos_token_id?: number;
  readonly pad_token_id?: number;
  readonly eos_token_id: readonly number[];
  /** False: greedy. */
  readonly do_sample?: boolean;
  readonly temperature?: number;
  readonly top_k?: number;
  readonly top_p?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
}

/** Bounds that no decoder of today comes near, and below which no product of two overflows. */
export const LIMITS = {
  hidden_size: { min: 1, max: 2 ** 18 },
  intermediate_size: { min: 1, max: 2 ** 20 },
  num_hidden_layers: { min: 1, max: 2048 },
  num_attention_heads: { min: 1, max: 4096 },
  head_dim: { min: 2, max: 512 }, // what attention holds in a thread's scratch
  vocab_size: { min: 1, max: 2 ** 24 },
  max_position_embeddings: { min: 1, max: 2 ** 28 },
  rms_norm_eps: { min: 0, max: 1 },
} as const;

/**
 * Reads the text of a config.json. Fields that do not change what is computed are ignored.
 * @param file what errors call it
 * @throws {SyntaxError | TypeError | RangeError} naming the field, the value found and the value wanted.
 */
export function parseConfig(file: string, text: string): Config {
  const own = parseFields(file, text);
  const model_type = own.string("model_type");
  const definition = definitionOf(model_type, file);
  const fields = definition.commonFields?.(own) ?? own;
  refuseWhatIsNotImplemented(fields, definition);
  const hidden_size = fields.integer("hidden_size", LIMITS.hidden_size);
  const num_attention_heads = fields.integer("num_attention_heads", LIMITS.num_attention_heads);
  const head_dim = headDim(fields, hidden_size, num_attention_heads);
  const config: Config = {
    model_type,
    hidden_size,
    intermediate_size: fields.integer("intermediate_size", LIMITS.intermediate_size),
    num_hidden_layers: fields.integer("num_hidden_layers", LIMITS.num_hidden_layers),
    num_attention_heads,
    num_key_value_heads: fields.integer(
      "num_key_value_heads",
      LIMITS.num_attention_heads,
      num_attention_heads,
    ),
    head_dim,
    vocab_size: fields.integer("vocab_size", LIMITS.vocab_size),
    max_position_embeddings: fields.integer("max_position_embeddings", LIMITS.max_position_embeddings, 2048),
    rms_norm_eps: fields.number("rms_norm_eps", LIMITS.rms_norm_eps, 1e-6),
    tie_word_embeddings: fields.boolean("tie_word_embeddings", false),
    attention_bias: fields.boolean("attention_bias", false),
    mlp_bias: fields.boolean("mlp_bias", false),
    ...(!definition.learned_positions && readRopes(fields, head_dim)),
    ...specialTokens(fields),
  };
  checkHeads(fields, config, "num_key_value_heads", "head_dim");
  return { ...config, ...definition.readConfig?.(fields, config) };
}

/** One rope for all layers, or, as transformers 5 writes it, one for each type of layer. */
function readRopes(fields: Fields, head_dim: number): Pick<Config, "rope" | "rope_local"> {
  const parameters = fields.object("rope_parameters");
  const full = parameters?.object("full_attention");
  const local = parameters?.object("sliding_attention");
  if (!full) return { rope: readRope(fields, head_dim) };
  return {
    rope: readRope(fields, head_dim, full),
    ...(local && { rope_local: readRope(fields, head_dim, local) }),
  };
}

/** @throws {RangeError} when the heads do not fit together. The last arguments are the fields' names in the file. */
export function checkHeads(fields: Fields, config: Config, kvKey: string, dimKey: string): void {
  const { num_attention_heads, num_key_value_heads, head_dim } = config;
  if (num_attention_heads % num_key_value_heads !== 0)
    fields.fail(kvKey, num_key_value_heads, `a divisor of the number of heads, ${num_attention_heads}`);
  if (head_dim % 2 !== 0) fields.fail(dimKey, head_dim, "an even number");
}

function headDim(fields: Fields, hidden_size: number, heads: number): number {
  if (fields.has("head_dim")) return fields.integer("head_dim", LIMITS.head_dim);
  if (hidden_size % heads !== 0)
    fields.fail(
      "hidden_size",
      hidden_size,
      `a multiple of num_attention_heads ${heads} where head_dim is not given`,
    );
  const head_dim = hidden_size / heads;
  if (head_dim < LIMITS.head_dim.min || head_dim > LIMITS.head_dim.max)
    fields.fail("hidden_size", hidden_size, `${LIMITS.head_dim.min} to ${LIMITS.head_dim.max} for each head`);
  return head_dim;
}

/** A field that changes the arithmetic in a way that is not implemented must not be passed over. */
function refuseWhatIsNotImplemented(fields: Fields, definition: Definition): void {
  const { hidden_act = ["silu"] } = definition;
  const act = fields.string("hidden_act", hidden_act[0]);
  if (!hidden_act.includes(act))
    fields.fail("hidden_act", act, hidden_act.map((name) => JSON.stringify(name)).join(" or "));
  if (!definition.partial_rotary) {
    for (const own of [fields, fields.object("rope_parameters")]) {
      const partial = own?.number("partial_rotary_factor", { min: 0, max: 1 }, 1) ?? 1;
      if (partial !== 1) own!.fail("partial_rotary_factor", partial, "1: this type rotates whole heads");
    }
  }
  if (definition.sliding) return;
  const layers = fields.value("layer_types");
  const other = Array.isArray(layers) ? layers.find((type) => type !== "full_attention") : undefined;
  if (other !== undefined) fields.fail("layer_types", other, `"full_attention" for every layer`);
}

const TOKEN = { min: 0, max: LIMITS.vocab_size.max };

function specialTokens(fields: Fields) {
  const bos = fields.integers("bos_token_id", TOKEN, 16)[0];
  // -1 stands for "none" in some models.
  const pad = fields.integers("pad_token_id", { ...TOKEN, min: -1 }, 1)[0];
  return {
    ...(bos !== undefined && { bos_token_id: bos }),
    ...(pad !== undefined && pad >= 0 && { pad_token_id: pad }),
    eos_token_id: fields.integers("eos_token_id", TOKEN, 1024),
  };
}

/**
 * Reads the text of a generation_config.json.
 * @throws {SyntaxError | TypeError | RangeError} naming the field, the value found and the value wanted.
 */
export function parseGenerationConfig(file: string, text: string): GenerationConfig {
  const fields = parseFields(file, text);
  const optional = (name: string, min: number, max: number) =>
    fields.has(name) ? { [name]: fields.number(name, { min, max }) } : {};
  return {
    ...specialTokens(fields),
    ...(fields.has("do_sample") && { do_sample: fields.boolean("do_sample", false) }),
    ...optional("temperature", 0, 1000),
    ...(fields.has("top_k") && { top_k: fields.integer("top_k", { min: 0, max: TOKEN.max }) }),
    ...optional("top_p", 0, 1),
    ...optional("min_p", 0, 1),
    ...optional("repetition_penalty", 1e-3, 1000),
  };
}

/** The config.json of a config, for writing. `dtype` as transformers calls it. */
export function configToJson(
  config: Config,
  architecture: string,
  dtype: "float32" | "float16" | "bfloat16",
): object {
  const { rope, rope_local, eos_token_id, ...plain } = config;
  const eos = eos_token_id.length === 1 ? eos_token_id[0] : eos_token_id;
  const { writeConfig, hidden_act = ["silu"] } = definitionOf(config.model_type, "config.json");
  return {
    architectures: [architecture],
    ...plain,
    hidden_act: hidden_act[0],
    ...(eos_token_id.length > 0 && { eos_token_id: eos }),
    ...(rope && ropeToJson(rope, config.head_dim)),
    torch_dtype: dtype,
    ...writeConfig?.(config),
  };
}
