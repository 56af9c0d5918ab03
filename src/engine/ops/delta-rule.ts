/**
 * Linear attention by the gated delta rule: a matrix per head that forgets, and takes in what it does not yet predict.
 * Source: Yang et al., arXiv 2412.06464. The state: see recurrent.ts; its columns are [Hv, Dk, Dv] of each layer.
 */
import {
  abs,
  add,
  delta_rule_grad as backward,
  exp,
  log,
  mul,
  neg,
  delta_rule as recur,
  reshape,
  rms_norm,
  rsqrt,
  scale,
  shift,
  sigmoid,
  silu,
  slice_last,
  step,
  sum_last,
} from "../nn.ts";
import type { CoreOp, FusedOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, last, rank } from "./common.ts";
import { checkState, eachSegment, type StateAttrs } from "./recurrent.ts";

export interface DeltaAttrs extends StateAttrs {
  /** Value head h goes with key head h mod Hk; otherwise with ⌊h · Hk / Hv⌋. */
  readonly tiled: boolean;
}

/** Widest head: what kernels hold of one in a thread's scratch. */
const MAX_HEAD_DIM = 256;
const EPS = 1e-6;

interface Heads {
  readonly Hk: number;
  readonly Hv: number;
  readonly Dk: number;
  readonly Dv: number;
}

function check({ Hk, Hv, Dk, Dv }: Heads, op: string): void {
  if (!(Hk >= 1 && Hv % Hk === 0))
    throw new RangeError(`Cannot apply ${op}: ${Hv} value heads, wanted a multiple of ${Hk} key heads`);
  if (Math.max(Dk, Dv) > MAX_HEAD_DIM)
    throw new RangeError(`Cannot apply ${op}: heads of ${Dk} and ${Dv}, wanted at most ${MAX_HEAD_DIM}`);
}

function headsOf([q, k, v, g, beta]: readonly Tensor[], op: string): Heads {
  const [T, Hk, Dk] = rank(f32(q!, op), 3, op) as [number, number, number];
  const [, Hv, Dv] = rank(f32(v!, op), 3, op) as [number, number, number];
  for (const [i, d] of rank(f32(k!, op), 3, op).entries()) dims(d, q!.shape[i]!, "a size of the keys", op);
  for (const x of [v!, g!, beta!]) dims(x.shape[0], T, "the number of tokens", op);
  for (const x of [g!, beta!]) dims(rank(f32(x, op), 2, op)[1], Hv, "the number of gates", op);
  const heads = { Hk, Hv, Dk, Dv };
  check(heads, op);
  return heads;
}

const keyHead = (h: number, Hk: number, Hv: number, tiled: boolean) =>
  tiled ? h % Hk : Math.floor((h * Hk) / Hv);

/**
 * For each token t of a segment in order, and each value head with S [Dk, Dv]: S ← e^g S; S ← S + k (β (v - Sᵀ k))ᵀ;
 * o = Sᵀ q. q, k [T, Hk, Dk], v [T, Hv, Dv], g, β [T, Hv], segments, (state, slots) -> o [T, Hv, Dv]
 */
export const delta_rule: CoreOp<DeltaAttrs> = {
  kind: "core",
  writes: [6],
  shape: ([q, k, v, g, beta, ...rest], attrs) => {
    const { Hv, Dk, Dv } = headsOf([q!, k!, v!, g!, beta!], "delta_rule");
    checkState(rest, attrs, Hv * Dk * Dv, "delta_rule");
    return [{ shape: v!.shape }];
  },
  encode: ({ offset, tiled }) => ({ ints: [offset, tiled ? 1 : 0] }),
  reference: ([q, k, v, g, beta, ...rest], [o], attrs) => {
    const [, Hk, Dk] = q!.shape as [number, number, number];
    const [, Hv, Dv] = v!.shape as [number, number, number];
    eachSegment(rest, attrs, Hv * Dk * Dv, (start, length, state) => {
      for (let h = 0; h < Hv; h++) {
        const S = state.subarray(h * Dk * Dv, (h + 1) * Dk * Dv);
        const hk = keyHead(h, Hk, Hv, attrs.tiled);
        for (let t = start; t < start + length; t++) {
          const at = (t * Hk + hk) * Dk;
          advance(S, k!, at, v!, (t * Hv + h) * Dv, g!.data[t * Hv + h]!, beta!.data[t * Hv + h]!, Dk, Dv);
          for (let j = 0; j < Dv; j++) {
            let sum = 0;
            for (let d = 0; d < Dk; d++) sum += S[d * Dv + j]! * q!.data[at + d]!;
            o!.data[(t * Hv + h) * Dv + j] = sum;
          }
        }
      }
    });
  },
  gradient: (node, [dO]) => {
    const [q, k, v, g, beta, segments, state] = node.inputs as Tensor[];
    if (state) throw new TypeError("Cannot differentiate delta_rule: it keeps a state, wanted none");
    if (!dO) return [];
    return [...backward([q!, k!, v!, g!, beta!], dO, segments!, node.attrs.tiled), undefined];
  },
};

