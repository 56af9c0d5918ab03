/** Rows with two operands. b may have a's shape (broadcast 0), be a row [cols] (1), or a column [.., 1] (2). */
import { div as divBy, mul as mulBy, neg, step, sub as subFrom, sum_last, sum_rows } from "../nn.ts";
import type { CoreOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { cols, f32, last, sameShape, withLast } from "./common.ts";

type None = Record<never, never>;

/** How b meets a. */
export function broadcast(a: Tensor, b: Tensor, op: string): 0 | 1 | 2 {
  if (sameShape(a.shape, b.shape)) return 0;
  if (b.shape.length === 1 && b.shape[0] === last(a, op)) return 1;
  if (sameShape(b.shape, withLast(a, 1))) return 2;
  throw new TypeError(
    `Cannot apply ${op}: shapes are [${a.shape}] and [${b.shape}], wanted equal, or a row [${last(a, op)}] or a column [${withLast(a, 1)}] second`,
  );
}

/** Sums a gradient of a's shape down to b's. */
function reduce(dy: Tensor, mode: 0 | 1 | 2): Tensor {
  return mode === 0 ? dy : mode === 1 ? sum_rows(dy) : sum_last(dy);
}

function binary(
  op: string,
  f: (a: number, b: number) => number,
  gradient: (a: Tensor, b: Tensor, y: Tensor, dy: Tensor) => [Tensor, Tensor],
): CoreOp<None> {
  return {
    kind: "core",
    shape: ([a, b]) => {
      broadcast(f32(a!, op), f32(b!, op), op);
      return [{ shape: a!.shape }];
    },
    encode: (_attrs, [a, b]) => ({ ints: [broadcast(a!, b!, op)] }),
    reference: ([a, b], [y]) => {
      const n = cols(a!);
      const full = b!.data.length === a!.data.length;
      const row =
        !full &&
        b!.shape.length === 1 &&
        b!.shape[0] === n &&
        !(b!.shape[0] === 1 && a!.shape.length > 1 && n !== 1);
      for (let i = 0; i < y!.data.length; i++)
        y!.data[i] = f(a!.data[i]!, b!.data[full ? i : row ? i % n : Math.floor(i / n)]!);
    },
    gradient: (node, [dy]) => {
      if (!dy) return [undefined, undefined];
      const [a, b] = node.inputs as [Tensor, Tensor];
      const [da, db] = gradient(a, b, node.outputs[0]!, dy);
      return [da, reduce(db, broadcast(a, b, op))];
    },
  };
}

/** a + b */
export const add = binary(
  "add",
  (a, b) => a + b,
  (_a, _b, _y, dy) => [dy, dy],
);
/** a - b */
export const sub = binary(
  "sub",
  (a, b) => a - b,
  (_a, _b, _y, dy) => [dy, neg(dy)],
);
/** a · b */
export const mul = binary(
  "mul",
  (a, b) => a * b,
  (a, b, _y, dy) => [mulBy(dy, b), mulBy(dy, a)],
);
/** a / b; db = -dy · y / b */
export const div = binary(
  "div",
  (a, b) => a / b,
  (_a, b, y, dy) => [divBy(dy, b), neg(divBy(mulBy(dy, y), b))],
);
/** max(a, b); the gradient goes to the larger one, and to b when they are equal */
export const maximum = binary("maximum", Math.max, (a, b, _y, dy) => {
  const first = step(subFrom(a, b));
  const da = mulBy(dy, first);
  return [da, subFrom(dy, da)];
});
