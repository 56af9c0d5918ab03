/** The fused linear row: what a decoder does between two barriers. */
import {
  add,
  geglu,
  gelu,
  gelu_erf,
  layer_norm,
  lora,
  matmul_nt,
  rms_norm,
  scale,
  slice_last,
  swiglu,
} from "../nn.ts";
import type { FusedOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, last } from "./common.ts";
import { checkAdapters } from "./lora.ts";

export interface LinearAttrs {
  /** Number of weights that share x. */
  readonly n: number;
  /** rms_norm of x first, with this eps, or with `layer` layer_norm (weight and bias). */
  readonly norm: { readonly eps: number; readonly layer?: boolean } | undefined;
  /** For each weight, whether it has a bias. */
  readonly bias: readonly boolean[];
  readonly epilogue: (typeof EPILOGUES)[number];
  readonly int8: boolean;
  /** Factor of the product before a residual is added; absent: 1. */
  readonly scale?: number;
  /** Of each weight the rows that are used (of its bias and adapter too), from a multiple of 16; absent: all. */
  readonly ranges?: readonly WeightRows[];
  /** What `lora` does to each product before its bias: the linear's index in the table, -1 for none. */
  readonly adapters?: { readonly linears: readonly number[]; readonly rows: boolean };
}

export interface WeightRows {
  readonly start: number;
  readonly length: number;
}

/** By number in the kernel. Of two products: swiglu, geglu. Of one: residual, gelu, gelu_erf. */
const EPILOGUES = ["none", "residual", "swiglu", "geglu", "gelu", "gelu_erf"] as const;
const GATES = { swiglu, geglu };
const ACTIVATIONS = { gelu, gelu_erf };

function parts(inputs: readonly Tensor[], a: LinearAttrs) {
  let at = 1;
  const norm = a.norm ? inputs[at++] : undefined;
  const shift = a.norm?.layer ? inputs[at++] : undefined;
  const weights = inputs.slice(at, (at += a.n));
  const biases = a.bias.map((has) => (has ? inputs[at++] : undefined));
  const residual = a.epilogue === "residual" ? inputs[at++] : undefined;
  const tables = a.adapters ? inputs.slice(at, (at += a.adapters.rows ? 3 : 2)) : undefined;
  dims(inputs.length, at, "the number of operands", "linear");
  return { x: inputs[0]!, norm, shift, weights, biases, residual, tables };
}

/** Optional norm of x, then n products x wᵀ (+ bias), then what the epilogue makes of them. See kernels/README.md. */
export const linear: FusedOp<LinearAttrs> = {
  kind: "fused",
  shape: (inputs, a) => {
    const { x, weights, residual, tables } = parts(inputs, a);
    if (tables) checkAdapters(tables, x.shape[0], "linear");
    for (const w of weights)
      dims(last(w, "linear"), last(x, "linear"), `the width of ${w.name ?? "w"}`, "linear");
    const outs = weights.map((w, j) => {
      const height = w.shape[0] as number;
      const { start, length } = a.ranges?.[j] ?? { start: 0, length: height };
      if (start % 16 !== 0 || start + length > height)
        throw new RangeError(
          `Cannot apply linear: rows ${start} to ${start + length} of ${height}, wanted a multiple of 16 first`,
        );
      return length;
    });
    const shapes = outs.map((N) => [x.shape[0]!, N] as const);
    if (a.epilogue in GATES) {
      dims(a.n, 2, "the number of weights", `linear with ${a.epilogue}`);
      dims(outs[1], outs[0]!, "the height of the second weight", `linear with ${a.epilogue}`);
      return [{ shape: shapes[0]! }];
    }
    if (a.epilogue in ACTIVATIONS) dims(a.n, 1, "the number of weights", `linear with ${a.epilogue}`);
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
      a.norm ? (a.norm.layer ? 2 : 1) : 0,
      a.bias.reduce((m, has, j) => m | (has ? 1 << j : 0), 0),
      EPILOGUES.indexOf(a.epilogue),
      a.int8 ? 1 : 0,
      ...(a.adapters ? [a.adapters.rows ? 2 : 1, ...a.adapters.linears] : [0]),
      ...(a.ranges?.flatMap(({ start, length }) => [start, length]) ?? []),
    ],
    floats: [a.norm?.eps ?? 0, a.scale ?? 1],
  }),
  compose: (inputs, a) => {
    const { x, norm, shift, weights, biases, residual, tables } = parts(inputs, a);
    const { eps } = a.norm ?? { eps: 0 };
    const h = shift ? layer_norm(x, norm!, shift, eps) : norm ? rms_norm(x, norm, eps) : x;
    const ys = weights.map((w, j) => {
      let y = matmul_nt(h, w, { int8: a.int8 });
      const linear = a.adapters?.linears[j] ?? -1;
      if (linear >= 0) {
        const [adapters, segments, rows] = tables!;
        y = lora(y, h, adapters!, segments!, { linear, int8: a.int8, ...(rows && { rows }) });
      }
      if (biases[j]) y = add(y, biases[j]);
      const range = a.ranges?.[j];
      return range ? slice_last(y, range.start, range.length) : y;
    });
    if (residual) return [add(residual, a.scale === undefined ? ys[0]! : scale(ys[0]!, a.scale))];
    if (a.epilogue === "swiglu" || a.epilogue === "geglu") return [GATES[a.epilogue](ys[0]!, ys[1]!)];
    if (a.epilogue === "gelu" || a.epilogue === "gelu_erf") return [ACTIVATIONS[a.epilogue](ys[0]!)];
    return ys;
  },
};
