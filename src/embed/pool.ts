// From the hidden states of a sequence to its vector. Sums are made in double, token after token, so a text's vector has
// the same bits whatever stands beside it.

import type { Pooling } from "../models/index.ts";

/** Which rows of hidden states a pooling reads. */
export function rowsOf(pooling: readonly Pooling[], length: number): "all" | readonly number[] {
  if (pooling.every((kind) => kind === "cls")) return [0];
  if (pooling.every((kind) => kind === "lasttoken")) return [length - 1];
  return "all";
}

/**
 * The vector of one sequence: each pooling's part behind the other.
 * @param hidden [count, width], `count` at least 1
 * @param first the row that pooling begins with: behind a prompt that does not count
 */
export function pool(
  pooling: readonly Pooling[],
  hidden: Float32Array,
  width: number,
  first: number,
): Float32Array {
  const count = hidden.length / width;
  const vector = new Float32Array(pooling.length * width);
  for (const [part, kind] of pooling.entries())
    vector.set(poolOne(kind, hidden, width, count, Math.min(first, count - 1)), part * width);
  return vector;
}

function poolOne(
  kind: Pooling,
  hidden: Float32Array,
  width: number,
  count: number,
  first: number,
): ArrayLike<number> {
  if (kind === "cls") return hidden.subarray(0, width);
  if (kind === "lasttoken") return hidden.subarray((count - 1) * width);
  const out = new Float64Array(width);
  if (kind === "max") {
    out.fill(-Infinity);
    for (let t = first; t < count; t++)
      for (let i = 0; i < width; i++) out[i] = Math.max(out[i]!, hidden[t * width + i]!);
    return out;
  }
  let weights = 0;
  for (let t = first; t < count; t++) {
    const weight = kind === "weightedmean" ? t + 1 : 1;
    weights += weight;
    for (let i = 0; i < width; i++) out[i]! += weight * hidden[t * width + i]!;
  }
  const divisor = kind === "mean_sqrt_len" ? Math.sqrt(weights) : weights;
  return out.map((x) => x / divisor);
}

/** x / |x|, in place; a vector of zeros stays. */
export function normalize(vector: Float32Array): Float32Array {
  let squares = 0;
  for (const x of vector) squares += x * x;
  const length = Math.sqrt(squares);
  if (length > 0) for (let i = 0; i < vector.length; i++) vector[i]! /= length;
  return vector;
}
