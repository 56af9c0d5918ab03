// Random-weight models of known shapes as GGUF files, for measurements and for the check against llama.cpp.
// The weights are made by tensor name and seed and streamed through pith's own quantizer and writer.
// Command: node bench/models.mjs <shape> <f32|f16|q8_0|q4_0|tq2_0|tq1_0> [file]
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { f32ToF16 } from "../dist/engine/half.js";
import { quantize, WEIGHT_TYPES, weightBytes } from "../dist/engine/weights.js";
import { writeGguf } from "../dist/formats/index.js";
import { parseConfig } from "../dist/models/index.js";
import { vocabulary } from "./vocab.mjs";

/** Where the files are kept between runs (not under version control). */
export const cache = fileURLToPath(new URL("../.cache/bench", import.meta.url));

/**
 * @typedef {object} Shape
 * @property {"llama" | "qwen2"} arch
 * @property {"smollm2" | "qwen2.5" | "llama3"} vocab
 * @property {number} hidden
 * @property {number} layers
 * @property {number} heads
 * @property {number} kv_heads
 * @property {number} head_dim
 * @property {number} ffn
 * @property {number} vocab_size
 * @property {boolean} tied the output head is the embedding
 * @property {number} rope_theta
 * @property {{ factor: number, low: number, high: number, original: number }} [rope_scaling] Llama 3's
 * @property {number} ctx_train
 */

/** @type {Record<string, Shape>} */
export const shapes = {
  // biome-ignore format: a table
  "135m": { arch: "llama", vocab: "smollm2", hidden: 576, layers: 30, heads: 9, kv_heads: 3, head_dim: 64, ffn: 1536, vocab_size: 49152, tied: true, rope_theta: 100000, ctx_train: 8192 },
  // biome-ignore format: a table
  "0.5b": { arch: "qwen2", vocab: "qwen2.5", hidden: 896, layers: 24, heads: 14, kv_heads: 2, head_dim: 64, ffn: 4864, vocab_size: 151936, tied: true, rope_theta: 1000000, ctx_train: 32768 },
  // biome-ignore format: a table
  "1b": { arch: "llama", vocab: "llama3", hidden: 2048, layers: 16, heads: 32, kv_heads: 8, head_dim: 64, ffn: 8192, vocab_size: 128256, tied: true, rope_theta: 500000, rope_scaling: { factor: 32, low: 1, high: 4, original: 8192 }, ctx_train: 131072 },
  // biome-ignore format: a table
  "3b": { arch: "llama", vocab: "llama3", hidden: 3072, layers: 28, heads: 24, kv_heads: 8, head_dim: 128, ffn: 8192, vocab_size: 128256, tied: true, rope_theta: 500000, rope_scaling: { factor: 32, low: 1, high: 4, original: 8192 }, ctx_train: 131072 },
  // biome-ignore format: a table
  "8b": { arch: "llama", vocab: "llama3", hidden: 4096, layers: 32, heads: 32, kv_heads: 8, head_dim: 128, ffn: 14336, vocab_size: 128256, tied: false, rope_theta: 500000, rope_scaling: { factor: 8, low: 1, high: 4, original: 8192 }, ctx_train: 131072 },
  // Small ones for the check against llama.cpp: every feature of the families, little to compute.
  // biome-ignore format: a table
  "tiny-llama": { arch: "llama", vocab: "smollm2", hidden: 512, layers: 4, heads: 8, kv_heads: 2, head_dim: 64, ffn: 1408, vocab_size: 49152, tied: true, rope_theta: 100000, ctx_train: 2048 },
  // biome-ignore format: a table
  "tiny-llama3": { arch: "llama", vocab: "llama3", hidden: 384, layers: 4, heads: 6, kv_heads: 2, head_dim: 64, ffn: 1024, vocab_size: 128256, tied: false, rope_theta: 500000, rope_scaling: { factor: 32, low: 1, high: 4, original: 256 }, ctx_train: 8192 },
  // biome-ignore format: a table
  "tiny-qwen2": { arch: "qwen2", vocab: "qwen2.5", hidden: 256, layers: 4, heads: 4, kv_heads: 2, head_dim: 64, ffn: 768, vocab_size: 151936, tied: true, rope_theta: 1000000, ctx_train: 2048 },
};

