/** Checks that the rows of the op table share. Shapes are symbolic: see tensor.ts. */
import type { Value } from "../op.ts";
import type { Dim, Shape, Tensor } from "../tensor.ts";

export function f32(x: Tensor, op: string): Tensor {
  if (x.dtype !== "f32") throw new TypeError(`Cannot apply ${op}: the operand is ${x.dtype}, wanted f32`);
  return x;
}

export function ids(x: Tensor, op: string): Tensor {
  if (x.dtype !== "i32") throw new TypeError(`Cannot apply ${op}: the ids are ${x.dtype}, wanted i32`);
  return x;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

export function same(a: Tensor, b: Tensor, op: string): void {
  if (!sameShape(a.shape, b.shape))
    throw new TypeError(`Cannot apply ${op}: shapes are [${a.shape}] and [${b.shape}], wanted equal`);
}

/** The last dimension, which is always a number. */
export function last(x: Tensor, op: string): number {
  const d = x.shape.at(-1);
  if (typeof d !== "number")
    throw new TypeError(`Cannot apply ${op}: the last dimension of [${x.shape}] is not a number`);
  return d;
}

/** x's shape with another last dimension. */
export function withLast(x: Tensor, d: number): Shape {
  return [...x.shape.slice(0, -1), d];
}

export function rank(x: Tensor, n: number, op: string): Shape {
  if (x.shape.length !== n)
    throw new TypeError(`Cannot apply ${op}: an operand has shape [${x.shape}], wanted ${n} dimensions`);
  return x.shape;
}

export function dims(found: Dim | undefined, wanted: Dim, what: string, op: string): void {
  if (found !== wanted) throw new TypeError(`Cannot apply ${op}: ${what} is ${found}, wanted ${wanted}`);
}

export function shaped(x: Tensor, wanted: Shape, what: string, op: string): void {
  if (!sameShape(x.shape, wanted))
    throw new TypeError(`Cannot apply ${op}: ${what} has shape [${x.shape}], wanted [${wanted}]`);
}

/** Columns of a concrete value (its last dimension). */
export function cols(v: Value): number {
  return v.shape.at(-1) ?? 1;
}
