// What a model takes in memory, what there is, and the refusal when it does not fit. Estimates only: nothing is
// allocated here.

import { type KvType, kvBlockBytes, PAGE } from "../engine/backend.ts";
import { WEIGHT_TYPES, type WeightType } from "../engine/weights.ts";
import type { Config } from "./config.ts";
import { kvPools, layerHeads } from "./layers.ts";
import { definitionOf } from "./registry.ts";

/** What a model is to be opened for. */
export interface Sizes {
  /** Positions of the longest sequence. */
  readonly ctx: number;
  readonly kv: KvType;
  /** Tokens that all sequences together may hold in the cache; default `ctx`. */
  readonly cacheTokens?: number;
  /** Most tokens in a step. */
  readonly T: number;
  /** Most rows of logits in a step. */
  readonly R: number;
  /** Most sequences in a step; default 8. */
  readonly S?: number;
}

export interface Memory {
  /** Bytes of weights in the backend's layout. */
  readonly weights: number;
  readonly kv: number;
  /** Bytes of what recurrent layers keep of sequences. */
  readonly state: number;
  /** Bytes of activations, tables and threads' scratch, about. */
  readonly work: number;
  readonly total: number;
}

/** Bytes of a KV cache that holds `tokens`, in whole pages; layout in kernels/README.md. */
export function kvBytes(config: Config, tokens: number, type: KvType): number {
  const page = kvPools(config).reduce(
    (sum, { layers, num_key_value_heads, head_dim }) =>
      sum + layers * num_key_value_heads * kvBlockBytes(type, head_dim),
    0,
  );
  return Math.ceil(tokens / PAGE) * page;
}

/** Most rows of the recurrent state beyond those that running sequences need, and the bytes that they may take together. */
const MOST_KEPT = 32;
const KEPT_BYTES = 2 ** 27;

/** Values of the recurrent state of a sequence; 0: all layers attend. */
export function stateSize(config: Config): number {
  return definitionOf(config.model_type, "config.json").stateSize?.(config) ?? 0;
}

/**
 * Rows of the recurrent state for steps of up to `S` sequences: one that each reads and one that it writes, and some that
 * are kept for prompts that begin alike.
 */
export function stateRows(config: Config, S: number): number {
  const size = stateSize(config);
  if (size === 0) return 0;
  return 2 * S + Math.max(1, Math.min(MOST_KEPT, Math.floor(KEPT_BYTES / (4 * size))));
}

/** Bytes of one matrix as 16-row panels. */
export function packedBytes(type: WeightType, shape: readonly number[]): number {
  const { blockSize, blockBytes } = WEIGHT_TYPES[type];
  const cols = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return Math.ceil(rows / 16) * 16 * Math.ceil(cols / blockSize) * blockBytes;
}

/** The sum for a model whose tensors have these types and shapes. */
export function memoryNeeded(
  config: Config,
  tensors: Iterable<{ readonly type: WeightType; readonly shape: readonly number[] }>,
  sizes: Sizes,
): Memory {
  let weights = 0;
  for (const { type, shape } of tensors)
    weights += shape.length < 2 ? 4 * (shape[0] ?? 1) : packedBytes(type, shape);
  const kv = kvBytes(config, sizes.cacheTokens ?? sizes.ctx, sizes.kv);
  const { hidden_size, intermediate_size, num_hidden_layers: layers, vocab_size } = config;
  const heads = Array.from({ length: layers }, (_, i) => layerHeads(config, i));
  const head_dim = Math.max(...heads.map((one) => one.head_dim));
  const attending = heads.map(
    (one) => 2 * (one.num_attention_heads + one.num_key_value_heads) * one.head_dim,
  );
  // The inputs of every layer are there until the last.
  const inputs = 2 * layers * (config.hidden_size_per_layer_input ?? 0);
  const mlp = 2 * intermediate_size * (config.use_double_wide_mlp ? 2 : 1);
  const row = 3 * hidden_size + mlp + Math.max(...attending) + inputs;
  const state = 4 * stateRows(config, sizes.S ?? 8) * stateSize(config);
  const work = 4 * (sizes.T * row + sizes.R * vocab_size + sizes.ctx * head_dim) + WORK_BYTES;
  return { weights, kv, state, work, total: weights + kv + state + work };
}

/** Threads' scratch and the process's own growth while it loads. */
const WORK_BYTES = 48 * 2 ** 20;

/**
 * @param available bytes, from the operating system and the cgroup
 * @throws {RangeError} with both numbers and what would fit, when `needed` exceeds `available`.
 */
export function checkFits(
  name: string,
  config: Config,
  needed: Memory,
  sizes: Sizes,
  available: number,
): void {
  if (needed.total <= available) return;
  throw new RangeError(
    `Cannot load ${JSON.stringify(name)}: it needs ${mib(needed.total)} (weights ${mib(needed.weights)}, ${sizes.kv} cache of ${sizes.cacheTokens ?? sizes.ctx} tokens ${mib(needed.kv)},${needed.state > 0 ? ` state of recurrent layers ${mib(needed.state)},` : ""} work ${mib(needed.work)}), but ${mib(available)} of memory is available; ${whatFits(config, needed, sizes, available)}`,
  );
}

/** The largest first. */
const KV_TYPES: readonly KvType[] = ["f32", "f16", "q8_0"];

function whatFits(config: Config, needed: Memory, sizes: Sizes, available: number): string {
  const left = available - needed.weights - needed.state - needed.work;
  const smaller = KV_TYPES.slice(KV_TYPES.indexOf(sizes.kv) + 1);
  const fitting = smaller.find((type) => kvBytes(config, sizes.cacheTokens ?? sizes.ctx, type) <= left);
  if (fitting) return `--kv ${fitting} would fit`;
  const page = kvBytes(config, PAGE, "f16");
  const tokens = Math.floor(left / page) * PAGE;
  const ctx = tokens >= 1024 ? tokens - (tokens % 512) : tokens;
  if (ctx >= 256 && ctx < sizes.ctx) return `--ctx ${ctx}${sizes.kv === "f16" ? "" : " --kv f16"} would fit`;
  const smallest = kvBytes(config, 512, "f16") + needed.state + needed.work;
  for (const type of ["q8_0", "q4_0"] as const) {
    const { blockSize, blockBytes } = WEIGHT_TYPES[type];
    const weights = (parameters(config) * blockBytes) / blockSize;
    if (weights < needed.weights && weights + smallest <= available)
      return `as ${type} its weights would take ${mib(weights)} and fit: pith quantize <model> --to ${type} --out out.gguf`;
  }
  return "no type of weights that pith has would make it fit";
}

/** Elements of the matrices of a decoder: what its weights' type applies to. */
export function parameters(config: Config): number {
  let sum = 0;
  for (const shape of definitionOf(config.model_type, "config.json").params(config).values())
    if (shape.length > 1) sum += shape.reduce((a, b) => a * b, 1);
  return sum;
}

/** Bytes as MiB or GiB. */
export function mib(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
