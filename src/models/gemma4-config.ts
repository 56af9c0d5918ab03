// Gemma 4's config.json, text part. What changes the arithmetic and is not implemented is refused by its name.

import { type Config, LIMITS } from "./config.ts";
import type { Fields } from "./fields.ts";
import { type LayerType, layerTypesOf, WINDOW } from "./layers.ts";
import type { Rope } from "./rope.ts";

/** What a config.json may leave out: the defaults of transformers' Gemma4TextConfig. */
const DEFAULTS = {
  vocab_size: 262144,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 30,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
  bos_token_id: 2,
  sliding_window: 512,
  hidden_size_per_layer_input: 256,
  rope_parameters: {
    full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1e6 },
    sliding_attention: { rope_type: "default", rope_theta: 1e4 },
  },
};
const GLOBAL_HEAD_DIM = 512;
/** Every so many layers one sees all. */
const PATTERN = 6;
const CAP = { min: 1e-3, max: 1e6 };
const TYPES = ["full_attention", "sliding_attention"] as const;

/** @param tied of the whole model, where the text part says nothing */
export function commonFields(own: Fields, tied?: unknown): Fields {
  const defaults = { ...DEFAULTS, ...(tied !== undefined && { tie_word_embeddings: tied }) };
  return own.under({ hidden_act: "hidden_activation" }, defaults);
}

export function readConfig(fields: Fields, common: Config): Partial<Config> {
  refuse(fields);
  const { num_hidden_layers: layers, num_attention_heads, vocab_size } = common;
  const layer_types = layerTypesOf(fields, layers, TYPES, (i) =>
    (i + 1) % PATTERN === 0 || i === layers - 1 ? "full_attention" : "sliding_attention",
  );
  if (layer_types.at(-1) !== "full_attention")
    fields.fail(
      `layer_types[${layers - 1}]`,
      layer_types.at(-1),
      '"full_attention": the last layer sees all',
    );
  checkRopes(fields);
  const k_eq_v = fields.boolean("attention_k_eq_v", false);
  const heads = globalHeads(fields, common, layer_types, k_eq_v);
  if (num_attention_heads % heads.num_key_value_heads !== 0)
    fields.fail(
      "num_global_key_value_heads",
      heads.num_key_value_heads,
      `a divisor of the number of heads, ${num_attention_heads}`,
    );
  if (heads.head_dim % 2 !== 0) fields.fail("global_head_dim", heads.head_dim, "an even number");
  const shared = fields.integer("num_kv_shared_layers", { min: 0, max: layers - 1 }, 0);
  checkShared(fields, "num_kv_shared_layers", layer_types, shared);
  const width = fields.integer("hidden_size_per_layer_input", { ...LIMITS.hidden_size, min: 0 });
  const vocabulary = fields.integer("vocab_size_per_layer_input", LIMITS.vocab_size, vocab_size);
  if (width > 0 && vocabulary !== vocab_size)
    fields.fail("vocab_size_per_layer_input", vocabulary, `${vocab_size}, as vocab_size`);
  const sliding = layer_types.includes("sliding_attention");
  return {
    mlp_bias: false,
    layer_types,
    value_norm: true,
    ...(sliding && { sliding_window: fields.integer("sliding_window", WINDOW) }),
    ...(sliding && !common.rope_local && { rope_local: common.rope! }),
    ...otherHeads(common, heads),
    ...(k_eq_v && { attention_k_eq_v: true }),
    ...(shared > 0 && { num_kv_shared_layers: shared }),
    ...(shared > 0 && fields.boolean("use_double_wide_mlp", false) && { use_double_wide_mlp: true }),
    ...(width > 0 && { hidden_size_per_layer_input: width }),
    ...(fields.has("final_logit_softcapping") && {
      final_logit_softcapping: fields.number("final_logit_softcapping", CAP),
    }),
  };
}

function refuse(fields: Fields): void {
  if (fields.boolean("enable_moe_block", false))
    fields.fail("enable_moe_block", true, "false: a mixture of experts is not implemented");
  // "vision" is for the tokens of images, which there are none of.
  const both = fields.value("use_bidirectional_attention");
  if (both !== undefined && both !== "vision" && both !== false)
    fields.fail("use_bidirectional_attention", both, 'null or "vision": it is read as a decoder');
}