/** A shape as the config of a model whose weights are made in memory. @param {Shape} s */
export const configOf = (s) =>
  parseConfig(
    "bench",
    JSON.stringify({
      model_type: s.arch,
      hidden_size: s.hidden,
      intermediate_size: s.ffn,
      num_hidden_layers: s.layers,
      num_attention_heads: s.heads,
      num_key_value_heads: s.kv_heads,
      head_dim: s.head_dim,
      vocab_size: s.vocab_size,
      max_position_embeddings: s.ctx_train,
      rms_norm_eps: 1e-5,
      rope_theta: s.rope_theta,
      tie_word_embeddings: s.tied,
    }),
  );

/** Roughly normal values, quickly. @param {number} n @param {number} std @param {number} seed */
export function roughlyNormal(n, std, seed) {
  const values = new Float32Array(n);
  let s = seed | 1;
  for (let i = 0; i < n; i++) {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    values[i] = ((s >> 8) / (1 << 23)) * 1.7 * std;
  }
  return values;
}

// --- Tensors ---------------------------------------------------------------------------------------------

/** @typedef {"f32" | "f16" | "q8_0" | "q4_0" | "tq2_0" | "tq1_0"} WeightType */
/** `general.file_type` of a file whose matrices are all of a type. */
const FILE_TYPES = { f32: 0, f16: 1, q4_0: 2, q8_0: 7, tq1_0: 36, tq2_0: 37 };

/** @typedef {{ name: string, shape: number[], type: WeightType, mean: number, std: number, signs?: boolean }} Tensor `signs`: half of the values negated */

/**
 * The tensors of a shape, outermost dimension first.
 * The residual starts as the embedding (unit RMS) and the layers bring about a tenth of its final variance, so that every
 * position keeps its own direction. The share was chosen after measurements: with layers that dominate, few tokens are
 * ever the likeliest; with more weight on the layers, the rounding of 8-bit activations, which no two engines share,
 * moves the likeliest of near ties in 4 to 6 % of positions (docs/LOG.md has the figures). Attention scores have a standard deviation
 * of about 2. The last norm brings logits to unit spread; its signs keep a tied head from repeating the input token.
 * @param {Shape} s @param {WeightType} type of the matrices @returns {Tensor[]}
 */
function tensorList(s, type) {
  const unit = 1 / Math.sqrt(s.hidden);
  const q = s.heads * s.head_dim;
  const kv = s.kv_heads * s.head_dim;
  const added = 0.24 / Math.sqrt(s.layers); // RMS of what a sublayer adds
  /** @type {Tensor[]} */
  const list = [];
  const matrix = (/** @type {string} */ name, /** @type {number[]} */ shape, /** @type {number} */ std) =>
    list.push({ name, shape, type, mean: 0, std });
  const vector = (/** @type {string} */ name, /** @type {number} */ size, mean = 0, std = 0) =>
    list.push({ name, shape: [size], type: "f32", mean, std });
  matrix("token_embd.weight", [s.vocab_size, s.hidden], 1);
  if (s.rope_scaling) vector("rope_freqs.weight", s.head_dim / 2);
  for (let i = 0; i < s.layers; i++) {
    const at = `blk.${i}.`;
    vector(`${at}attn_norm.weight`, s.hidden, 1, 0.1);
    matrix(`${at}attn_q.weight`, [q, s.hidden], 1.4 * unit);
    matrix(`${at}attn_k.weight`, [kv, s.hidden], 1.4 * unit);
    matrix(`${at}attn_v.weight`, [kv, s.hidden], unit);
    if (s.arch === "qwen2") {
      vector(`${at}attn_q.bias`, q, 0, 0.3);
      vector(`${at}attn_k.bias`, kv, 0, 0.3);
      vector(`${at}attn_v.bias`, kv, 0, 0.1);
    }
    matrix(`${at}attn_output.weight`, [s.hidden, q], added / 0.35 / Math.sqrt(q));
    vector(`${at}ffn_norm.weight`, s.hidden, 1, 0.1);
    matrix(`${at}ffn_gate.weight`, [s.ffn, s.hidden], unit);
    matrix(`${at}ffn_up.weight`, [s.ffn, s.hidden], unit);
    matrix(`${at}ffn_down.weight`, [s.hidden, s.ffn], added / 0.6 / Math.sqrt(s.ffn));
  }
  list.push({
    name: "output_norm.weight",
    shape: [s.hidden],
    type: "f32",
    mean: unit,
    std: unit / 10,
    signs: true,
  });
  if (!s.tied) matrix("output.weight", [s.vocab_size, s.hidden], 1);
  return list;
}

