/** Dropout: which elements are kept follows from a seed and the element's place alone, so nothing is stored for backward. */
import { dropout as drop } from "../nn.ts";
import type { CoreOp } from "../op.ts";
import { f32, ids } from "./common.ts";

export interface DropoutAttrs {
  /** Chance of an element to become 0: from 0 to below 1. */
  readonly p: number;
  /** Tells the masks of one seed apart: a whole number from 0. */
  readonly number: number;
}

/** Wellons' lowbias32: every bit of the result depends on every bit of x. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

const threshold = (p: number) => Math.floor(p * 2 ** 32);

/** y_i = 0 where mix(i · 2654435761 + key) < p · 2^32, else x_i / (1 - p); x of any shape, seed i32 [1]. */
export const dropout: CoreOp<DropoutAttrs> = {
  kind: "core",
  shape: ([x, seed], { p, number }) => {
    ids(seed!, "dropout");
    if (!(p >= 0 && p < 1 && Number.isInteger(number) && number >= 0))
      throw new RangeError(
        `Cannot apply dropout ${number} with p ${p}: wanted a number from 0 and p from 0 to below 1`,
      );
    return [{ shape: f32(x!, "dropout").shape }];
  },
  encode: ({ p, number }) => ({ ints: [threshold(p) | 0, number], floats: [1 / (1 - p)] }),
  reference: ([x, seed], [y], { p, number }) => {
    const key = mix(seed!.data[0]! ^ Math.imul(number + 1, 0x9e3779b9));
    for (let i = 0; i < y!.data.length; i++)
      y!.data[i] = mix(Math.imul(i, 0x9e3779b1) + key) < threshold(p) ? 0 : x!.data[i]! / (1 - p);
  },
  gradient: (node, [dy]) => [dy && drop(dy, node.inputs[1]!, node.attrs), undefined],
};