/** transformers rotates whole heads by "default", and a part of them by "proportional" alone. */
function checkRopes(fields: Fields): void {
  for (const type of TYPES) {
    const own = fields.object("rope_parameters")?.object(type);
    const kind = own?.string("rope_type", "default");
    const part = own?.number("partial_rotary_factor", { min: 0, max: 1 }, 1) ?? 1;
    if (kind !== "proportional" && part !== 1)
      own!.fail("partial_rotary_factor", part, '1 where rope_type is not "proportional"');
    if (kind === "proportional" && type === "sliding_attention" && part !== 1)
      own!.fail("rope_type", kind, '"default": sliding layers rotate whole heads');
  }
}

type Heads = NonNullable<Config["global_heads"]>;

/** Heads of the layers that see all, stated for all of them or, as transformers writes it, layer by layer. */
function globalHeads(
  fields: Fields,
  common: Config,
  layer_types: readonly LayerType[],
  k_eq_v: boolean,
): Heads {
  const each = fields.object("per_layer_config");
  if (!each) {
    const own = k_eq_v && fields.has("num_global_key_value_heads");
    return {
      head_dim: fields.integer("global_head_dim", LIMITS.head_dim, GLOBAL_HEAD_DIM),
      num_key_value_heads: own
        ? fields.integer("num_global_key_value_heads", LIMITS.num_attention_heads)
        : common.num_key_value_heads,
    };
  }
  const usual = { head_dim: common.head_dim, num_key_value_heads: common.num_key_value_heads };
  let found: Heads | undefined;
  for (const [i, type] of layer_types.entries()) {
    const own = each.object(String(i));
    const heads = {
      head_dim: own?.integer("head_dim", LIMITS.head_dim, usual.head_dim) ?? usual.head_dim,
      num_key_value_heads:
        own?.integer("num_key_value_heads", LIMITS.num_attention_heads, usual.num_key_value_heads) ??
        usual.num_key_value_heads,
    };
    const wanted = type === "sliding_attention" ? usual : (found ??= heads);
    for (const key of ["head_dim", "num_key_value_heads"] as const)
      if (heads[key] !== wanted[key])
        each.fail(`${i}.${key}`, heads[key], `${wanted[key]}, as other layers of type ${type}`);
  }
  return found!;
}

/** Nothing where they are no others than the sliding layers'. */
export function otherHeads(common: Heads, heads: Heads): Pick<Config, "global_heads"> {
  const same = common.head_dim === heads.head_dim && common.num_key_value_heads === heads.num_key_value_heads;
  return same ? {} : { global_heads: heads };
}

/** Every layer without keys and values of its own must find a layer of its type before it that has some. */
export function checkShared(fields: Fields, key: string, types: readonly LayerType[], shared: number): void {
  const first = types.length - shared;
  const orphan = types.findIndex((type, i) => i >= first && !types.slice(0, first).includes(type));
  if (orphan >= 0)
    fields.fail(key, shared, `fewer: layer ${orphan} (${types[orphan]}) has none of its type before it`);
}

export function writeConfig(config: Config): Record<string, unknown> {
  const { rope, rope_local, head_dim, num_key_value_heads, attention_k_eq_v = false } = config;
  const heads = config.global_heads ?? { head_dim, num_key_value_heads };
  if (heads.num_key_value_heads !== num_key_value_heads && !attention_k_eq_v)
    throw new TypeError(
      `Cannot write config.json: layers that see all have ${heads.num_key_value_heads} key-value heads and the others ${num_key_value_heads}, which it can state with attention_k_eq_v alone`,
    );
  return {
    hidden_activation: "gelu_pytorch_tanh",
    hidden_act: undefined,
    mlp_bias: undefined,
    value_norm: undefined,
    global_heads: undefined,
    global_head_dim: heads.head_dim,
    num_global_key_value_heads: attention_k_eq_v ? heads.num_key_value_heads : null,
    attention_k_eq_v,
    num_kv_shared_layers: config.num_kv_shared_layers ?? 0,
    use_double_wide_mlp: config.use_double_wide_mlp ?? false,
    hidden_size_per_layer_input: config.hidden_size_per_layer_input ?? 0,
    vocab_size_per_layer_input: config.vocab_size,
    enable_moe_block: false,
    rope_theta: undefined,
    rope_scaling: undefined,
    rope_parameters: {
      full_attention: ropeParameters(rope!),
      ...(rope_local && { sliding_attention: ropeParameters(rope_local) }),
    },
  };
}

const ropeParameters = ({ rope_theta, scaling }: Rope) => ({ rope_type: "default", rope_theta, ...scaling });
