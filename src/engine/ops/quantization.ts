/**
 * Weights as an expression over codes and what scales them, so that scales, minima and codes can be trained. The grid of a
 * type is scale_groups of its codes; where the scales are integers times a float, they are scale_groups themselves.
 */

import { f16ToF32, f32ToF16, roundEven } from "../half.ts";
import { scale_groups_grad as groupsGrad } from "../nn.ts";
import type { CoreOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { cols, dims, f32, rank, same, shaped } from "./common.ts";

export interface ScaleGroupsAttrs {
  /** Columns that share a scale. */
  readonly group: number;
  /**
   * Codes are rounded to nearest (ties to even) within these two whole numbers, and the gradient goes straight through
   * (Bengio et al., arXiv 1308.3432), but for codes beyond an end that would go on outwards. Absent: codes are taken as they
   * are, and are constants.
   */
  readonly range?: readonly [low: number, high: number];
}

/** Columns of a row that fit in a thread's scratch. */
const MOST_COLS = 131072;

function check([codes, scale, min]: readonly Tensor[], { group, range }: ScaleGroupsAttrs, op: string): void {
  const [N, K] = rank(f32(codes!, op), 2, op);
  if (typeof K !== "number" || K > MOST_COLS || !(Number.isInteger(group) && group > 0) || K % group !== 0)
    throw new RangeError(
      `Cannot apply ${op}: rows have ${K} columns in groups of ${group}, wanted whole groups, and at most ${MOST_COLS} columns`,
    );
  shaped(f32(scale!, op), [N!, K / group], "the tensor of scales", op);
  if (min) same(f32(min, op), scale!, op);
  if (range && !(range.every((x) => Number.isInteger(x) && Math.abs(x) <= 2 ** 20) && range[0] < range[1]))
    throw new RangeError(
      `Cannot apply ${op}: codes are from ${range[0]} to ${range[1]}, wanted ascending whole numbers`,
    );
}

const encode = ({ group, range }: ScaleGroupsAttrs) => ({
  ints: [group, range ? 1 : 0],
  floats: range ? [...range] : [0, 0],
});

/** The whole number within `[low, high]` that is nearest to `x`, ties to even: what `scale_groups` makes of a code. */
export function nearestCode(x: number, [low, high]: readonly [number, number]): number {
  return roundEven(Math.max(low, Math.min(high, x)));
}

const rounded = (x: number, { range }: ScaleGroupsAttrs) => (range ? nearestCode(x, range) : x);

const groupOf = (i: number, K: number, group: number) =>
  Math.floor(i / K) * (K / group) + Math.floor((i % K) / group);

/**
 * y [N, K] = scale[n, ⌊k / group⌋] · codes[n, k] - min[n, ⌊k / group⌋]. codes [N, K] of any weight type, scale and (if given)
 * min [N, K / group]
 */
export const scale_groups: CoreOp<ScaleGroupsAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    check(inputs, attrs, "scale_groups");
    return [{ shape: inputs[0]!.shape }];
  },
  encode,
  reference: ([codes, scale, min], [y], attrs) => {
    for (let i = 0; i < y!.data.length; i++) {
      const g = groupOf(i, cols(codes!), attrs.group);
      y!.data[i] = scale!.data[g]! * rounded(codes!.data[i]!, attrs) - (min ? min.data[g]! : 0);
    }
  },
  gradient: (node, [dy]) => {
    if (!dy) return [];
    const [dscale, ...rest] = groupsGrad(node.inputs, dy, node.attrs);
    const dmin = node.inputs[2] && rest.shift();
    return [rest[0], dscale, dmin];
  },
};

/** Gradients of scale_groups: codes, scale, (min), dy [N, K] -> dscale, (dmin), and with a range dcodes [N, K] */
export const scale_groups_grad: CoreOp<ScaleGroupsAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    const [codes, scale] = inputs as [Tensor, Tensor];
    check(inputs.slice(0, -1), attrs, "scale_groups_grad");
    same(f32(inputs.at(-1)!, "scale_groups_grad"), codes, "scale_groups_grad");
    dims(
      inputs.length === 3 || inputs.length === 4 ? 0 : 1,
      0,
      "the number of operands",
      "scale_groups_grad",
    );
    const small = { shape: scale.shape };
    return [small, ...(inputs.length === 4 ? [small] : []), ...(attrs.range ? [{ shape: codes.shape }] : [])];
  },
  encode: (attrs, inputs) => ({
    ...encode(attrs),
    ints: [...encode(attrs).ints, inputs.length === 4 ? 1 : 0],
  }),
  reference: (inputs, outputs, attrs) => {
    const [codes, scale] = inputs as [Value, Value];
    const dy = inputs.at(-1)!;
    const [dscale, dmin] = [outputs[0]!, inputs.length === 4 ? outputs[1] : undefined];
    const dcodes = attrs.range && outputs.at(-1)!;
    for (const small of [dscale, dmin]) small?.data.fill(0);
    for (let i = 0; i < codes.data.length; i++) {
      const g = groupOf(i, cols(codes), attrs.group);
      const [c, d] = [codes.data[i]!, dy.data[i]!];
      dscale.data[g]! += d * rounded(c, attrs);
      if (dmin) dmin.data[g]! -= d;
      if (!dcodes) continue;
      const slope = d * scale.data[g]!;
      const [low, high] = attrs.range!;
      // A step goes against the slope.
      const outwards = (c > high + 0.5 && slope < 0) || (c < low - 0.5 && slope > 0);
      dcodes.data[i] = outwards ? 0 : slope;
    }
  },
  gradient: null, // second derivatives are not needed
};

/** x as f16 holds it, to nearest, ties to even; the gradient goes straight through. */
export const round_half: CoreOp<Record<never, never>> = {
  kind: "core",
  shape: ([x]) => [{ shape: f32(x!, "round_half").shape }],
  reference: ([x], [y]) => {
    for (let i = 0; i < y!.data.length; i++) y!.data[i] = f16ToF32(f32ToF16(x!.data[i]!));
  },
  gradient: (_node, [dy]) => [dy],
};
