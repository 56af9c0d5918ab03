// Random-weight models of every further type, made as Hugging Face folders and written as GGUF by pith's own converter:
// what bench/agree.mjs opens in llama.cpp too. Weights are made by tensor name; scales are chosen as in bench/models.mjs.
// Command: node bench/types.mjs <name> <f32|f16|q8_0|q4_0>   (needs dist/: npx tsc -p tsconfig.build.json)
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeSafetensors } from "../dist/formats/index.js";
import { convert, definitionOf, openModel, parseConfig } from "../dist/models/index.js";
import { storedShape } from "../dist/models/stored.js";
import { cache } from "./models.mjs";
import { data } from "./vocab.mjs";

const base = {
  hidden_size: 256,
  intermediate_size: 768,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 49152,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 100000,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
};
const factors = (/** @type {number} */ count, /** @type {number} */ step) =>
  Array.from({ length: count }, (_, i) => 1 + i * step);

/** Every fifth layer sees all. @param {number} layers */
const types5 = (layers) =>
  Array.from({ length: layers }, (_, i) => (i % 5 === 4 ? "full_attention" : "sliding_attention"));

/** config.json by name. @type {Record<string, Record<string, any>>} */
export const types = {
  qwen3: { ...base, model_type: "qwen3", head_dim: 128, rope_theta: 1e6 },
  // Beyond a window llama.cpp's llama differs by design.
  mistral: { ...base, model_type: "mistral", sliding_window: null, tie_word_embeddings: false },
  // Not "phi3": llama.cpp takes a model of that name for one with Phi-3's own vocabulary.
  phi: {
    ...base,
    model_type: "phi3",
    partial_rotary_factor: 0.75,
    original_max_position_embeddings: 256,
    rope_scaling: { type: "longrope", short_factor: factors(24, 0.05), long_factor: factors(24, 0.4) },
  },
  smollm3: { ...base, model_type: "smollm3", rope_theta: 5e6 },
  granite: {
    ...base,
    model_type: "granite",
    embedding_multiplier: 12,
    residual_multiplier: 0.22,
    attention_multiplier: 0.03125,
    logits_scaling: 8,
  },
  gemma3: {
    ...base,
    model_type: "gemma3_text",
    head_dim: 64,
    num_key_value_heads: 1,
    num_hidden_layers: 7,
    rope_theta: 1e6,
    rope_scaling: { rope_type: "linear", factor: 8 },
    rope_local_base_freq: 1e4,
    sliding_window: 128,
    query_pre_attn_scalar: 64,
    final_logit_softcapping: 30.5,
  },
  // As E2B: layers at the end that read earlier ones' keys and values, inputs for each layer.
  gemma4: {
    ...base,
    model_type: "gemma4_text",
    head_dim: 64,
    num_key_value_heads: 1,
    num_hidden_layers: 10,
    layer_types: types5(10),
    num_kv_shared_layers: 5,
    use_double_wide_mlp: true,
    global_head_dim: 128,
    hidden_size_per_layer_input: 64,
    vocab_size_per_layer_input: 49152,
    sliding_window: 128,
    final_logit_softcapping: 30.5,
    rope_theta: undefined,
  },
  // As 31B: fewer heads in layers that see all, whose values are their keys.
  "gemma4-dense": {
    ...base,
    model_type: "gemma4_text",
    head_dim: 64,
    num_hidden_layers: 5,
    layer_types: types5(5),
    attention_k_eq_v: true,
    global_head_dim: 128,
    num_global_key_value_heads: 1,
    hidden_size_per_layer_input: 0,
    sliding_window: 128,
    final_logit_softcapping: 30.5,
    rope_theta: undefined,
  },
  lfm2: {
    ...base,
    model_type: "lfm2",
    num_hidden_layers: 6,
    layer_types: ["conv", "conv", "full_attention", "conv", "full_attention", "conv"],
    norm_eps: 1e-5,
    block_auto_adjust_ff_dim: false,
    conv_L_cache: 3,
    rope_theta: 1e6,
  },
  "qwen3.5": {
    ...base,
    model_type: "qwen3_5_text",
    num_hidden_layers: 8,
    head_dim: 128,
    rope_theta: undefined,
    rope_parameters: { rope_type: "default", rope_theta: 1e7, partial_rotary_factor: 0.25 },
    linear_num_key_heads: 2,
    linear_num_value_heads: 4, // which GGUF has in another order
    linear_key_head_dim: 128,
    linear_value_head_dim: 128,
  },
  gpt2: {
    model_type: "gpt2",
    n_embd: 256,
    n_layer: 4,
    n_head: 4,
    n_positions: 1024,
    vocab_size: 49152,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  bert: {
    model_type: "bert",
    hidden_size: 384,
    intermediate_size: 1536,
    num_hidden_layers: 6,
    num_attention_heads: 12,
    vocab_size: 30522,
    max_position_embeddings: 512,
    pad_token_id: 0,
  },
  "llama-yarn": {
    ...base,
    model_type: "llama",
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 128 },
  },
  // The shape of Qwen3 0.6B, for speed: compare with a llama of the same one.
  "qwen3-0.6b": {
    ...base,
    model_type: "qwen3",
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    rope_theta: 1e6,
    max_position_embeddings: 40960,
  },
};
// The shapes of Gemma 3 270M (with SmolLM2's vocabulary) and of a llama like it.
// That of LFM2 350M, with SmolLM2's vocabulary.
types["lfm2-350m"] = {
  ...types.lfm2,
  hidden_size: 1024,
  intermediate_size: 4608,
  num_hidden_layers: 16,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  max_position_embeddings: 128000,
  layer_types: Array.from({ length: 16 }, (_, i) =>
    [2, 5, 8, 10, 12, 14].includes(i) ? "full_attention" : "conv",
  ),
};
// That of Qwen3.5 0.8B, with SmolLM2's vocabulary.
types["qwen3.5-0.8b"] = {
  ...types["qwen3.5"],
  hidden_size: 1024,
  intermediate_size: 3584,
  num_hidden_layers: 24,
  num_attention_heads: 8,
  head_dim: 256,
  linear_num_key_heads: 16,
  linear_num_value_heads: 16,
  max_position_embeddings: 262144,
};
types["gemma3-270m"] = {
  ...types.gemma3,
  hidden_size: 640,
  intermediate_size: 2048,
  num_hidden_layers: 18,
  num_attention_heads: 4,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 512,
  max_position_embeddings: 32768,
  final_logit_softcapping: null,
  rope_scaling: null,
};
// Of the same width and depth with all that Gemma 4's small sizes have; the table of inputs has 113 million more values.
types["gemma4-270m"] = {
  ...types.gemma4,
  hidden_size: 640,
  intermediate_size: 2048,
  num_hidden_layers: 18,
  layer_types: types5(18).with(17, "full_attention"),
  num_kv_shared_layers: 8,
  use_double_wide_mlp: false,
  num_attention_heads: 4,
  head_dim: 256,
  global_head_dim: 512,
  hidden_size_per_layer_input: 128,
  sliding_window: 512,
  max_position_embeddings: 32768,
  final_logit_softcapping: null,
};
types["llama-270m"] = { ...types["gemma3-270m"], model_type: "llama" };
const { model_type: _, ...plain } = types["qwen3-0.6b"];
types["llama-0.6b"] = { ...plain, model_type: "llama" };
types["phi-0.6b"] = { ...plain, model_type: "phi3", head_dim: undefined, num_attention_heads: 16 };

