// What stays: scores from what was measured, and the highest of them. Numbers only; nothing runs here.

import { type Config, type OpenedModel, parameterValues } from "../models/index.ts";
import { Random } from "../train/index.ts";
import type { Kept, Layout } from "./layout.ts";
import type { Taps } from "./measure.ts";
import type { Sizes } from "./sizes.ts";

/** How much what could go does. Of each kept layer, in their order; larger is more. */
export interface Scores {
  readonly layers: readonly number[];
  readonly hidden: Float64Array;
  readonly ffn: readonly Float64Array[];
  /** Of query heads. */
  readonly heads: readonly Float64Array[];
}

/**
 * Root mean squares over the calibration tokens. Neuron: of what it adds to the residual stream, x ‖w‖ with w its column of
 * down_proj. Head: of its components, each x ‖w‖ by its column of o_proj. Hidden channel: of the outputs of all norms,
 * together.
 */
export async function scoresOf(
  model: OpenedModel,
  taps: Taps,
  layers: readonly number[],
  { norms }: Layout,
): Promise<Scores> {
  const { hidden_size: C, num_attention_heads, head_dim } = model.config;
  const sized = async (name: string) => {
    const lengths = columnSquares(await parameterValues(model, name), C);
    return Float64Array.from(taps.inputs.get(name)!, (square, k) => square * lengths[k]!);
  };
  const hidden = new Float64Array(C);
  for (const name of norms) {
    const shares = taps.shares.get(name);
    if (!shares) continue; // of a layer that is gone
    const weight = await parameterValues(model, name);
    for (let c = 0; c < C; c++) hidden[c]! += C * shares[c]! * weight[c]! ** 2;
  }
  const ffn: Float64Array[] = [];
  const heads: Float64Array[] = [];
  for (const i of layers) {
    ffn.push((await sized(`model.layers.${i}.mlp.down_proj.weight`)).map(Math.sqrt));
    const components = await sized(`model.layers.${i}.self_attn.o_proj.weight`);
    const own = new Float64Array(num_attention_heads);
    components.forEach((square, k) => {
      own[Math.floor(k / head_dim)]! += square;
    });
    heads.push(own.map(Math.sqrt));
  }
  return { layers, hidden: hidden.map(Math.sqrt), ffn, heads };
}

/** Σ w² of every column of a matrix [rows, cols]. */
function columnSquares(values: Float32Array, rows: number): Float64Array {
  const cols = values.length / rows;
  const sums = new Float64Array(cols);
  for (let r = 0, at = 0; r < rows; r++)
    for (let c = 0; c < cols; c++, at++) sums[c]! += values[at]! * values[at]!;
  return sums;
}

/** Scores by chance: what a choice by importance is compared with. */
export function randomScores(config: Config, layers: readonly number[], seed: number): Scores {
  const draw = (n: number, ...stream: number[]) => {
    const random = new Random(seed, 97, ...stream);
    return Float64Array.from({ length: n }, () => random.next() / 2 ** 32);
  };
  return {
    layers,
    hidden: draw(config.hidden_size, 0),
    ffn: layers.map((i) => draw(config.intermediate_size, 1, i)),
    heads: layers.map((i) => draw(config.num_attention_heads, 2, i)),
  };
}

/**
 * What stays of each: the highest scores; equal ones by their number. Of heads, whole groups by the sum of what would stay
 * of them, and within each as many.
 */
export function chooseKept(scores: Scores, config: Config, sizes: Sizes): Kept {
  const group = config.num_attention_heads / config.num_key_value_heads;
  const each = sizes.heads / sizes.kv_heads;
  const chosen = scores.heads.map((own) => {
    const groups = Array.from({ length: config.num_key_value_heads }, (_, k) => {
      const best = highest(own.subarray(k * group, (k + 1) * group), each);
      return best.map((q) => q + k * group);
    });
    const sums = Float64Array.from(groups, (best) => best.reduce((sum, q) => sum + own[q]! ** 2, 0));
    const kv = highest(sums, sizes.kv_heads);
    return { kv, heads: Int32Array.from([...kv].flatMap((k) => [...groups[k]!])) };
  });
  return {
    layers: scores.layers,
    hidden: highest(scores.hidden, sizes.hidden),
    ffn: scores.ffn.map((own) => highest(own, sizes.ffn)),
    heads: chosen.map(({ heads }) => heads),
    kv_heads: chosen.map(({ kv }) => kv),
  };
}

/** Indices of the `count` highest values, ascending. */
export function highest(values: Float64Array, count: number): Int32Array {
  const order = Int32Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
  return order.slice(0, count).sort();
}

/** 1 for each that stays, 0 for the others. */
export function maskOf(kept: Int32Array, size: number, width = 1): Float32Array {
  const mask = new Float32Array(size * width);
  for (const i of kept) mask.fill(1, i * width, (i + 1) * width);
  return mask;
}

/** Of every norm that stays: by what its weight grows, so that the mean square of fewer channels changes nothing. */
export function normFactors(taps: Taps, hidden: Int32Array, size: number): Map<string, number> {
  if (hidden.length === size) return new Map();
  return new Map(
    [...taps.shares].map(([name, shares]) => {
      let [all, stays] = [0, 0];
      for (const share of shares) all += share;
      for (const c of hidden) stays += shares[c]!;
      return [name, Math.sqrt(((stays / all) * size) / hidden.length)];
    }),
  );
}
