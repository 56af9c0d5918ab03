/**
 * Adapters: what a slot of the table changes of one linear, for the rows of segments that name the slot.
 */
import type { CoreOp, ReferenceAdapters, Value } from "../op.ts";
import type { Shape, Tensor } from "../tensor.ts";
import { dims, f32, ids, last, rank } from "./common.ts";
import { quantized, roundActivations } from "./matmul.ts";

export interface LoraAttrs {
  /** Index of the linear in the table. */
  readonly linear: number;
  /** Matrices that the backend holds in a quantized type take x rounded to int8, as matmul_nt does. */
  readonly int8: boolean;
}

/** The operands behind y and x, which `linear` has too: adapters, segments, (rows). */
export function checkAdapters(tables: readonly Tensor[], outer: Shape[0], op: string): void {
  const [adapters, segments, rows] = tables;
  if (adapters?.kind !== "state")
    throw new TypeError(`Cannot apply ${op}: adapters are ${adapters?.kind ?? "missing"}, wanted a state`);
  dims(rank(ids(segments!, op), 2, op)[1], 4, "the width of the segment table", op);
  if (rows) dims(rank(ids(rows, op), 1, op)[0], outer!, "the number of rows", op);
}

/**
 * y [T, N], x [T, K], adapters, segments [S, 4], and for R rows taken out of the step `rows` [R], their tokens -> y'.
 * With the change of the row's slot (segment column 3; -1: none, y' = y): y' = g (y + (x Aᵀ) Bᵀ), or x W'ᵀ.
 */
export const lora: CoreOp<LoraAttrs> = {
  kind: "core",
  shape: ([y, x, ...tables], { linear }) => {
    const [T] = rank(f32(y!, "lora"), 2, "lora");
    dims(rank(f32(x!, "lora"), 2, "lora")[0], T!, "the number of rows of x", "lora");
    checkAdapters(tables, T, "lora");
    if (!(Number.isInteger(linear) && linear >= 0))
      throw new RangeError(`Cannot apply lora: the linear is ${linear}, wanted its index in the table`);
    return [{ shape: y!.shape }];
  },
  encode: ({ int8, linear }, [y, x, , , rows]) => ({
    ints: [int8 ? 1 : 0, last(y!, "lora"), last(x!, "lora"), rows ? 2 : 1, linear],
  }),
  reference: ([y, x, table, segments, rows], [out], { linear, int8 }) => {
    const [T, N] = y!.shape as [number, number];
    const K = x!.shape[1]!;
    const adapters = table!.adapters!;
    const xs =
      int8 && quantized(adapters.linears[linear]!.type ?? "f32") ? roundActivations(x!.data, K) : x!.data;
    out!.data.set(y!.data);
    for (let t = 0; t < T; t++) {
      const slot = slotOf(segments!, rows ? rows.data[t]! : t);
      const change = slot < 0 ? undefined : adapters.slots[slot]?.get(linear);
      if (change)
        out!.data.set(
          changed(change, y!.data.subarray(t * N, t * N + N), xs.subarray(t * K, t * K + K)),
          t * N,
        );
    }
  },
  gradient: null, // generation only: training replaces parameters by expressions
};

function slotOf(segments: Value, token: number): number {
  for (let s = 0; s < segments.shape[0]!; s++) {
    const [start, length, , slot] = segments.data.subarray(s * 4);
    if (token >= start! && token < start! + length!) return slot!;
  }
  return -1;
}

/** One row: y [N], x [K]. */
function changed(
  change: Exclude<ReferenceAdapters["slots"][number], undefined> extends ReadonlyMap<number, infer C>
    ? C
    : never,
  y: ArrayLike<number>,
  x: ArrayLike<number>,
): Float64Array {
  const dot = (m: Float32Array, row: number, v: ArrayLike<number>) => {
    let sum = 0;
    for (let k = 0; k < v.length; k++) sum += v[k]! * m[row * v.length + k]!;
    return sum;
  };
  if ("replaced" in change) return Float64Array.from(y, (_, i) => dot(change.replaced, i, x));
  const h = Float64Array.from({ length: change.rank }, (_, i) => dot(change.a, i, x));
  return Float64Array.from(y, (v, i) => (v + dot(change.b, i, h)) * (change.magnitude?.[i] ?? 1));
}
