/**
 * How far a student's distribution is from a teacher's, and its slopes: of whole rows of logits, and of a few named tokens
 * with everything else in one bucket, the tail. The head and these in one are in linear-distillation.ts.
 */
import { distillation_slopes as denseSlopes, mul, distillation_topk_slopes as topkSlopes } from "../nn.ts";
import type { CoreOp, Value } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { cols, f32, ids, last, rank, same, shaped, withLast } from "./common.ts";

/** In the order of the kernels' numbers. */
export const DIVERGENCES = ["forward_kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl"] as const;
export type Divergence = (typeof DIVERGENCES)[number];

/** p = softmax(teacher / temperature), q = softmax(logits / temperature). */
export interface DistillationAttrs {
  /**
   * `forward_kl` KL(p‖q) · `reverse_kl` KL(q‖p) · `jsd` β KL(p‖m) + (1 - β) KL(q‖m), m = β p + (1 - β) q (Agarwal et al.,
   * arXiv 2306.13649) · `skew_kl` KL(p‖β p + (1 - β) q) · `skew_reverse_kl` KL(q‖(1 - β) p + β q) (Ko et al., arXiv
   * 2402.03898)
   */
  readonly loss: Divergence;
  /** Between 0 and 1, both left out; of the last three. */
  readonly beta: number;
  readonly temperature: number;
  /** Losses and slopes times temperature², which keeps the gradient's size (Hinton et al., arXiv 1503.02531). */
  readonly scale_temperature: boolean;
}

/** Log-probabilities below this count as this, so that a logit of -∞ makes no NaN. */
const LEAST = -1e4;
/** The least probability of the tail: a sum of f32 probabilities of 1 is right to about this. */
const LEAST_TEACHER_TAIL = 2 ** -24;
const LEAST_STUDENT_TAIL = 1e-30;
/** Named tokens that fit in a thread's scratch. */
const MOST_NAMED = 131072;

export function checkDistillation({ loss, beta, temperature }: DistillationAttrs, op: string): void {
  if (!DIVERGENCES.includes(loss))
    throw new RangeError(`Cannot apply ${op}: the loss is "${loss}", wanted ${DIVERGENCES.join(", ")}`);
  if (!(temperature > 0 && temperature < Infinity))
    throw new RangeError(`Cannot apply ${op}: the temperature is ${temperature}, wanted a number above 0`);
  const mixes = loss !== "forward_kl" && loss !== "reverse_kl";
  if (mixes && !(beta > 0 && beta < 1))
    throw new RangeError(
      `Cannot apply ${op}: beta of ${loss} is ${beta}, wanted a number between 0 and 1, both left out (there it is forward_kl or reverse_kl)`,
    );
}

export const encodeDistillation = ({ loss, beta, temperature, scale_temperature }: DistillationAttrs) => ({
  ints: [DIVERGENCES.indexOf(loss), scale_temperature ? 1 : 0],
  floats: [temperature, beta],
});

/** Shares of p and q in the mixture m. */
function mixture({ loss, beta }: DistillationAttrs): [number, number] {
  return loss === "skew_reverse_kl" ? [1 - beta, beta] : [beta, 1 - beta];
}

/** Of buckets with log-probabilities lp and lq: the loss, and of each bucket q · dloss/dq. */
function diverge(lp: Float64Array, lq: Float64Array, attrs: DistillationAttrs) {
  const qg = new Float64Array(lp.length);
  const [wp, wq] = mixture(attrs);
  let loss = 0;
  for (let i = 0; i < lp.length; i++) {
    const [p, q] = [Math.exp(lp[i]!), Math.exp(lq[i]!)];
    const m = wp * p + wq * q;
    const lm = Math.log(Math.max(m, 1e-300));
    const [toM, fromQ] = [lp[i]! - lm, lq[i]! - lm];
    if (attrs.loss === "forward_kl") {
      loss += p * (lp[i]! - lq[i]!);
      qg[i] = -p;
    } else if (attrs.loss === "reverse_kl") {
      loss += q * (lq[i]! - lp[i]!);
      qg[i] = q * (lq[i]! - lp[i]! + 1);
    } else if (attrs.loss === "jsd") {
      loss += wp * p * toM + wq * q * fromQ;
      qg[i] = wq * q * fromQ;
    } else if (attrs.loss === "skew_kl") {
      loss += p * toM;
      qg[i] = m > 0 ? (-wq * p * q) / m : 0;
    } else {
      loss += q * fromQ;
      qg[i] = m > 0 ? q * (fromQ + 1 - (wq * q) / m) : 0;
    }
  }
  return { loss, qg };
}