/** One token's S. */
function advance(
  S: Float64Array,
  k: Value,
  ki: number,
  v: Value,
  vi: number,
  g: number,
  beta: number,
  Dk: number,
  Dv: number,
): void {
  const decay = Math.exp(g);
  for (let j = 0; j < Dv; j++) {
    let found = 0;
    for (let d = 0; d < Dk; d++) found += decay * S[d * Dv + j]! * k.data[ki + d]!;
    const delta = beta * (v.data[vi + j]! - found);
    for (let d = 0; d < Dk; d++) S[d * Dv + j] = decay * S[d * Dv + j]! + k.data[ki + d]! * delta;
  }
}

/**
 * Gradients of delta_rule without a state, token by token from a segment's end with dS = dL/dS. With S' = e^g S, the old S
 * forgotten, and u = β (v - S'ᵀ k): dS += q doᵀ, dq = S do, du = dSᵀ k, dk = dS u - β S' du, dv = β du,
 * dβ = du · (v - S'ᵀ k), dS' = dS - k (β du)ᵀ, dg = Σ S' dS', and for the token before dS = e^g dS'.
 * q, k, v, g, β, do, segments -> dq, dk, dv, dg, dβ
 */
export const delta_rule_grad: CoreOp<{ tiled: boolean }> = {
  kind: "core",
  shape: ([q, k, v, g, beta, dO, ...rest]) => {
    headsOf([q!, k!, v!, g!, beta!], "delta_rule_grad");
    for (const [i, d] of rank(f32(dO!, "delta_rule_grad"), 3, "delta_rule_grad").entries())
      dims(d, v!.shape[i]!, "a size of the output's gradient", "delta_rule_grad");
    checkState(rest, { offset: 0 }, 0, "delta_rule_grad");
    return [q!, k!, v!, g!, beta!].map(({ shape }) => ({ shape }));
  },
  encode: ({ tiled }) => ({ ints: [tiled ? 1 : 0] }),
  reference: ([q, k, v, g, beta, dO, segments], [dq, dk, dv, dg, dbeta], { tiled }) => {
    const [, Hk, Dk] = q!.shape as [number, number, number];
    const [, Hv, Dv] = v!.shape as [number, number, number];
    for (const out of [dq!, dk!]) out.data.fill(0);
    eachSegment([segments!], { offset: 0 }, 0, (start, length) => {
      for (let h = 0; h < Hv; h++) {
        const hk = keyHead(h, Hk, Hv, tiled);
        const S = [new Float64Array(Dk * Dv)]; // before each token, and after the last
        for (let t = start; t < start + length; t++) {
          const next = S.at(-1)!.slice();
          const [ki, vi, gi] = [(t * Hk + hk) * Dk, (t * Hv + h) * Dv, t * Hv + h];
          advance(next, k!, ki, v!, vi, g!.data[gi]!, beta!.data[gi]!, Dk, Dv);
          S.push(next);
        }
        const dS = new Float64Array(Dk * Dv);
        for (let i = length - 1; i >= 0; i--) {
          const t = start + i;
          const [ki, vi, gi] = [(t * Hk + hk) * Dk, (t * Hv + h) * Dv, t * Hv + h];
          const decay = Math.exp(g!.data[gi]!);
          const b = beta!.data[gi]!;
          const before = S[i]!.map((x) => decay * x);
          const after = S[i + 1]!;
          let [db, dGate] = [0, 0];
          for (let j = 0; j < Dv; j++) {
            const d_o = dO!.data[vi + j]!;
            let [du, found] = [0, 0];
            for (let d = 0; d < Dk; d++) {
              const key = k!.data[ki + d]!;
              dS[d * Dv + j]! += q!.data[ki + d]! * d_o;
              dq!.data[ki + d]! += after[d * Dv + j]! * d_o;
              du += dS[d * Dv + j]! * key;
              found += before[d * Dv + j]! * key;
            }
            const missing = v!.data[vi + j]! - found;
            for (let d = 0; d < Dk; d++) {
              dk!.data[ki + d]! += dS[d * Dv + j]! * b * missing - b * before[d * Dv + j]! * du;
              dS[d * Dv + j]! -= k!.data[ki + d]! * b * du;
              dGate += before[d * Dv + j]! * dS[d * Dv + j]!;
              dS[d * Dv + j]! *= decay;
            }
            dv!.data[vi + j] = b * du;
            db += du * missing;
          }
          dg!.data[gi] = dGate;
          dbeta!.data[gi] = db;
        }
      }
    });
  },
  gradient: null, // second derivatives are not needed
};

