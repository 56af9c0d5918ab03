/** Rotary position embedding. Source: Su et al., arXiv 2104.09864, in the half-split form of Hugging Face models. */
import { rope as rotate } from "../nn.ts";
import type { CoreOp } from "../op.ts";
import { dims, f32, ids, last, rank } from "./common.ts";

/**
 * Rotates the first r columns of each head of x [T, H, D] by the angles of its position: pairs (j, j + r/2).
 * table [C, r]: for each position cos of r/2 angles, then sin. `inverse` rotates back (its gradient).
 */
export const rope: CoreOp<{ inverse: boolean }> = {
  kind: "core",
  shape: ([x, positions, table]) => {
    const [T, , D] = rank(f32(x!, "rope"), 3, "rope");
    dims(rank(ids(positions!, "rope"), 1, "rope")[0], T!, "the number of positions", "rope");
    const r = last(table!, "rope");
    if (r % 2 !== 0 || r > (D as number))
      throw new RangeError(`Cannot apply rope: the table has ${r} columns, wanted an even number up to ${D}`);
    return [{ shape: x!.shape }];
  },
  encode: ({ inverse }) => ({ ints: [inverse ? 1 : 0] }),
  reference: ([x, positions, table], [y], { inverse }) => {
    const [T, H, D] = x!.shape as [number, number, number];
    const r = table!.shape[1]!;
    y!.data.set(x!.data);
    for (let t = 0; t < T; t++)
      for (let h = 0; h < H; h++)
        for (let j = 0; j < r / 2; j++) {
          const row = positions!.data[t]! * r;
          const cos = table!.data[row + j]!;
          const sin = table!.data[row + r / 2 + j]! * (inverse ? -1 : 1);
          const at = (t * H + h) * D + j;
          const [a, b] = [x!.data[at]!, x!.data[at + r / 2]!];
          y!.data[at] = a * cos - b * sin;
          y!.data[at + r / 2] = a * sin + b * cos;
        }
  },
  gradient: (node, [dy]) => [
    dy && rotate(dy, node.inputs[1]!, node.inputs[2]!, !node.attrs.inverse),
    undefined,
    undefined,
  ],
};
