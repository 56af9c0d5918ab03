/**
 * Rows of GPTQ: codes of a weight are chosen one column after another, and what a column errs by is made up for by those that
 * follow. Source: Frantar et al., arXiv 2210.17323; here as the nearest plane of Babai, which is the same and needs no inverse.
 */
import type { CoreOp } from "../op.ts";
import { dims, f32, ids, rank, shaped } from "./common.ts";

/**
 * l [K, K] = the lower triangle L of L Lᵀ = A + damping · I, zeros above; A[i, j] = h[order[i], order[j]]. The output [1] is 0, or
 * 1 + the first row whose pivot is not above 0 (then l is of no use, but finite). h [K, K], order [K], damping [1].
 */
export const cholesky: CoreOp = {
  kind: "core",
  writes: [0],
  shape: ([l, h, order, damping]) => {
    const [K] = rank(f32(h!, "cholesky"), 2, "cholesky");
    shaped(h!, [K!, K!], "the matrix", "cholesky");
    shaped(l!, [K!, K!], "the triangle", "cholesky");
    shaped(ids(order!, "cholesky"), [K!], "the order", "cholesky");
    shaped(f32(damping!, "cholesky"), [1], "the damping", "cholesky");
    return [{ shape: [1] }];
  },
  reference: ([l, h, order, damping], [failed]) => {
    const K = h!.shape[0]!;
    const L = l!.data;
    failed!.data[0] = 0;
    L.fill(0);
    for (let i = 0; i < K; i++)
      for (let j = 0; j <= i; j++) {
        let sum = h!.data[order!.data[i]! * K + order!.data[j]!]! + (i === j ? damping!.data[0]! : 0);
        for (let k = 0; k < j; k++) sum -= L[i * K + k]! * L[j * K + k]!;
        if (i > j) L[i * K + j] = sum / L[j * K + j]!;
        else {
          if (!(sum > 0) && failed!.data[0] === 0) failed!.data[0] = i + 1;
          L[i * K + i] = sum > 0 ? Math.sqrt(sum) : 1;
        }
      }
  },
  gradient: null,
};

export interface GptqAttrs {
  /** Codes are 0 to levels - 1. */
  readonly levels: number;
}

/** Columns at most: what a kernel keeps of a row's errors. */
const MAX_COLUMNS = 14336;

/**
 * Codes c of rows of w, whose values are v = a · c - m with a step a and a minimum m for each group of columns, that make
 * (w - v) A (w - v)ᵀ small; l is the triangle of A in `order` (see `cholesky`). The last column in the order goes first: with
 * e = w - v of those done, the code of column j is the nearest to w_j + Σ_{i > j} e_i l[i, j] / l[j, j].
 * w [T, K], a, m [T, K / group], l [K, K], order [K] -> codes [T, K], error [T, 1] = (w - v) A (w - v)ᵀ
 */
export const gptq_round: CoreOp<GptqAttrs> = {
  kind: "core",
  shape: ([w, a, m, l, order], { levels }) => {
    const op = "gptq_round";
    const [T, K] = rank(f32(w!, op), 2, op) as [number, number];
    const [rows, groups] = rank(f32(a!, op), 2, op) as [number, number];
    dims(rows, T, "the number of rows of steps", op);
    shaped(f32(m!, op), a!.shape, "the minima", op);
    shaped(f32(l!, op), [K, K], "the triangle", op);
    shaped(ids(order!, op), [K], "the order", op);
    if (K > MAX_COLUMNS)
      throw new RangeError(`Cannot apply ${op}: ${K} columns, wanted at most ${MAX_COLUMNS}`);
    if (!(groups > 0 && K % groups === 0))
      throw new RangeError(
        `Cannot apply ${op}: ${K} columns in ${groups} groups, wanted groups of equal size`,
      );
    if (!(levels >= 2 && levels <= 256))
      throw new RangeError(`Cannot apply ${op}: ${levels} levels, wanted 2 to 256`);
    return [{ shape: w!.shape }, { shape: [T, 1] }];
  },
  encode: ({ levels }) => ({ ints: [levels] }),
  reference: ([w, a, m, l, order], [codes, error], { levels }) => {
    const [T, K] = w!.shape as [number, number];
    const groups = a!.shape[1]!;
    for (let t = 0; t < T; t++) {
      const e = new Float64Array(K);
      let loss = 0;
      for (let j = K - 1; j >= 0; j--) {
        const column = order!.data[j]!;
        const group = t * groups + Math.floor((column * groups) / K);
        const [step, minimum, pivot] = [a!.data[group]!, m!.data[group]!, l!.data[j * K + j]!];
        let sum = 0;
        for (let i = j + 1; i < K; i++) sum += e[i]! * l!.data[i * K + j]!;
        const wanted = w!.data[t * K + column]! + sum / pivot;
        const code = step === 0 ? 0 : (wanted + minimum) / step;
        const nearest = Math.floor(Math.min(Math.max(code, 0), levels - 1) + 0.5);
        const value = step * nearest - minimum;
        codes!.data[t * K + column] = nearest;
        e[j] = w!.data[t * K + column]! - value;
        loss += ((wanted - value) * pivot) ** 2;
      }
      error!.data[t] = loss;
    }
  },
  gradient: null,
};