/** log softmax(row r / temperature) */
function logSoftmax(x: Value, r: number, temperature: number): Float64Array {
  const n = cols(x);
  const row = Float64Array.from(x.data.subarray(r * n, (r + 1) * n), (z) => z / temperature);
  const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const lse = top + Math.log(row.reduce((sum, z) => sum + Math.exp(z - top), 0));
  return row.map((z) => Math.max(z - lse, LEAST));
}

const factorOf = ({ temperature, scale_temperature }: DistillationAttrs) =>
  scale_temperature ? temperature ** 2 : 1;

function checkDense([logits, teacher]: readonly Tensor[], attrs: DistillationAttrs, op: string): void {
  checkDistillation(attrs, op);
  rank(f32(logits!, op), 2, op);
  same(logits!, f32(teacher!, op), op);
}

/** Loss [R, 1] of each row, in nats. logits [R, V], teacher [R, V]: a constant, no gradient goes through it */
export const distillation_loss: CoreOp<DistillationAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    checkDense(inputs, attrs, "distillation_loss");
    return [{ shape: withLast(inputs[0]!, 1) }];
  },
  encode: encodeDistillation,
  reference: ([logits, teacher], [y], attrs) => {
    for (let r = 0; r < y!.data.length; r++) {
      const [lp, lq] = [teacher!, logits!].map((x) => logSoftmax(x, r, attrs.temperature));
      y!.data[r] = factorOf(attrs) * diverge(lp!, lq!, attrs).loss;
    }
  },
  gradient: (node, [dloss]) => {
    const [logits, teacher] = node.inputs as [Tensor, Tensor];
    return [dloss && mul(denseSlopes(logits, teacher, node.attrs), dloss), undefined];
  },
};

/** Of each row's distillation_loss by its logits: q (g - Σ q g) / temperature, g = dloss/dq. [R, V] */
export const distillation_slopes: CoreOp<DistillationAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    checkDense(inputs, attrs, "distillation_slopes");
    return [{ shape: inputs[0]!.shape }];
  },
  encode: encodeDistillation,
  reference: ([logits, teacher], [y], attrs) => {
    const n = cols(logits!);
    for (let r = 0; r < y!.data.length / n; r++) {
      const [lp, lq] = [teacher!, logits!].map((x) => logSoftmax(x, r, attrs.temperature));
      const { qg } = diverge(lp!, lq!, attrs);
      const sum = qg.reduce((a, b) => a + b, 0);
      for (let i = 0; i < n; i++)
        y!.data[r * n + i] = ((qg[i]! - Math.exp(lq![i]!) * sum) * factorOf(attrs)) / attrs.temperature;
    }
  },
  gradient: null, // second derivatives are not needed
};

export function checkTopk(
  [named, logp]: readonly [Tensor, Tensor],
  R: Tensor["shape"][0],
  V: number,
  op: string,
): void {
  rank(ids(named, op), 2, op);
  const K = last(named, op);
  shaped(named, [R!, K], "the tensor of ids", op);
  shaped(f32(logp, op), [R!, K], "the tensor of log-probabilities", op);
  const most = Math.min(V, MOST_NAMED);
  if (!(K >= 1 && K <= most))
    throw new RangeError(`Cannot apply ${op}: ${K} tokens are named, wanted 1 to ${most}`);
}

