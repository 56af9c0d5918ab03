/** Training with ternary weights and int8 activations (BitNet b1.58, Ma et al., arXiv 2402.17764): what is rounded forward and straight through backward. */
import { bf16ToF32, f32ToBf16 } from "../half.ts";
import type { CoreOp } from "../op.ts";
import { elements } from "../tensor.ts";
import { f32, last, rank } from "./common.ts";
import { ACTIVATION_BLOCK, roundActivations } from "./matmul.ts";

export interface TernarizeAttrs {
  /** Columns of a row that share a scale; 0: all of the matrix. */
  readonly group: number;
}

/** The least scale: from here on up, what is exact in bf16 is exact in f16. */
const LEAST = 2 ** -16;

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
/** The nearest bf16, at least {@link LEAST}; NaN stays. */
const scaleOf = (mean: number) => Math.max(bf16ToF32(f32ToBf16(mean)), LEAST);

/**
 * w [N, K] -> y: of a group t = mean |w| / 2 and d = mean |w| of those above t, both means rounded to bf16 and at least 2^-16;
 * y = d · sign(w) where |w| > t, else 0. Codes are those of BitNet b1.58; its scale is the mean of all, this one leaves the least
 * squared error for these codes. So any float type and any ternary type of weights hold y exactly, and y of y is y. The gradient
 * goes straight through.
 */
export const ternarize: CoreOp<TernarizeAttrs> = {
  kind: "core",
  shape: ([w], { group }) => {
    const K = rank(f32(w!, "ternarize"), 2, "ternarize")[1] as number;
    if (!(Number.isInteger(group) && group >= 0) || (group > 0 && K % group !== 0))
      throw new RangeError(
        `Cannot apply ternarize: scales of ${group} columns in rows of ${K}, wanted 0 or what divides it`,
      );
    return [{ shape: w!.shape }];
  },
  encode: ({ group }, [w]) => ({ ints: [group || elements(w!.shape)] }),
  reference: ([w], [y], { group }) => {
    const n = group || w!.data.length;
    for (let start = 0; start < w!.data.length; start += n) {
      const magnitudes = Array.from(w!.data.subarray(start, start + n), Math.abs);
      const least = scaleOf(mean(magnitudes)) / 2;
      const large = magnitudes.filter((x) => x > least);
      const d = scaleOf(large.length > 0 ? mean(large) : 0);
      for (let i = start; i < start + n; i++)
        y!.data[i] = Math.abs(w!.data[i]!) > least ? Math.sign(w!.data[i]!) * d : least - least; // NaN stays
    }
  },
  gradient: (_node, [dy]) => [dy],
};

/** x [.., n] -> x rounded to int8 per 32 columns and back, as matmul_nt with `int8` takes it; n a multiple of 32. The gradient goes straight through. */
export const round_activations: CoreOp = {
  kind: "core",
  shape: ([x]) => {
    const n = last(f32(x!, "round_activations"), "round_activations");
    if (n % ACTIVATION_BLOCK !== 0)
      throw new RangeError(
        `Cannot apply round_activations: rows of ${n}, wanted a multiple of ${ACTIVATION_BLOCK}`,
      );
    return [{ shape: x!.shape }];
  },
  reference: ([x], [y]) => {
    y!.data.set(roundActivations(x!.data, ACTIVATION_BLOCK));
  },
  gradient: (_node, [dy]) => [dy],
};
