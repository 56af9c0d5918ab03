/** The fused linear row: what a decoder does between two barriers. */
import { add, matmul_nt, rms_norm, swiglu } from "../nn.ts";
import type { FusedOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, last } from "./common.ts";

export interface LinearAttrs {
  /** Number of weights that share x. */
  readonly n: number;
  /** rms_norm of x first, with this eps. */
  readonly norm: { readonly eps: number } | undefined;
  /** For each weight, whether it has a bias. */
  readonly bias: readonly boolean[];
  readonly epilogue: "none" | "residual" | "swiglu";
  readonly int8: boolean;
}

const EPILOGUES = ["none", "residual", "swiglu"];

function parts(inputs: readonly Tensor[], a: LinearAttrs) {
  let at = 1;
  const norm = a.norm ? inputs[at++] : undefined;
  const weights = inputs.slice(at, (at += a.n));
  const biases = a.bias.map((has) => (has ? inputs[at++] : undefined));
  const residual = a.epilogue === "residual" ? inputs[at++] : undefined;
  dims(inputs.length, at, "the number of operands", "linear");
  return { x: inputs[0]!, norm, weights, biases, residual };
}

/** Optional rms_norm of x, then n products x wᵀ (+ bias), then a residual sum or swiglu of the two. See kernels/README.md. */
export const linear: FusedOp<LinearAttrs> = {
  kind: "fused",
  shape: (inputs, a) => {
    const { x, weights, residual } = parts(inputs, a);
    for (const w of weights)
      dims(last(w, "linear"), last(x, "linear"), `the width of ${w.name ?? "w"}`, "linear");
    const shapes = weights.map((w) => [x.shape[0]!, w.shape[0]!] as const);
    if (a.epilogue === "swiglu") {
      dims(a.n, 2, "the number of weights", "linear with swiglu");
      dims(
        weights[1]!.shape[0],
        weights[0]!.shape[0]!,
        "the height of the second weight",
        "linear with swiglu",
      );
      return [{ shape: shapes[0]! }];
    }
    if (residual) {
      dims(a.n, 1, "the number of weights", "linear with a residual");
      if (residual.shape.join() !== shapes[0]!.join())
        throw new TypeError(
          `Cannot apply linear: the residual is [${residual.shape}], wanted [${shapes[0]}]`,
        );
    }
    return shapes.map((shape) => ({ shape }));
  },
  encode: (a) => ({
    ints: [
      a.n,
      a.norm ? 1 : 0,
      a.bias.reduce((m, has, j) => m | (has ? 1 << j : 0), 0),
      EPILOGUES.indexOf(a.epilogue),
      a.int8 ? 1 : 0,
    ],
    floats: [a.norm?.eps ?? 0],
  }),
  compose: (inputs, a) => {
    const { x, norm, weights, biases, residual } = parts(inputs, a);
    const h = norm ? rms_norm(x, norm, a.norm!.eps) : x;
    const ys = weights.map((w, j) => {
      const y = matmul_nt(h, w, { int8: a.int8 });
      return biases[j] ? add(y, biases[j]) : y;
    });
    if (residual) return [add(residual, ys[0]!)];
    if (a.epilogue === "swiglu") return [swiglu(ys[0]!, ys[1]!)];
    return ys;
  },
};
