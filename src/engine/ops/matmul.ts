/** Matrix products. A weight w is [N, K] (rows = output features), as model files store it. */
import { roundEven } from "../half.ts";
import { matmul_nn as nn, matmul_nt as nt, matmul_tn as tn } from "../nn.ts";
import type { CoreOp, OutputSpec } from "../op.ts";
import type { Shape, Tensor } from "../tensor.ts";
import { dims, f32, rank, shaped } from "./common.ts";

/** A third operand of y's shape is added to the product. `bf16`: see `lowered` in fuse-gradients.ts. */
export interface Product {
  readonly bf16?: boolean;
}

/** Columns that share an activation scale. */
export const ACTIVATION_BLOCK = 32;

/**
 * x rounded to int8 per 32 columns and back: d = max|x| / 127, q = round(x / d), ties to even; in f32 as kernels do.
 * Widths that are no multiple of 32 are not quantized.
 */
export function roundActivations(x: ArrayLike<number>, n: number): Float64Array {
  const y = Float64Array.from(x);
  if (n % ACTIVATION_BLOCK !== 0) return y;
  for (let start = 0; start < y.length; start += ACTIVATION_BLOCK) {
    let top = 0;
    for (let i = start; i < start + ACTIVATION_BLOCK; i++) top = Math.max(top, Math.abs(Math.fround(y[i]!)));
    const d = Math.fround(top / 127);
    const inverse = d > 0 ? Math.fround(1 / d) : 0;
    for (let i = start; i < start + ACTIVATION_BLOCK; i++)
      y[i] = roundEven(Math.fround(Math.fround(y[i]!) * inverse)) * d;
  }
  return y;
}

/** True for types whose matmul may take int8 activations: those whose codes are integers. */
export function quantized(type: string): boolean {
  return type !== "f32" && type !== "f16" && type !== "bf16" && type !== "nf4";
}

function addedTo(shape: Shape, added: Tensor | undefined, op: string): OutputSpec[] {
  if (added) shaped(f32(added, op), shape, "what is added", op);
  return [{ shape }];
}

/**
 * y = x wᵀ: [T, K] · [N, K] -> [T, N]. With `int8`, x is rounded to int8 per 32 columns when w is of a quantized
 * type (inference); float weights, and training, take x as it is.
 */
export const matmul_nt: CoreOp<Product & { int8: boolean }> = {
  kind: "core",
  shape: ([x, w, added]) => {
    const [T, K] = rank(f32(x!, "matmul_nt"), 2, "matmul_nt");
    const [N, wk] = rank(f32(w!, "matmul_nt"), 2, "matmul_nt");
    dims(wk, K!, `the width of ${w!.name ?? "w"}`, "matmul_nt");
    return addedTo([T!, N!], added, "matmul_nt");
  },
  encode: ({ int8, bf16 }) => ({ ints: [int8 ? 1 : 0, bf16 ? 1 : 0] }),
  reference: ([x, w, added], [y], { int8 }) => {
    const [T, K] = x!.shape as [number, number];
    const N = w!.shape[0]!;
    const xs = int8 && quantized(w!.type) ? roundActivations(x!.data, K) : x!.data;
    for (let t = 0; t < T; t++)
      for (let i = 0; i < N; i++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += xs[t * K + k]! * w!.data[i * K + k]!;
        y!.data[t * N + i] = sum + (added ? added.data[t * N + i]! : 0);
      }
  },
  gradient: (node, [dy]) => {
    const [x, w] = node.inputs;
    return [dy && nn(dy, w!), dy && tn(dy, x!), dy];
  },
};

/** y = x w: [T, N] · [N, K] -> [T, K] */
export const matmul_nn: CoreOp<Product> = {
  kind: "core",
  shape: ([x, w, added]) => {
    const [T, N] = rank(f32(x!, "matmul_nn"), 2, "matmul_nn");
    const [wn, K] = rank(f32(w!, "matmul_nn"), 2, "matmul_nn");
    dims(wn, N!, "the height of w", "matmul_nn");
    return addedTo([T!, K!], added, "matmul_nn");
  },
  encode: ({ bf16 }) => ({ ints: [bf16 ? 1 : 0] }),
  reference: ([x, w, added], [y]) => {
    const [T, N] = x!.shape as [number, number];
    const K = w!.shape[1]!;
    if (added) y!.data.set(added.data);
    else y!.data.fill(0);
    for (let t = 0; t < T; t++)
      for (let i = 0; i < N; i++) {
        const a = x!.data[t * N + i]!;
        for (let k = 0; k < K; k++) y!.data[t * K + k]! += a * w!.data[i * K + k]!;
      }
  },
  gradient: (node, [dy]) => {
    const [x, w] = node.inputs;
    return [dy && nt(dy, w!, { int8: false }), dy && tn(x!, dy), dy];
  },
};

/** y = aᵀ b: [T, N], [T, K] -> [N, K], summed over T in ascending order */
export const matmul_tn: CoreOp<Product> = {
  kind: "core",
  shape: ([a, b]) => {
    const [T, N] = rank(f32(a!, "matmul_tn"), 2, "matmul_tn");
    const [bt, K] = rank(f32(b!, "matmul_tn"), 2, "matmul_tn");
    dims(bt, T!, "the number of rows", "matmul_tn");
    return [{ shape: [N!, K!] }];
  },
  encode: ({ bf16 }) => ({ ints: [bf16 ? 1 : 0] }),
  reference: ([a, b], [y]) => {
    const [T, N] = a!.shape as [number, number];
    const K = b!.shape[1]!;
    y!.data.fill(0);
    for (let t = 0; t < T; t++)
      for (let i = 0; i < N; i++) {
        const x = a!.data[t * N + i]!;
        for (let k = 0; k < K; k++) y!.data[i * K + k]! += x * b!.data[t * K + k]!;
      }
  },
  gradient: (node, [dy]) => {
    const [a, b] = node.inputs;
    return [dy && nt(b!, dy, { int8: false }), dy && nn(a!, dy)];
  },
};
