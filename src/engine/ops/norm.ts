/** Normalisations and the loss, as compositions of core rows. */
import {
  add,
  div,
  exp,
  log,
  max_last,
  mul,
  pick_last,
  place_last,
  rms_norm_grad,
  rms_norm_weight_grad,
  rsqrt,
  scale,
  shift,
  slice_last,
  softmax_last as softmax,
  step,
  sub,
  sum_last,
} from "../nn.ts";
import type { FusedOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, ids, last, rank, withLast } from "./common.ts";

type None = Record<never, never>;

/** x / √(mean x² + eps) · w, over the last dimension. Source: Zhang and Sennrich, arXiv 1910.07467. */
export const rms_norm: FusedOp<{ eps: number }> = {
  kind: "fused",
  shape: ([x, w]) => {
    const n = last(f32(x!, "rms_norm"), "rms_norm");
    dims(rank(f32(w!, "rms_norm"), 1, "rms_norm")[0], n, "the length of the weight", "rms_norm");
    return [{ shape: x!.shape }];
  },
  encode: ({ eps }) => ({ floats: [eps] }),
  compose: ([x, w], { eps }) => {
    const mean = scale(sum_last(mul(x!, x!)), 1 / last(x!, "rms_norm"));
    return [mul(mul(x!, rsqrt(shift(mean, eps))), w!)];
  },
  gradient: (node, [dy]) => {
    if (!dy) return [undefined, undefined];
    const [x, w] = node.inputs as [Tensor, Tensor];
    return [rms_norm_grad(x, w, dy, node.attrs.eps), rms_norm_weight_grad(x, dy, node.attrs.eps)];
  },
};

/** (x - mean x) / √(var x + eps) · w + b, over the last dimension; var is the mean square. Source: Ba et al., arXiv 1607.06450. */
export const layer_norm: FusedOp<{ eps: number }> = {
  kind: "fused",
  shape: ([x, w, b]) => {
    const n = last(f32(x!, "layer_norm"), "layer_norm");
    for (const [what, v] of [
      ["weight", w!],
      ["bias", b!],
    ] as const)
      dims(rank(f32(v, "layer_norm"), 1, "layer_norm")[0], n, `the length of the ${what}`, "layer_norm");
    return [{ shape: x!.shape }];
  },
  encode: ({ eps }) => ({ floats: [eps] }),
  compose: ([x, w, b], { eps }) => {
    const n = last(x!, "layer_norm");
    const centred = sub(x!, scale(sum_last(x!), 1 / n));
    const variance = scale(sum_last(mul(centred, centred)), 1 / n);
    return [add(mul(mul(centred, rsqrt(shift(variance, eps))), w!), b!)];
  },
};

/** e^(x - max) / Σ e^(x - max), over the last dimension */
export const softmax_last: FusedOp<None> = {
  kind: "fused",
  shape: ([x]) => [{ shape: f32(x!, "softmax_last").shape }],
  compose: ([x]) => {
    const e = exp(sub(x!, max_last(x!)));
    return [div(e, sum_last(e))];
  },
};

/** -log softmax(logits)[target] for each row, in nats; 0 where target < 0. [R, V], [R] -> [R, 1] */
export const cross_entropy: FusedOp<None> = {
  kind: "fused",
  shape: ([logits, targets]) => {
    rank(f32(logits!, "cross_entropy"), 2, "cross_entropy");
    dims(
      ids(targets!, "cross_entropy").shape[0],
      logits!.shape[0]!,
      "the number of targets",
      "cross_entropy",
    );
    return [{ shape: withLast(logits!, 1) }];
  },
  compose: ([logits, targets]) => {
    const top = max_last(logits!);
    const e = exp(sub(logits!, top));
    const lse = add(log(sum_last(e)), top);
    const counted = step(pick_last(shift(e, 1), targets!)); // 1 where there is a target
    return [mul(sub(lse, pick_last(logits!, targets!)), counted)];
  },
  gradient: (node, [dloss]) => {
    if (!dloss) return [undefined, undefined];
    const [logits, targets] = node.inputs as [Tensor, Tensor];
    return [mul(crossEntropySlopes(logits, targets), dloss), undefined];
  },
};

/** Of each row's cross_entropy by its logits: softmax - onehot; 0 where there is no target. [R, V] */
export function crossEntropySlopes(logits: Tensor, targets: Tensor): Tensor {
  const ones = shift(scale(slice_last(logits, 0, 1), 0), 1); // [R, 1]
  const onehot = place_last(ones, targets, last(logits, "cross_entropy"));
  const counted = step(max_last(onehot)); // 1 where there is a target
  return mul(sub(softmax(logits), onehot), counted);
}