/** Mean and standard deviation of a parameter's values. @param {string} name @param {readonly number[]} shape @param {any} c */
function spread(name, shape, c) {
  const { hidden_size: C = c.n_embd, num_hidden_layers: L = c.n_layer } = c;
  const added = 0.24 / Math.sqrt(L) / (c.residual_multiplier ?? 1);
  const width = shape.at(-1) ?? 1;
  if (/per_layer_input_norm/.test(name)) return { mean: added, std: added / 10 };
  if (/embed_tokens_per_layer/.test(name)) return { mean: 0, std: c.hidden_size_per_layer_input ** -0.5 };
  if (/per_layer_model_projection/.test(name)) return { mean: 0, std: 1 };
  if (/layer_scalar/.test(name)) return { mean: 0.97, std: 0.01 };
  if (/self_attn\.[qk]_norm/.test(name) && c.model_type === "gemma4_text")
    return { mean: 1.4 / (shape[0] ?? 1) ** 0.25, std: 0.05 };
  if (/^gemma[34]_text$/.test(c.model_type)) {
    // The embedding is scaled up, and norms stand behind each part.
    if (/embed_tokens/.test(name)) return { mean: 0, std: 1 / Math.sqrt(C) };
    if (name === "model.norm.weight") return { mean: 1, std: 0, signs: true };
    if (/post_\w+_layernorm/.test(name)) return { mean: added, std: added / 10 };
  }
  if (/wte|word_emb/.test(name)) return { mean: 0, std: 1 };
  if (/wpe|position_emb|token_type_emb/.test(name)) return { mean: 0, std: 0.2 };
  if (name === "transformer.ln_f.weight") return { mean: 1 / Math.sqrt(C), std: 0, signs: true };
  if (name === "transformer.ln_f.bias") return { mean: 0, std: 0 };
  if (/(ln_\d|LayerNorm)\.weight/.test(name)) return { mean: 1, std: 0.1 };
  if (shape.length === 2 && /c_attn|query|key/.test(name)) return { mean: 0, std: 1.4 / Math.sqrt(C) };
  if (shape.length === 2 && /attn\.c_proj/.test(name))
    return { mean: 0, std: added / 0.35 / Math.sqrt(width) };
  if (shape.length === 2 && /mlp\.c_proj/.test(name)) return { mean: 0, std: added / 0.6 / Math.sqrt(width) };
  if (/embed_tokens/.test(name)) return { mean: 0, std: 1 / (c.embedding_multiplier ?? 1) };
  if (/lm_head/.test(name)) return { mean: 0, std: 1 };
  if (name === "model.norm.weight")
    return {
      mean: ((c.logits_scaling ?? 1) * (c.embedding_multiplier ?? 1)) / Math.sqrt(C),
      std: 0,
      signs: true,
    };
  if (name === "model.embedding_norm.weight") return { mean: 1 / Math.sqrt(C), std: 0, signs: true };
  if (/conv\.out_proj/.test(name)) return { mean: 0, std: added / Math.sqrt(width) };
  if (/[qk]_(layer)?norm/.test(name)) return { mean: 1.4, std: 0.14 };
  if (/norm/.test(name)) return { mean: 1, std: 0.1 };
  if (/A_log/.test(name)) return { mean: 0, std: 1 };
  if (/dt_bias/.test(name)) return { mean: -2, std: 1 };
  if (shape.length === 1) return { mean: 0, std: 0.1 };
  if (/[qk]_proj/.test(name)) return { mean: 0, std: 1.4 / Math.sqrt(C) };
  if (/linear_attn\.out_proj/.test(name)) return { mean: 0, std: added / 0.6 / Math.sqrt(width) };
  if (/(o|out)_proj/.test(name)) return { mean: 0, std: added / 0.35 / Math.sqrt(width) };
  if (/down_proj|feed_forward\.w2/.test(name)) return { mean: 0, std: added / 0.6 / Math.sqrt(width) };
  return { mean: 0, std: 1 / Math.sqrt(width) };
}

