/**
 * Layers that keep a state of fixed size for each sequence instead of keys and values: short causal convolutions.
 * In training and wherever a step holds whole sequences the state is zero before a segment's first token. In generation
 * it lies in `state` [slots, n], a row for each of several sequences; row s of `slots` [S, 2] says from which row segment
 * s reads (negative: zeros) and to which it writes what it ends with. A row that is read by one segment may not be
 * written by another.
 */
import { causal_conv_grad as backward, causal_conv as convolve, mul } from "../nn.ts";
import type { CoreOp, FusedOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, ids, last, rank, same } from "./common.ts";

export interface StateAttrs {
  /** First column of `state` that belongs to this layer. */
  readonly offset: number;
}

/** Longest kernel of a convolution: what C++ holds of a channel in registers. */
const MAX_KERNEL = 8;

/** Checks segments and, where they are given, the two operands of the state, of which this layer takes `size` columns. */
export function checkState(
  [segments, state, slots, ...more]: readonly Tensor[],
  { offset }: StateAttrs,
  size: number,
  op: string,
): void {
  dims(rank(ids(segments!, op), 2, op)[1], 4, "the width of the segment table", op);
  dims(more.length, 0, "the number of further operands", op);
  if (!state) return;
  if (state.kind !== "state" || !slots)
    throw new TypeError(`Cannot apply ${op}: the state is ${state.kind}, wanted a state and its slots`);
  dims(rank(ids(slots, op), 2, op)[1], 2, "the width of the table of slots", op);
  const columns = last(state, op);
  if (!(Number.isInteger(offset) && offset >= 0 && offset + size <= columns))
    throw new RangeError(
      `Cannot apply ${op}: columns ${offset} to ${offset + size} of a state, but it has ${columns}`,
    );
}

/**
 * Calls `visit` for every segment with its tokens, and with its state's columns: a copy of those that it reads, which are
 * written to its other row afterwards.
 */
export function eachSegment(
  [segments, state, slots]: readonly Value[],
  { offset }: StateAttrs,
  size: number,
  visit: (start: number, length: number, state: Float64Array) => void,
): void {
  const columns = state?.shape[1] ?? 0;
  const held = state?.data as Float64Array;
  // All are read before any is written.
  const read = Array.from({ length: segments!.shape[0]! }, (_, s) => {
    const from = slots ? slots.data[s * 2]! : -1;
    const at = from * columns + offset;
    return from < 0 ? new Float64Array(size) : held.slice(at, at + size);
  });
  for (const [s, own] of read.entries()) {
    visit(segments!.data[s * 4]!, segments!.data[s * 4 + 1]!, own);
    if (slots) held.set(own, slots.data[s * 2 + 1]! * columns + offset);
  }
}

function kernelOf(x: Tensor, w: Tensor, op: string): [channels: number, kernel: number] {
  const [, C] = rank(f32(x, op), 2, op);
  const [wc, K] = rank(f32(w, op), 2, op) as [number, number];
  dims(wc, C!, "the number of channels of the kernel", op);
  if (K < 2 || K > MAX_KERNEL)
    throw new RangeError(`Cannot apply ${op}: a kernel of ${K} tokens, wanted 2 to ${MAX_KERNEL}`);
  return [wc, K];
}

/**
 * y[t, c] = Σ_j w[c, j] x[t - (K - 1) + j, c] over the segment, and before it what the state holds.
 * x [T, C], w [C, K], segments [S, 4], (state, slots [S, 2]) -> y [T, C]. The state's columns are the last K - 1 rows of x.
 */
export const causal_conv: CoreOp<StateAttrs> = {
  kind: "core",
  writes: [3],
  shape: ([x, w, ...rest], attrs) => {
    const [C, K] = kernelOf(x!, w!, "causal_conv");
    checkState(rest, attrs, (K - 1) * C, "causal_conv");
    return [{ shape: x!.shape }];
  },
  encode: ({ offset }) => ({ ints: [offset] }),
  reference: ([x, w, ...rest], [y], attrs) => {
    const [C, K] = w!.shape as [number, number];
    eachSegment(rest, attrs, (K - 1) * C, (start, length, state) => {
      const before = state.slice();
      // Row t of the segment; negative: of the state.
      const at = (t: number, c: number) =>
        t < 0 ? before[(K - 1 + t) * C + c]! : x!.data[(start + t) * C + c]!;
      for (let t = 0; t < length; t++)
        for (let c = 0; c < C; c++) {
          let sum = 0;
          for (let j = 0; j < K; j++) sum += w!.data[c * K + j]! * at(t - (K - 1) + j, c);
          y!.data[(start + t) * C + c] = sum;
        }
      for (let j = 0; j < K - 1; j++)
        for (let c = 0; c < C; c++) state[j * C + c] = at(length - (K - 1) + j, c);
    });
  },
  gradient: (node, [dy]) => {
    const [x, w, segments, state] = node.inputs as [Tensor, Tensor, Tensor, Tensor | undefined];
    if (state) throw new TypeError("Cannot differentiate causal_conv: it keeps a state, wanted none");
    return dy ? [...backward(dy, x, w, segments), undefined] : [];
  },
};

/**
 * Gradients of causal_conv without a state: dx[t, c] = Σ_j w[c, j] dy[t + K - 1 - j, c] and
 * dw[c, j] = Σ_t dy[t, c] x[t - (K - 1) + j, c], within each segment.
 * dy, x [T, C], w [C, K], segments [S, 4] -> dx [T, C], dw [C, K]
 */
export const causal_conv_grad: CoreOp = {
  kind: "core",
  shape: ([dy, x, w, ...rest]) => {
    kernelOf(x!, w!, "causal_conv_grad");
    same(dy!, x!, "causal_conv_grad");
    checkState(rest, { offset: 0 }, 0, "causal_conv_grad");
    return [{ shape: x!.shape }, { shape: w!.shape }];
  },
  reference: ([dy, x, w, segments], [dx, dw]) => {
    const [C, K] = w!.shape as [number, number];
    dx!.data.fill(0);
    dw!.data.fill(0);
    eachSegment([segments!], { offset: 0 }, 0, (start, length) => {
      for (let t = 0; t < length; t++)
        for (let j = 0; j < K; j++) {
          const u = t - (K - 1) + j;
          if (u < 0) continue;
          for (let c = 0; c < C; c++) {
            const d = dy!.data[(start + t) * C + c]!;
            dx!.data[(start + u) * C + c]! += w!.data[c * K + j]! * d;
            dw!.data[c * K + j]! += d * x!.data[(start + u) * C + c]!;
          }
        }
    });
  },
  gradient: null, // second derivatives are not needed
};

/**
 * The gated short convolution of LFM2: c · causal_conv(b · x). b, c, x [T, C], w [C, K], segments, (state, slots) ->
 * [T, C]. Source: transformers, `models/lfm2/modeling_lfm2.py`.
 */
export const short_conv: FusedOp<StateAttrs> = {
  kind: "fused",
  writes: [5],
  shape: ([b, c, x, w, ...rest], attrs) => {
    const [C, K] = kernelOf(x!, w!, "short_conv");
    same(b!, x!, "short_conv");
    same(c!, x!, "short_conv");
    checkState(rest, attrs, (K - 1) * C, "short_conv");
    return [{ shape: x!.shape }];
  },
  encode: ({ offset }) => ({ ints: [offset] }),
  compose: ([b, c, x, w, segments, state, slots], { offset }) => [
    mul(c!, convolve(mul(b!, x!), w!, segments!, state && { state, slots: slots!, offset })),
  ],
};