export interface DeltaNetAttrs extends DeltaAttrs {
  readonly num_key_heads: number;
  readonly num_value_heads: number;
  readonly key_head_dim: number;
  /** Of the output's norm. */
  readonly eps: number;
}

/**
 * What Qwen3.5's linear attention does between its projections: with q, k, v = silu(x), q / (|q| √Dk), k / |k|,
 * g = -e^A softplus(a), β = sigmoid(b): rms_norm of each head of delta_rule, by w, times silu(z).
 * x [T, 2 Hk Dk + Hv Dv], z [T, Hv Dv], a, b, [T, Hv], A [Hv], w [Dv], segments, (state, slots) -> [T, Hv Dv].
 * Source: transformers, `models/qwen3_5/modeling_qwen3_5.py`.
 */
export const gated_delta_net: FusedOp<DeltaNetAttrs> = {
  kind: "fused",
  writes: [7],
  shape: ([x, z, a, b, A, w, ...rest], attrs) => {
    const op = "gated_delta_net";
    const { num_key_heads: Hk, num_value_heads: Hv, key_head_dim: Dk } = attrs;
    const Dv = rank(f32(w!, op), 1, op)[0] as number;
    check({ Hk, Hv, Dk, Dv }, op);
    for (const t of [x!, z!, a!, b!]) dims(rank(f32(t, op), 2, op)[0], x!.shape[0]!, "the tokens", op);
    dims(last(x!, op), 2 * Hk * Dk + Hv * Dv, "the width of queries, keys and values", op);
    dims(last(z!, op), Hv * Dv, "the width of the gate", op);
    for (const t of [a!, b!, A!]) dims(last(t, op), Hv, "the number of gates", op);
    checkState(rest, attrs, Hv * Dk * Dv, op);
    return [{ shape: z!.shape }];
  },
  encode: ({ offset, tiled, num_key_heads, num_value_heads, key_head_dim, eps }) => ({
    ints: [offset, tiled ? 1 : 0, num_key_heads, num_value_heads, key_head_dim],
    floats: [eps],
  }),
  compose: ([x, z, a, b, A, w, segments, state, slots], attrs) => {
    const { num_key_heads: Hk, num_value_heads: Hv, key_head_dim: Dk, eps } = attrs;
    const T = x!.shape[0]!;
    const Dv = w!.shape[0] as number;
    const mixed = silu(x!);
    const part = (from: number, H: number, D: number) => reshape(slice_last(mixed, from, H * D), [T, H, D]);
    const unit = (y: Tensor) => mul(y, rsqrt(shift(sum_last(mul(y, y)), EPS)));
    const q = scale(unit(part(0, Hk, Dk)), Dk ** -0.5);
    const k = unit(part(Hk * Dk, Hk, Dk));
    const v = part(2 * Hk * Dk, Hv, Dv);
    const softplus = add(mul(a!, step(a!)), log(shift(exp(neg(abs(a!))), 1)));
    const g = mul(neg(softplus), exp(A!));
    const held = state && { state, slots: slots!, offset: attrs.offset };
    const o = recur([q, k, v, g, sigmoid(b!)], segments!, attrs.tiled, held);
    const y = mul(rms_norm(o, w!, eps), silu(reshape(z!, [T, Hv, Dv])));
    return [reshape(y, [T, Hv * Dv])];
  },
};
