/** Elementwise rows with one operand: y_i = f(x_i). Gradients use only other rows of the table. */
import {
  add,
  div,
  erf as erfOf,
  exp as expOf,
  geglu_grad,
  mul,
  neg as negOf,
  scale as scaleBy,
  shift as shiftBy,
  sigmoid as sigmoidOf,
  step as stepOf,
  sub,
  swiglu_grad,
  tanh as tanhOf,
} from "../nn.ts";
import type { CoreOp } from "../op.ts";
import type { Node, Tensor } from "../tensor.ts";
import { f32, same } from "./common.ts";

type None = Record<never, never>;

function unary(
  f: (x: number) => number,
  gradient: (x: Tensor, y: Tensor, dy: Tensor) => Tensor | undefined,
): CoreOp<None> {
  return {
    kind: "core",
    shape: ([x]) => [{ shape: f32(x!, "elementwise").shape }],
    reference: ([x], [y]) => {
      for (let i = 0; i < y!.data.length; i++) y!.data[i] = f(x!.data[i]!);
    },
    gradient: (node, [dy]) => [dy && gradient(node.inputs[0]!, node.outputs[0]!, dy)],
  };
}

/** -x */
export const neg = unary(
  (x) => -x,
  (_x, _y, dy) => negOf(dy),
);
/** e^x; dx = dy · y */
export const exp = unary(Math.exp, (_x, y, dy) => mul(dy, y));
/** ln x; dx = dy / x */
export const log = unary(Math.log, (x, _y, dy) => div(dy, x));
/** √x; dx = dy / (2y) */
export const sqrt = unary(Math.sqrt, (_x, y, dy) => scaleBy(div(dy, y), 0.5));
/** x^(-1/2); dx = -dy · y³ / 2 */
export const rsqrt = unary(
  (x) => 1 / Math.sqrt(x),
  (_x, y, dy) => scaleBy(mul(dy, mul(y, mul(y, y))), -0.5),
);
/** tanh x; dx = dy · (1 - y²) */
export const tanh = unary(Math.tanh, (_x, y, dy) => mul(dy, shiftBy(negOf(mul(y, y)), 1)));
/** 1 / (1 + e^-x); dx = dy · y · (1 - y) */
export const sigmoid = unary(
  (x) => 1 / (1 + Math.exp(-x)),
  (_x, y, dy) => mul(dy, mul(y, shiftBy(negOf(y), 1))),
);
/** |x|; dx = dy · sign x */
export const abs = unary(Math.abs, (x, _y, dy) => mul(dy, sub(stepOf(x), stepOf(negOf(x)))));
/** x > 0 ? 1 : 0; its gradient is zero where it exists */
export const step = unary(
  (x) => (x > 0 ? 1 : 0),
  () => undefined,
);

/** erf x = 2/√π ∫₀ˣ e^(-t²) dt; dx = dy · 2/√π e^(-x²). Source: Abramowitz and Stegun 7.1.6. */
export const erf = unary(erfOfNumber, (x, _y, dy) =>
  scaleBy(mul(dy, expOf(negOf(mul(x, x)))), 2 / Math.sqrt(Math.PI)),
);

/** The series 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (1·3·5···(2n+1)), whose terms have one sign: right to 1e-15. */
function erfOfNumber(x: number): number {
  if (!(Math.abs(x) < 6)) return Number.isNaN(x) ? x : Math.sign(x); // erfc(6) is 2e-17
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

export interface Constant {
  readonly c: number;
}

function constant(
  f: (x: number, c: number) => number,
  gradient: (dy: Tensor, c: number) => Tensor,
): CoreOp<Constant> {
  return {
    kind: "core",
    shape: ([x], { c }) => {
      if (Number.isNaN(c))
        throw new RangeError("Cannot scale or shift a tensor: the constant is NaN, wanted a number");
      return [{ shape: f32(x!, "scale or shift").shape }];
    },
    encode: ({ c }) => ({ floats: [c] }),
    reference: ([x], [y], { c }) => {
      for (let i = 0; i < y!.data.length; i++) y!.data[i] = f(x!.data[i]!, c);
    },
    gradient: (node, [dy]) => [dy && gradient(dy, node.attrs.c)],
  };
}

/** c · x */
export const scale = constant(
  (x, c) => c * x,
  (dy, c) => scaleBy(dy, c),
);
/** x + c */
export const shift = constant(
  (x, c) => x + c,
  (dy) => dy,
);

/** silu(x) = x · sigmoid(x) */
export const silu = {
  kind: "fused" as const,
  shape: ([x]: readonly Tensor[]) => [{ shape: f32(x!, "silu").shape }],
  compose: ([x]: readonly Tensor[]) => [mul(x!, sigmoidOf(x!))],
};

/** gelu(x), tanh form: x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))). Source: Hendrycks and Gimpel, arXiv 1606.08415. */
export const gelu = {
  kind: "fused" as const,
  shape: ([x]: readonly Tensor[]) => [{ shape: f32(x!, "gelu").shape }],
  compose: ([x]: readonly Tensor[]) => {
    const cube = mul(x!, mul(x!, x!));
    const inner = scaleBy(add(x!, scaleBy(cube, 0.044715)), Math.sqrt(2 / Math.PI));
    return [mul(scaleBy(x!, 0.5), shiftBy(tanhOf(inner), 1))];
  },
};

/** gelu with the error function: x/2 · (1 + erf(x / √2)). Source: Hendrycks and Gimpel, arXiv 1606.08415. */
export const gelu_erf = {
  kind: "fused" as const,
  shape: ([x]: readonly Tensor[]) => [{ shape: f32(x!, "gelu_erf").shape }],
  compose: ([x]: readonly Tensor[]) => [mul(scaleBy(x!, 0.5), shiftBy(erfOf(scaleBy(x!, Math.SQRT1_2)), 1))],
};

/** geglu(gate, up) = gelu(gate) · up, with gelu's tanh form. Source: Shazeer, arXiv 2002.05202. */
export const geglu = {
  kind: "fused" as const,
  shape: ([gate, up]: readonly Tensor[]) => {
    same(gate!, up!, "geglu");
    return [{ shape: gate!.shape }];
  },
  compose: ([gate, up]: readonly Tensor[]) => [mul(gelu.compose([gate!])[0]!, up!)],
  gradient: (node: Node, [dy]: readonly (Tensor | undefined)[]) =>
    dy ? geglu_grad(node.inputs[0]!, node.inputs[1]!, dy) : [undefined, undefined],
};

/** swiglu(gate, up) = silu(gate) · up. Source: Shazeer, arXiv 2002.05202. */
export const swiglu = {
  kind: "fused" as const,
  shape: ([gate, up]: readonly Tensor[]) => {
    same(gate!, up!, "swiglu");
    return [{ shape: gate!.shape }];
  },
  compose: ([gate, up]: readonly Tensor[]) => [mul(mul(gate!, sigmoidOf(gate!)), up!)],
  gradient: (node: Node, [dy]: readonly (Tensor | undefined)[]) =>
    dy ? swiglu_grad(node.inputs[0]!, node.inputs[1]!, dy) : [undefined, undefined],
};