function checkNamed([logits, named, logp]: readonly Tensor[], attrs: DistillationAttrs, op: string): void {
  checkDistillation(attrs, op);
  const [R] = rank(f32(logits!, op), 2, op);
  checkTopk([named!, logp!], R!, last(logits!, op), op);
}

/** Row r in buckets: the named tokens, then the tail if it has tokens. */
function buckets(logits: Value, named: Value, logp: Value, r: number, attrs: DistillationAttrs) {
  const all = logSoftmax(logits, r, attrs.temperature);
  const K = cols(named);
  const places = Array.from({ length: K }, (_, k) => r * K + k).filter((k) => named.data[k]! >= 0);
  const tokens = places.map((k) => named.data[k]!);
  const lp = places.map((k) => Math.max(logp.data[k]!, LEAST));
  const lq = tokens.map((id) => all[id]!);
  if (tokens.length < all.length) {
    const taken = new Set(tokens);
    const rest = all.reduce((sum, l, id) => (taken.has(id) ? sum : sum + Math.exp(l)), 0);
    const mass = 1 - lp.reduce((sum, l) => sum + Math.exp(l), 0);
    lp.push(Math.log(Math.max(mass, LEAST_TEACHER_TAIL)));
    lq.push(Math.log(Math.max(rest, LEAST_STUDENT_TAIL)));
  }
  return { all, tokens, lp: Float64Array.from(lp), lq: Float64Array.from(lq) };
}

/**
 * Loss [R, 1] of each row over K named tokens and the tail: what the others have together, 1 - Σ of the named ones'. It is
 * at most distillation_loss, which has every token by itself. logits [R, V], ids [R, K] (of a row all different; -1: none),
 * logp [R, K]: natural logarithms of the teacher's probabilities, at `temperature`
 */
export const distillation_topk_loss: CoreOp<DistillationAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    checkNamed(inputs, attrs, "distillation_topk_loss");
    return [{ shape: withLast(inputs[0]!, 1) }];
  },
  encode: encodeDistillation,
  reference: ([logits, named, logp], [y], attrs) => {
    for (let r = 0; r < y!.data.length; r++) {
      const { lp, lq } = buckets(logits!, named!, logp!, r, attrs);
      y!.data[r] = factorOf(attrs) * diverge(lp, lq, attrs).loss;
    }
  },
  gradient: (node, [dloss]) => {
    const [logits, named, logp] = node.inputs as [Tensor, Tensor, Tensor];
    return [dloss && mul(topkSlopes(logits, named, logp, node.attrs), dloss), undefined, undefined];
  },
};

/** Of each row's distillation_topk_loss by its logits. A token of the tail has the tail's slope, by its share. [R, V] */
export const distillation_topk_slopes: CoreOp<DistillationAttrs> = {
  kind: "core",
  shape: (inputs, attrs) => {
    checkNamed(inputs, attrs, "distillation_topk_slopes");
    return [{ shape: inputs[0]!.shape }];
  },
  encode: encodeDistillation,
  reference: ([logits, named, logp], [y], attrs) => {
    const n = cols(logits!);
    for (let r = 0; r < y!.data.length / n; r++) {
      const { all, tokens, lp, lq } = buckets(logits!, named!, logp!, r, attrs);
      const { qg } = diverge(lp, lq, attrs);
      const sum = qg.reduce((a, b) => a + b, 0);
      const factor = factorOf(attrs) / attrs.temperature;
      const tail = tokens.length < n ? qg.at(-1)! / Math.exp(lq.at(-1)!) : 0;
      for (let i = 0; i < n; i++) y!.data[r * n + i] = Math.exp(all[i]!) * (tail - sum) * factor;
      tokens.forEach((id, k) => {
        y!.data[r * n + id] = (qg[k]! - Math.exp(lq[k]!) * sum) * factor;
      });
    }
  },
  gradient: null, // second derivatives are not needed
};