/** Nearly normal values by a tensor's name. @param {string} name @param {number} count @param {{ mean: number, std: number, signs?: boolean }} of */
function values(name, count, { mean, std, signs = false }) {
  let x = 2166136261;
  for (const c of name) x = Math.imul(x ^ c.charCodeAt(0), 16777619);
  x = x || 1;
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const w = x >>> 0;
    const sum = (w & 255) + ((w >>> 8) & 255) + ((w >>> 16) & 255) + (w >>> 24);
    out[i] = mean + (std * (sum - 510)) / 147.8;
    if (signs && w & 0x10000) out[i] = -out[i];
  }
  return out;
}

/**
 * A GGUF file of a type in `types`, with SmolLM2's vocabulary, made unless it is there.
 * @param {string} name @param {any} type of the matrices
 */
export async function makeType(name, type) {
  const file = join(cache, `type-${name}-${type}.gguf`);
  if (existsSync(file)) return file;
  const folder = join(cache, `type-${name}`);
  mkdirSync(folder, { recursive: true });
  const config = types[name];
  const text = JSON.stringify(config);
  const parsed = parseConfig(name, text);
  writeFileSync(join(folder, "config.json"), text);
  const vocabulary = parsed.model_type === "bert" ? "all-MiniLM-L6-v2" : "smollm2";
  for (const part of ["tokenizer.json", "tokenizer_config.json"]) {
    const from = join(data, "tokenizers", vocabulary, part);
    if (existsSync(from)) copyFileSync(from, join(folder, part));
  }
  const definition = definitionOf(parsed.model_type, name);
  const tensors = [...definition.params(parsed)].map(([tensor, shape]) => {
    const form = definition.stored?.(tensor);
    return {
      name: tensor,
      type: /** @type {const} */ ("f32"),
      shape: storedShape(shape, form),
      data: async () => {
        const count = shape.reduce((a, b) => a * b, 1);
        const all = values(tensor, count, spread(tensor, shape, config));
        return new Uint8Array((form === "less_one" ? all.map((x) => x - 1) : all).buffer);
      },
    };
  });
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  const model = await openModel(folder);
  await convert(model, file, { type });
  await model.close();
  return file;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = "", type = "q4_0"] = process.argv.slice(2);
  if (!(name in types)) throw new RangeError(`No type "${name}", wanted one of ${Object.keys(types)}`);
  console.log(await makeType(name, type));
}
