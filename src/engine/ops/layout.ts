/** Rows that move values and compute nothing: reshape, columns, rows by id. */
import {
  gather_rows as gather,
  pad_last as pad,
  pick_last as pick,
  place_last as place,
  reshape as reshaped,
  scatter_add_rows as scatter,
  slice_last as slice,
} from "../nn.ts";
import type { CoreOp } from "../op.ts";
import { type Dim, elements, type Shape, symbol, type Tensor } from "../tensor.ts";
import { cols, dims, f32, ids, last, rank, withLast } from "./common.ts";

type None = Record<never, never>;

/** The same values under another shape. No kernel: the plan gives both the same memory. */
export const reshape: CoreOp<{ shape: Shape }> = {
  kind: "core",
  shape: ([x], { shape }) => {
    if (symbol(x!.shape) !== symbol(shape) || elements(x!.shape) !== elements(shape))
      throw new TypeError(
        `Cannot reshape [${x!.shape}] to [${shape}]: ${elements(x!.shape)} elements, wanted ${elements(shape)}`,
      );
    return [{ shape, dtype: x!.dtype }];
  },
  reference: ([x], [y]) => y!.data.set(x!.data),
  gradient: (node, [dy]) => [dy && reshaped(dy, node.inputs[0]!.shape)],
};

/** y = x[.., start : start + length] */
export const slice_last: CoreOp<{ start: number; length: number }> = {
  kind: "core",
  shape: ([x], { start, length }) => {
    const n = last(f32(x!, "slice_last"), "slice_last");
    if (start < 0 || length < 0 || start + length > n)
      throw new RangeError(`Cannot slice columns ${start}..${start + length}: there are ${n}`);
    return [{ shape: withLast(x!, length) }];
  },
  encode: ({ start }) => ({ ints: [start] }),
  reference: ([x], [y], { start, length }) => {
    const n = cols(x!);
    for (let i = 0; i < y!.data.length; i++)
      y!.data[i] = x!.data[Math.floor(i / length) * n + start + (i % length)]!;
  },
  gradient: (node, [dy]) => [dy && pad(dy, node.attrs.start, last(node.inputs[0]!, "slice_last"))],
};

/** A row of n zeros with x at column start */
export const pad_last: CoreOp<{ start: number; n: number }> = {
  kind: "core",
  shape: ([x], { start, n }) => {
    const length = last(f32(x!, "pad_last"), "pad_last");
    if (start < 0 || start + length > n)
      throw new RangeError(`Cannot place columns ${start}..${start + length}: there are ${n}`);
    return [{ shape: withLast(x!, n) }];
  },
  encode: ({ start }) => ({ ints: [start] }),
  reference: ([x], [y], { start, n }) => {
    const length = cols(x!);
    y!.data.fill(0);
    for (let i = 0; i < x!.data.length; i++)
      y!.data[Math.floor(i / length) * n + start + (i % length)] = x!.data[i]!;
  },
  gradient: (node, [dy]) => [dy && slice(dy, node.attrs.start, last(node.inputs[0]!, "pad_last"))],
};

/** Columns of all operands side by side */
export const concat_last: CoreOp<None> = {
  kind: "core",
  shape: (inputs) => {
    const total = inputs.reduce((n, x) => n + last(f32(x, "concat_last"), "concat_last"), 0);
    const shape = withLast(inputs[0]!, total);
    for (const x of inputs)
      if (withLast(x, total).join() !== shape.join())
        throw new TypeError(
          `Cannot apply concat_last: shapes are [${inputs[0]!.shape}] and [${x.shape}], wanted equal but for the last dimension`,
        );
    return [{ shape }];
  },
  reference: (inputs, [y]) => {
    const n = cols(y!);
    let start = 0;
    for (const x of inputs) {
      const length = cols(x);
      for (let i = 0; i < x.data.length; i++)
        y!.data[Math.floor(i / length) * n + start + (i % length)] = x.data[i]!;
      start += length;
    }
  },
  gradient: (node, [dy]) => {
    let start = 0;
    return node.inputs.map((x) => {
      const length = last(x, "concat_last");
      start += length;
      return dy && slice(dy, start - length, length);
    });
  },
};

/** y[t] = table[ids[t]]. Ids must be rows of the table: the caller checks them. */
export const gather_rows: CoreOp<None> = {
  kind: "core",
  shape: ([table, index]) => {
    rank(f32(table!, "gather_rows"), 2, "gather_rows");
    rank(ids(index!, "gather_rows"), 1, "gather_rows");
    return [{ shape: [index!.shape[0]!, last(table!, "gather_rows")] }];
  },
  reference: ([table, index], [y]) => {
    const n = cols(table!);
    for (let t = 0; t < index!.data.length; t++) {
      const row = index!.data[t]!;
      if (row < 0 || row >= table!.shape[0]!)
        throw new RangeError(`Cannot gather row ${row}: the table has ${table!.shape[0]}`);
      for (let j = 0; j < n; j++) y!.data[t * n + j] = table!.data[row * n + j]!;
    }
  },
  gradient: (node, [dy]) => [dy && scatter(dy, node.inputs[1]!, node.inputs[0]!.shape[0]!), undefined],
};

/** y = 0; y[ids[t]] += x[t], in order of t */
export const scatter_add_rows: CoreOp<{ rows: Dim }> = {
  kind: "core",
  shape: ([x, index], { rows }) => {
    rank(f32(x!, "scatter_add_rows"), 2, "scatter_add_rows");
    dims(ids(index!, "scatter_add_rows").shape[0], x!.shape[0]!, "the number of ids", "scatter_add_rows");
    return [{ shape: [rows, last(x!, "scatter_add_rows")] }];
  },
  reference: ([x, index], [y]) => {
    const n = cols(x!);
    y!.data.fill(0);
    for (let t = 0; t < index!.data.length; t++)
      for (let j = 0; j < n; j++) y!.data[index!.data[t]! * n + j]! += x!.data[t * n + j]!;
  },
  gradient: (node, [dy]) => [dy && gather(dy, node.inputs[1]!), undefined],
};

function checkPick(x: Tensor, index: Tensor, op: string): void {
  rank(f32(x, op), 2, op);
  dims(ids(index, op).shape[0], x.shape[0]!, "the number of ids", op);
}

/** y[r, 0] = x[r, ids[r]]; 0 where ids[r] < 0 */
export const pick_last: CoreOp<None> = {
  kind: "core",
  shape: ([x, index]) => {
    checkPick(x!, index!, "pick_last");
    return [{ shape: withLast(x!, 1) }];
  },
  reference: ([x, index], [y]) => {
    for (let r = 0; r < index!.data.length; r++)
      y!.data[r] = index!.data[r]! < 0 ? 0 : x!.data[r * cols(x!) + index!.data[r]!]!;
  },
  gradient: (node, [dy]) => [dy && place(dy, node.inputs[1]!, last(node.inputs[0]!, "pick_last")), undefined],
};

/** y = 0; y[r, ids[r]] = x[r, 0] where ids[r] >= 0 */
export const place_last: CoreOp<{ n: number }> = {
  kind: "core",
  shape: ([x, index], { n }) => {
    checkPick(x!, index!, "place_last");
    return [{ shape: withLast(x!, n) }];
  },
  reference: ([x, index], [y], { n }) => {
    y!.data.fill(0);
    for (let r = 0; r < index!.data.length; r++)
      if (index!.data[r]! >= 0) y!.data[r * n + index!.data[r]!] = x!.data[r]!;
  },
  gradient: (node, [dy]) => [dy && pick(dy, node.inputs[1]!), undefined],
};
