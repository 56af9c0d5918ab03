/** Reductions over the last dimension or over all rows, and their reverse, broadcasts. */
import {
  div,
  mul,
  neg,
  shift,
  step,
  sub,
  sum_last as sumLast,
  sum_rows as sumRows,
  broadcast_last as toLast,
  broadcast_rows as toRows,
} from "../nn.ts";
import type { CoreOp } from "../op.ts";
import type { Shape } from "../tensor.ts";
import { cols, dims, f32, last, rank, withLast } from "./common.ts";

type None = Record<never, never>;

/** y[.., 0] = Σ x[.., i] */
export const sum_last: CoreOp<None> = {
  kind: "core",
  shape: ([x]) => [{ shape: withLast(f32(x!, "sum_last"), 1) }],
  reference: ([x], [y]) => {
    const n = cols(x!);
    y!.data.fill(0);
    for (let i = 0; i < x!.data.length; i++) y!.data[Math.floor(i / n)]! += x!.data[i]!;
  },
  gradient: (node, [dy]) => [dy && toLast(dy, last(node.inputs[0]!, "sum_last"))],
};

/** y[.., 0] = max x[.., i]; equal maxima share the gradient */
export const max_last: CoreOp<None> = {
  kind: "core",
  shape: ([x]) => [{ shape: withLast(f32(x!, "max_last"), 1) }],
  reference: ([x], [y]) => {
    const n = cols(x!);
    y!.data.fill(-Infinity);
    for (let i = 0; i < x!.data.length; i++) {
      const r = Math.floor(i / n);
      y!.data[r] = Math.max(y!.data[r]!, x!.data[i]!);
    }
  },
  gradient: (node, [dy]) => {
    if (!dy) return [undefined];
    const x = node.inputs[0]!;
    const below = step(neg(sub(x, node.outputs[0]!))); // 1 where x < max
    const top = shift(neg(below), 1);
    return [mul(div(top, sumLast(top)), dy)];
  },
};

/** y[j] = Σ over all rows x[.., j] */
export const sum_rows: CoreOp<None> = {
  kind: "core",
  shape: ([x]) => [{ shape: [last(f32(x!, "sum_rows"), "sum_rows")] }],
  reference: ([x], [y]) => {
    const n = cols(x!);
    y!.data.fill(0);
    for (let i = 0; i < x!.data.length; i++) y!.data[i % n]! += x!.data[i]!;
  },
  gradient: (node, [dy]) => [dy && toRows(dy, node.inputs[0]!.shape)],
};

/** y[.., j] = x[.., 0] for j < n */
export const broadcast_last: CoreOp<{ n: number }> = {
  kind: "core",
  shape: ([x], { n }) => {
    dims(last(f32(x!, "broadcast_last"), "broadcast_last"), 1, "the last dimension", "broadcast_last");
    return [{ shape: withLast(x!, n) }];
  },
  reference: ([x], [y], { n }) => {
    for (let i = 0; i < y!.data.length; i++) y!.data[i] = x!.data[Math.floor(i / n)]!;
  },
  gradient: (_node, [dy]) => [dy && sumLast(dy)],
};

/** y[.., j] = x[j] for every row of `shape` */
export const broadcast_rows: CoreOp<{ shape: Shape }> = {
  kind: "core",
  shape: ([x], { shape }) => {
    rank(f32(x!, "broadcast_rows"), 1, "broadcast_rows");
    dims(x!.shape[0], shape.at(-1)!, "the last dimension", "broadcast_rows");
    return [{ shape }];
  },
  reference: ([x], [y]) => {
    const n = x!.data.length;
    for (let i = 0; i < y!.data.length; i++) y!.data[i] = x!.data[i % n]!;
  },
  gradient: (_node, [dy]) => [dy && sumRows(dy)],
};
