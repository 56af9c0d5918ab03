/**
 * Attention within the step: training, encoders. Tokens attend to tokens of their own segment only, so packed
 * sequences do not leak. Generation reads KV pages instead: attention-paged.ts.
 */
import { attention_grad as backward } from "../nn.ts";
import type { CoreOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, rank, same } from "./common.ts";

export interface AttentionAttrs {
  readonly causal: boolean;
  /** Positions a token sees, its own included; 0: all. Without `causal`, as far to the other side too. */
  readonly window: number;
  /** Factor of q·k, usually head_dim^(-1/2). */
  readonly scale: number;
}

/** What kernels hold of a head in a thread's scratch. */
const MAX_HEAD_DIM = 512;

function heads(q: Tensor, k: Tensor, op: string): [number, number, number] {
  const [T, Hq, D] = rank(f32(q, op), 3, op);
  const [kt, Hkv, kd] = rank(f32(k, op), 3, op);
  dims(kt, T!, "the number of keys", op);
  dims(kd, D!, "the head size of the keys", op);
  if ((Hq as number) % (Hkv as number) !== 0)
    throw new RangeError(
      `Cannot apply ${op}: ${Hq} query heads, wanted a multiple of ${Hkv} key-value heads`,
    );
  if ((D as number) > MAX_HEAD_DIM)
    throw new RangeError(`Cannot apply ${op}: heads of ${D} columns, wanted at most ${MAX_HEAD_DIM}`);
  return [Hq as number, Hkv as number, D as number];
}

function encode({ causal, window, scale }: AttentionAttrs, inputs: readonly Tensor[]) {
  const [Hq, Hkv, D] = heads(inputs[0]!, inputs[1]!, "attention");
  return { ints: [Hq, Hkv, D, causal ? 1 : 0, window], floats: [scale] };
}

/** Calls `visit` for every (token, q head) with the range of tokens it sees. */
function rows(
  q: Value,
  segments: Value,
  { causal, window }: AttentionAttrs,
  visit: (t: number, h: number, first: number, end: number) => void,
): void {
  const Hq = q.shape[1]!;
  for (let s = 0; s < segments.shape[0]!; s++) {
    const [start, length] = [segments.data[s * 4]!, segments.data[s * 4 + 1]!];
    for (let i = 0; i < length; i++) {
      const first = window > 0 ? Math.max(0, i + 1 - window) : 0;
      const end = causal ? i + 1 : window > 0 ? Math.min(length, i + window) : length;
      for (let h = 0; h < Hq; h++) visit(start + i, h, start + first, start + end);
    }
  }
}

/**
 * o[t, h] = Σ_u softmax_u(scale · q[t, h] · k[u, h']) v[u, h'], h' = ⌊h · Hkv / Hq⌋, over the u of t's segment
 * (up to t when causal, and nearer than the window when there is one). lse[t, h] = log Σ_u e^(scale · q·k), kept for the gradient.
 * q [T, Hq, D], k, v [T, Hkv, D], segments [S, 4] -> o [T, Hq, D], lse [T, Hq].
 */
export const attention: CoreOp<AttentionAttrs> = {
  kind: "core",
  shape: ([q, k, v, segments]) => {
    const [Hq] = heads(q!, k!, "attention");
    same(k!, v!, "attention");
    dims(rank(segments!, 2, "attention")[1], 4, "the width of the segment table", "attention");
    return [{ shape: q!.shape }, { shape: [q!.shape[0]!, Hq] }];
  },
  encode,
  reference: ([q, k, v, segments], [o, lse], attrs) => {
    const [, Hq, D] = q!.shape as [number, number, number];
    const Hkv = k!.shape[1]!;
    const { scale } = attrs;
    o!.data.fill(0);
    lse!.data.fill(0);
    rows(q!, segments!, attrs, (t, h, first, end) => {
      const hk = Math.floor((h * Hkv) / Hq);
      const scores: number[] = [];
      for (let u = first; u < end; u++)
        scores.push(scale * dot(q!, (t * Hq + h) * D, k!, (u * Hkv + hk) * D, D));
      const top = Math.max(...scores);
      const sum = scores.reduce((a, s) => a + Math.exp(s - top), 0);
      lse!.data[t * Hq + h] = top + Math.log(sum);
      for (let u = first; u < end; u++) {
        const p = Math.exp(scores[u - first]! - top) / sum;
        for (let d = 0; d < D; d++) o!.data[(t * Hq + h) * D + d]! += p * v!.data[(u * Hkv + hk) * D + d]!;
      }
    });
  },
  gradient: (node, [dO]) => {
    if (!dO) return [undefined, undefined, undefined, undefined];
    const [q, k, v, segments] = node.inputs as [Tensor, Tensor, Tensor, Tensor];
    const [o, lse] = node.outputs as [Tensor, Tensor];
    return [...backward(q, k, v, o, lse, dO, segments, node.attrs), undefined];
  },
};

/**
 * Gradients of attention: with p = e^(scale·q·k - lse) and δ = do · o,
 * dv = Σ p do, ds = p (do · v - δ), dq = scale Σ ds k, dk = scale Σ ds q. Source: Dao et al., arXiv 2205.14135.
 */
export const attention_grad: CoreOp<AttentionAttrs> = {
  kind: "core",
  shape: ([q, k, v, o, _lse, dO]) => {
    heads(q!, k!, "attention_grad");
    same(q!, o!, "attention_grad");
    same(q!, dO!, "attention_grad");
    return [{ shape: q!.shape }, { shape: k!.shape }, { shape: v!.shape }];
  },
  encode,
  reference: ([q, k, v, o, lse, dO, segments], [dq, dk, dv], attrs) => {
    const [, Hq, D] = q!.shape as [number, number, number];
    const Hkv = k!.shape[1]!;
    const { scale } = attrs;
    for (const out of [dq!, dk!, dv!]) out.data.fill(0);
    rows(q!, segments!, attrs, (t, h, first, end) => {
      const hk = Math.floor((h * Hkv) / Hq);
      const at = (t * Hq + h) * D;
      const delta = dot(dO!, at, o!, at, D);
      for (let u = first; u < end; u++) {
        const key = (u * Hkv + hk) * D;
        const p = Math.exp(scale * dot(q!, at, k!, key, D) - lse!.data[t * Hq + h]!);
        const ds = p * (dot(dO!, at, v!, key, D) - delta) * scale;
        for (let d = 0; d < D; d++) {
          dv!.data[key + d]! += p * dO!.data[at + d]!;
          dq!.data[at + d]! += ds * k!.data[key + d]!;
          dk!.data[key + d]! += ds * q!.data[at + d]!;
        }
      }
    });
  },
  gradient: null, // second derivatives are not needed
};

function dot(a: Value, i: number, b: Value, j: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a.data[i + d]! * b.data[j + d]!;
  return sum;
}
