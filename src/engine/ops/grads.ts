/**
 * Rows that only gradients use: what would be many passes over memory as one. Second derivatives of them are not needed.
 */
import type { CoreOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { cols, dims, f32, last, rank, same } from "./common.ts";

/** 1 / √(mean x² + eps) of row r. */
function inverseRoot(x: Value, r: number, eps: number): number {
  const n = cols(x);
  let sum = 0;
  for (let j = 0; j < n; j++) sum += x.data[r * n + j]! ** 2;
  return 1 / Math.sqrt(sum / n + eps);
}

/**
 * Gradient of rms_norm by x: with s = 1 / √(mean x² + eps), dx = s · (w · dy - x · s² · mean(w · dy · x)).
 * x, w [n], dy -> dx
 */
export const rms_norm_grad: CoreOp<{ eps: number }> = {
  kind: "core",
  shape: ([x, w, dy]) => {
    dims(
      rank(f32(w!, "rms_norm_grad"), 1, "rms_norm_grad")[0],
      last(x!, "rms_norm_grad"),
      "the length of the weight",
      "rms_norm_grad",
    );
    same(x!, dy!, "rms_norm_grad");
    return [{ shape: x!.shape }];
  },
  encode: ({ eps }) => ({ floats: [eps] }),
  reference: ([x, w, dy], [dx], { eps }) => {
    const n = cols(x!);
    for (let r = 0; r < x!.data.length / n; r++) {
      const s = inverseRoot(x!, r, eps);
      let mean = 0;
      for (let j = 0; j < n; j++) mean += (w!.data[j]! * dy!.data[r * n + j]! * x!.data[r * n + j]!) / n;
      for (let j = 0; j < n; j++)
        dx!.data[r * n + j] = s * (w!.data[j]! * dy!.data[r * n + j]! - x!.data[r * n + j]! * s * s * mean);
    }
  },
  gradient: null,
};

/** Gradient of rms_norm by its weight: dw = Σ over rows dy · x / √(mean x² + eps). x, dy -> dw [n] */
export const rms_norm_weight_grad: CoreOp<{ eps: number }> = {
  kind: "core",
  shape: ([x, dy]) => {
    same(x!, dy!, "rms_norm_weight_grad");
    return [{ shape: [last(f32(x!, "rms_norm_weight_grad"), "rms_norm_weight_grad")] }];
  },
  encode: ({ eps }) => ({ floats: [eps] }),
  reference: ([x, dy], [dw], { eps }) => {
    const n = cols(x!);
    dw!.data.fill(0);
    for (let r = 0; r < x!.data.length / n; r++) {
      const s = inverseRoot(x!, r, eps);
      for (let j = 0; j < n; j++) dw!.data[j]! += dy!.data[r * n + j]! * x!.data[r * n + j]! * s;
    }
  },
  gradient: null,
};

/** Gradients of act(gate) · up, given act and its derivative. */
function gated(op: string, act: (x: number) => number, slope: (x: number) => number): CoreOp {
  return {
    kind: "core",
    shape: ([gate, up, dy]: readonly Tensor[]) => {
      same(f32(gate!, op), up!, op);
      same(gate!, dy!, op);
      return [{ shape: gate!.shape }, { shape: gate!.shape }];
    },
    reference: ([gate, up, dy], [dgate, dup]) => {
      for (let i = 0; i < dy!.data.length; i++) {
        dgate!.data[i] = dy!.data[i]! * up!.data[i]! * slope(gate!.data[i]!);
        dup!.data[i] = dy!.data[i]! * act(gate!.data[i]!);
      }
    },
    gradient: null,
  };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** gate, up, dy -> dgate, dup of swiglu: σ = sigmoid(gate), dgate = dy · up · σ · (1 + gate · (1 - σ)), dup = dy · gate · σ */
export const swiglu_grad = gated(
  "swiglu_grad",
  (x) => x * sigmoid(x),
  (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
);

/** 2 √(2/π) and the factor of the cube: gelu(x) = x · sigmoid(GELU · (x + CUBE · x³)). */
const [GELU, CUBE] = [2 * Math.sqrt(2 / Math.PI), 0.044715];

/** gate, up, dy -> dgate, dup of geglu */
export const geglu_grad = gated(
  "geglu_grad",
  (x) => x * sigmoid(GELU * (x + CUBE * x ** 3)),
  (x) => {
    const s = sigmoid(GELU * (x + CUBE * x ** 3));
    return s + x * s * (1 - s) * GELU * (1 + 3 * CUBE * x * x);
  },
);
