/** Rows of the optimizer: they write states in place. */
import type { CoreOp } from "../op.ts";
import { elements } from "../tensor.ts";
import { dims } from "./common.ts";

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
