/**
 * Attention over KV pages: generation. A step first writes its keys and values to pages, then every token reads all
 * positions of its sequence up to its own. Segment rows: start, length, past, adapter. Page rows: numbers of the pages
 * that hold positions 0..63, 64..127, ... The pool's layout belongs to the backend (kernels/README.md).
 */
import { rms_norm, rope, kv_write as store } from "../nn.ts";
import type { CoreOp, FusedOp, ReferenceKv, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, rank, same } from "./common.ts";

/** Tokens in a page; equals PAGE in backend.ts and kernels/pith.h. */
const PAGE = 64;

export interface PagedAttrs {
  readonly layer: number;
  readonly layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  /** Positions a token sees, its own included; 0: all. */
  readonly window: number;
  readonly scale: number;
}

export interface RopeWriteAttrs extends PagedAttrs {
  /** rms_norm of every head of q and k first, with this eps. */
  readonly norm?: { readonly eps: number };
}

function encode(a: PagedAttrs, inputs: readonly Tensor[], pages = inputs.at(-1)!) {
  const P = pages.shape[1] as number;
  return {
    ints: [a.layer, a.layers, a.num_attention_heads, a.num_key_value_heads, a.head_dim, a.window, P],
    floats: [a.scale],
  };
}

function checkHeads(x: Tensor, count: number, a: PagedAttrs, op: string): void {
  const [, H, D] = rank(f32(x, op), 3, op);
  dims(H, count, "the number of heads", op);
  dims(D, a.head_dim, "the head size", op);
}

function checkTables(segments: Tensor, pages: Tensor, op: string): void {
  dims(rank(segments, 2, op)[1], 4, "the width of the segment table", op);
  rank(pages, 2, op);
}

/** Index of the first element of (k: 0, v: 1) of a head at a position, in the reference's pool. */
function place(
  kv: ReferenceKv,
  pages: Value,
  s: number,
  position: number,
  layer: number,
  which: 0 | 1,
  head: number,
): number {
  const page = pages.data[s * pages.shape[1]! + Math.floor(position / PAGE)]!;
  return (
    ((((page * kv.layers + layer) * 2 + which) * PAGE + (position % PAGE)) * kv.num_key_value_heads + head) *
    kv.head_dim
  );
}

/** Stores k and v [T, Hkv, D] of the step's tokens, rounded to the pool's type. */
export const kv_write: CoreOp<PagedAttrs> = {
  kind: "core",
  writes: [2],
  shape: ([k, v, _kv, segments, pages], attrs) => {
    checkHeads(k!, attrs.num_key_value_heads, attrs, "kv_write");
    same(k!, v!, "kv_write");
    checkTables(segments!, pages!, "kv_write");
    return [];
  },
  encode,
  reference: ([k, v, pool, segments, pages], _outputs, { layer, head_dim, num_key_value_heads }) => {
    const kv = pool!.kv!;
    for (let s = 0; s < segments!.shape[0]!; s++) {
      const [start, length, past] = segments!.data.subarray(s * 4);
      for (let i = 0; i < length!; i++)
        for (let h = 0; h < num_key_value_heads; h++)
          for (const [which, x] of [k!, v!].entries()) {
            const to = place(kv, pages!, s, past! + i, layer, which as 0 | 1, h);
            const from = ((start! + i) * num_key_value_heads + h) * head_dim;
            kv.data.set(kv.round(Float64Array.from(x.data.subarray(from, from + head_dim))), to);
          }
    }
  },
  gradient: null, // generation only
};

/** o [T, Hq, D] of q [T, Hq, D] over the pages; causal; softmax(scale · q·k) v */
export const attention_paged: CoreOp<PagedAttrs> = {
  kind: "core",
  shape: ([q, _kv, segments, pages], attrs) => {
    checkHeads(q!, attrs.num_attention_heads, attrs, "attention_paged");
    checkTables(segments!, pages!, "attention_paged");
    return [{ shape: q!.shape }];
  },
  encode,
  reference: (
    [q, pool, segments, pages],
    [o],
    { layer, num_attention_heads: Hq, num_key_value_heads: Hkv, head_dim: D, window, scale },
  ) => {
    const kv = pool!.kv!;
    o!.data.fill(0);
    for (let s = 0; s < segments!.shape[0]!; s++) {
      const [start, length, past] = segments!.data.subarray(s * 4);
      for (let i = 0; i < length!; i++)
        for (let h = 0; h < Hq; h++) {
          const hk = Math.floor((h * Hkv) / Hq);
          const at = ((start! + i) * Hq + h) * D;
          const end = past! + i + 1;
          const first = window > 0 ? Math.max(0, end - window) : 0;
          const scores: number[] = [];
          for (let p = first; p < end; p++) {
            const key = place(kv, pages!, s, p, layer, 0, hk);
            let sum = 0;
            for (let d = 0; d < D; d++) sum += q!.data[at + d]! * kv.data[key + d]!;
            scores.push(sum * scale);
          }
          const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
          const total = scores.reduce((a, x) => a + Math.exp(x - top), 0);
          for (let p = first; p < end; p++) {
            const weight = Math.exp(scores[p - first]! - top) / total;
            const value = place(kv, pages!, s, p, layer, 1, hk);
            for (let d = 0; d < D; d++) o!.data[at + d]! += weight * kv.data[value + d]!;
          }
        }
    }
  },
  gradient: null, // generation only
};

/**
 * rope of q; rope of k, then kv_write; with `norm` after rms_norm of their heads.
 * q, k, v, positions, table, kv, segments, pages, (q_norm, k_norm [D]) -> rotated q
 */
export const rope_write: FusedOp<RopeWriteAttrs> = {
  kind: "fused",
  writes: [5],
  shape: ([q, k, v, _positions, _table, _kv, segments, pages, ...norms], attrs) => {
    checkHeads(q!, attrs.num_attention_heads, attrs, "rope_write");
    checkHeads(k!, attrs.num_key_value_heads, attrs, "rope_write");
    same(k!, v!, "rope_write");
    checkTables(segments!, pages!, "rope_write");
    dims(norms.length, attrs.norm ? 2 : 0, "the number of norms", "rope_write");
    for (const norm of norms) dims(norm.shape[0], attrs.head_dim, "the length of a norm", "rope_write");
    return [{ shape: q!.shape }];
  },
  encode: (attrs, inputs) => {
    const { ints, floats } = encode(attrs, inputs, inputs[7]);
    return { ints: [...ints, attrs.norm ? 1 : 0], floats: [...floats, attrs.norm?.eps ?? 0] };
  },
  compose: ([q, k, v, positions, table, kv, segments, pages, q_norm, k_norm], { norm, ...attrs }) => {
    const [nq, nk] = norm ? [rms_norm(q!, q_norm!, norm.eps), rms_norm(k!, k_norm!, norm.eps)] : [q!, k!];
    store(rope(nk, positions!, table!), v!, kv!, segments!, pages!, attrs);
    return [rope(nq, positions!, table!)];
  },
};
