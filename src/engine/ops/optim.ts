/** Rows of the optimizer: they write states in place. */
import type { CoreOp } from "../op.ts";
import { elements } from "../tensor.ts";
import { cols, dims, f32, ids, rank, shaped } from "./common.ts";

type None = Record<never, never>;

/**
 * One AdamW step: p -= lr · weight_decay · p; m, v updated; p -= lr · m̂ / (√v̂ + eps). g is first multiplied by the
 * gradient scale (clipping, token normalisation). hyper [8] = lr, beta1, beta2, eps, weight_decay, 1 - beta1^t,
 * 1 - beta2^t, gradient scale. Source: Loshchilov and Hutter, arXiv 1711.05101.
 */
export const adamw: CoreOp<None> = {
  kind: "core",
  writes: [0, 2, 3],
  shape: ([p, g, m, v, hyper]) => {
    for (const x of [g!, m!, v!])
      dims(elements(x.shape), elements(p!.shape), "the number of elements", "adamw");
    dims(elements(hyper!.shape), 8, "the number of hyper-parameters", "adamw");
    return [];
  },
  reference: ([p, g, m, v, hyper]) => {
    const [lr, beta1, beta2, eps, decay, correct1, correct2, factor] = hyper!
      .data as Float64Array as unknown as number[];
    for (let i = 0; i < p!.data.length; i++) {
      const x = g!.data[i]! * factor!;
      m!.data[i] = beta1! * m!.data[i]! + (1 - beta1!) * x;
      v!.data[i] = beta2! * v!.data[i]! + (1 - beta2!) * x * x;
      const step = m!.data[i]! / correct1! / (Math.sqrt(v!.data[i]! / correct2!) + eps!);
      p!.data[i] = p!.data[i]! - lr! * decay! * p!.data[i]! - lr! * step;
    }
  },
  gradient: null,
};

/** x = 0 */
export const clear_state: CoreOp<None> = {
  kind: "core",
  writes: [0],
  shape: () => [],
  reference: ([x]) => {
    x!.data.fill(0);
  },
  gradient: null,
};

/** sum += x */
export const accumulate: CoreOp<None> = {
  kind: "core",
  writes: [0],
  shape: ([sum, x]) => {
    dims(elements(x!.shape), elements(sum!.shape), "the number of elements", "accumulate");
    return [];
  },
  reference: ([sum, x]) => {
    for (let i = 0; i < sum!.data.length; i++) sum!.data[i]! += x!.data[i]!;
  },
  gradient: null,
};

/** sum += aᵀ b: sum [N, K], a [T, N], b [T, K], over T in ascending order from what sum holds */
export const accumulate_tn: CoreOp<{ bf16?: boolean }> = {
  kind: "core",
  writes: [0],
  shape: ([sum, a, b]) => {
    const [T, N] = rank(f32(a!, "accumulate_tn"), 2, "accumulate_tn");
    const [bt, K] = rank(f32(b!, "accumulate_tn"), 2, "accumulate_tn");
    dims(bt, T!, "the number of rows", "accumulate_tn");
    shaped(sum!, [N!, K!], "the sum", "accumulate_tn");
    return [];
  },
  encode: ({ bf16 }) => ({ ints: [bf16 ? 1 : 0] }),
  reference: ([sum, a, b]) => {
    const [T, N] = a!.shape as [number, number];
    const K = b!.shape[1]!;
    for (let t = 0; t < T; t++)
      for (let i = 0; i < N; i++)
        for (let k = 0; k < K; k++) sum!.data[i * K + k]! += a!.data[t * N + i]! * b!.data[t * K + k]!;
  },
  gradient: null,
};

/** sum[ids[t]] += x[t], in order of t: sum [V, n], x [T, n], ids [T] */
export const accumulate_rows: CoreOp<None> = {
  kind: "core",
  writes: [0],
  shape: ([sum, x, index]) => {
    const [T, n] = rank(f32(x!, "accumulate_rows"), 2, "accumulate_rows");
    dims(ids(index!, "accumulate_rows").shape[0], T!, "the number of ids", "accumulate_rows");
    dims(rank(sum!, 2, "accumulate_rows")[1], n!, "the width of the sum", "accumulate_rows");
    return [];
  },
  reference: ([sum, x, index]) => {
    const n = cols(x!);
    for (let t = 0; t < index!.data.length; t++)
      for (let j = 0; j < n; j++) sum!.data[index!.data[t]! * n + j]! += x!.data[t * n + j]!;
  },
  gradient: null,
};

/** y [1] = Σ x² over all elements */
export const sum_squares: CoreOp<None> = {
  kind: "core",
  shape: () => [{ shape: [1] }],
  reference: ([x], [y]) => {
    y!.data[0] = 0;
    for (const a of x!.data) y!.data[0] += a * a;
  },
  gradient: null,
};