const size = (/** @type {Tensor} */ t) => t.shape.reduce((x, y) => x * y, 1);

/** Bytes of weights that decoding one token reads: all matrices, but of an embedding apart only a row. @param {Shape} s @param {WeightType} type */
export const bytesPerToken = (s, type) =>
  tensorList(s, type)
    .filter((t) => s.tied || t.name !== "token_embd.weight")
    .reduce((sum, t) => sum + weightBytes(t.type, size(t)), 0);

/** Bytes of keys and values of one token. @param {Shape} s @param {number} bytes of one element */
export const kvBytesPerToken = (s, bytes) => 2 * s.layers * s.kv_heads * s.head_dim * bytes;

/** Llama 3's rope scaling as the divisor of each pair's frequency, f32 [head_dim / 2]. @param {Shape} s */
async function* ropeFactors(s) {
  const { factor, low, high, original } = /** @type {NonNullable<Shape["rope_scaling"]>} */ (s.rope_scaling);
  const factors = Float32Array.from({ length: s.head_dim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * s.rope_theta ** ((2 * i) / s.head_dim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  yield new Uint8Array(factors.buffer);
}

/** Words of 32 random bits: xorshift32, seeded by a tensor's name. @param {string} name @param {number} seed */
function randomWords(name, seed) {
  let x = 2166136261 ^ Math.imul(seed, 0x9e3779b1);
  for (const c of name) x = Math.imul(x ^ c.charCodeAt(0), 16777619);
  x = x || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** A word's four bytes added: 0..1020, nearly normal with mean 510 and standard deviation 147.8. @param {number} w */
const sum4 = (w) => (w & 255) + ((w >>> 8) & 255) + ((w >>> 16) & 255) + (w >>> 24);
const SPREAD = Math.sqrt((4 * (256 * 256 - 1)) / 12);

/** A random tensor's bytes, in pieces of whole rows. @param {Tensor} t @param {number} seed */
async function* randomTensor(t, seed) {
  const next = randomWords(t.name, seed);
  const values = Float32Array.from({ length: 1021 }, (_, i) => t.mean + (t.std * (i - 510)) / SPREAD);
  const row = t.shape.at(-1) ?? 1;
  const piece = row * Math.ceil(2 ** 20 / row);
  for (let left = size(t); left > 0; left -= piece) {
    const floats = new Float32Array(Math.min(left, piece));
    for (let i = 0; i < floats.length; i++) floats[i] = values[sum4(next())];
    if (t.signs) for (let i = 0; i < floats.length; i++) if (next() & 0x10000) floats[i] = -floats[i];
    yield quantize(/** @type {"f32"} */ (t.type), floats);
  }
}

/** All bytes that stand for `digits` ternary digits, the first the lowest two bits of tq2_0 and the highest of tq1_0. @param {"tq2_0" | "tq1_0"} type @param {number} digits */
const ternaryBytes = (type, digits) =>
  Uint8Array.from({ length: 3 ** digits }, (_, n) =>
    type === "tq1_0"
      ? Math.ceil((n * 3 ** (5 - digits) * 256) / 243)
      : (n % 3) + 4 * (Math.floor(n / 3) % 3) + 16 * (Math.floor(n / 9) % 3) + 64 * Math.floor(n / 27),
  );

/** A tensor of random -d, 0, d, in pieces of whole blocks. @param {Tensor} t @param {number} seed */
async function* ternaryTensor(t, seed) {
  const type = /** @type {"tq2_0" | "tq1_0"} */ (t.type);
  const { blockBytes } = WEIGHT_TYPES[type];
  const next = randomWords(t.name, seed);
  const d = f32ToF16(t.std * Math.sqrt(1.5)); // a third of the values is 0
  const all = ternaryBytes(type, type === "tq1_0" ? 5 : 4);
  const last = type === "tq1_0" ? ternaryBytes(type, 4) : all;
  const step = blockBytes * 2 ** 13;
  for (let left = weightBytes(type, size(t)); left > 0; left -= step) {
    const bytes = new Uint8Array(Math.min(left, step));
    for (let b = 0; b < bytes.length; b += blockBytes) {
      for (let i = 0; i < blockBytes - 2; i++) {
        const of = i < 48 ? all : last;
        bytes[b + i] = of[((next() >>> 16) * of.length) >>> 16] ?? 0;
      }
      bytes[b + blockBytes - 2] = d & 255;
      bytes[b + blockBytes - 1] = d >>> 8;
    }
    yield bytes;
  }
}

// --- The file --------------------------------------------------------------------------------------------

/**
 * Write a model unless the file is already there.
 * @param {string} name of a shape in `shapes`
 * @param {WeightType} type of every matrix, the embedding and the head included
 * @param {{ seed?: number, file?: string, log?: (line: string) => void }} [options]
 * @returns {Promise<string>} the file
 */
export async function makeModel(name, type, options = {}) {
  const { seed = 1, file = join(cache, `${name}-${type}.gguf`), log = () => {} } = options;
  const s = shapes[name];
  if (!s)
    throw new RangeError(`Cannot make a model: no shape "${name}", wanted one of ${Object.keys(shapes)}`);
  if (!(type in FILE_TYPES)) {
    throw new RangeError(`Cannot make a model: no type "${type}", wanted one of ${Object.keys(FILE_TYPES)}`);
  }
  if (existsSync(file)) return file;
  mkdirSync(dirname(file), { recursive: true });
  const started = performance.now();
  const v = vocabulary(s);
  const tensors = tensorList(s, type).map((t) => ({
    name: t.name,
    type: t.type,
    shape: t.shape,
    data: () =>
      t.name === "rope_freqs.weight"
        ? ropeFactors(s)
        : t.type === "tq2_0" || t.type === "tq1_0"
          ? ternaryTensor(t, seed)
          : randomTensor(t, seed),
  }));
  await writeGguf(file, { metadata: metadata(s, v, type, name), tensors });
  const seconds = ((performance.now() - started) / 1e3).toFixed(1);
  log(`${file}: ${type}, embedding and head ${type}, vocabulary ${v.source}, made in ${seconds} s`);
  return file;
}

/** @param {Shape} s @param {import("./vocab.mjs").Vocab} v @param {WeightType} type @param {string} name */
function metadata(s, v, type, name) {
  const a = s.arch;
  const uint = (/** @type {number} */ value) => ({ type: /** @type {const} */ ("uint32"), value });
  const float = (/** @type {number} */ value) => ({ type: /** @type {const} */ ("float32"), value });
  const text = (/** @type {string} */ value) => ({ type: /** @type {const} */ ("string"), value });
  const texts = (/** @type {string[]} */ value) => ({ type: "array", of: "string", value });
  return Object.entries({
    "general.architecture": text(a),
    "general.name": text(`random ${name}`),
    "general.file_type": uint(FILE_TYPES[type]),
    "general.quantization_version": uint(2),
    [`${a}.block_count`]: uint(s.layers),
    [`${a}.context_length`]: uint(s.ctx_train),
    [`${a}.embedding_length`]: uint(s.hidden),
    [`${a}.feed_forward_length`]: uint(s.ffn),
    [`${a}.attention.head_count`]: uint(s.heads),
    [`${a}.attention.head_count_kv`]: uint(s.kv_heads),
    [`${a}.attention.layer_norm_rms_epsilon`]: float(a === "qwen2" ? 1e-6 : 1e-5),
    [`${a}.rope.dimension_count`]: uint(s.head_dim),
    [`${a}.rope.freq_base`]: float(s.rope_theta),
    [`${a}.vocab_size`]: uint(s.vocab_size),
    "tokenizer.ggml.model": text("gpt2"),
    "tokenizer.ggml.pre": text(v.pre),
    "tokenizer.ggml.tokens": texts(v.tokens),
    "tokenizer.ggml.token_type": { type: "array", of: "int32", value: Int32Array.from(v.types) },
    "tokenizer.ggml.merges": texts(v.merges),
    "tokenizer.ggml.bos_token_id": uint(v.bos),
    "tokenizer.ggml.eos_token_id": uint(v.eos),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: v.addBos },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = "", type = "q4_0", file] = process.argv.slice(2);
  const t = /** @type {WeightType} */ (type);
  console.log(await makeModel(name, t, { ...(file ? { file } : {}), log: console.error }));
}
