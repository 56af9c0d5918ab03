/**
 * Two heads and the losses between them in one: a student's logits and its teacher's exist for some rows at a time, in
 * scratch, and never for a whole batch.
 */
import {
  accumulate,
  add,
  cross_entropy,
  distillation_loss,
  distillation_slopes,
  distillation_topk_loss,
  distillation_topk_slopes,
  linear_distillation_grad as gradOf,
  matmul_nn,
  matmul_tn,
  max_last,
  mul,
  pad_last,
  place_last,
  scale,
  shift,
  slice_last,
  step,
} from "../nn.ts";
import type { FusedOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, ids, rank, shaped } from "./common.ts";
import { checkDistillation, checkTopk, type DistillationAttrs, encodeDistillation } from "./distillation.ts";
import { constantOf, logitsOf, throughHead } from "./loss.ts";
import { crossEntropySlopes } from "./norm.ts";

export interface LinearDistillationAttrs extends DistillationAttrs {
  /** The student's logits = scale · x wᵀ, then cap · tanh(logits / cap) unless cap is 0; so for the teacher. */
  readonly scale: number;
  readonly cap: number;
  readonly teacher_scale: number;
  readonly teacher_cap: number;
  /** What is differentiated: Σ ce_weight · cross-entropy + kd_weight · distillation. */
  readonly ce_weight: number;
  readonly kd_weight: number;
  /** A row without a target counts for nothing, not for the distillation either. */
  readonly masked: boolean;
  /** Also gives dx [R, d]: of each row's weighed losses by its x. */
  readonly grad: boolean;
  /** A sixth operand, a state [V, d], gets the gradient by w added. */
  readonly sum?: boolean;
  /** See `lowered`. */
  readonly bf16?: boolean;
}

/** x, w, targets (or x again: none), then the teacher: its x and w, or ids and their log-probabilities. */
function check(inputs: readonly Tensor[], attrs: LinearDistillationAttrs, op: string): void {
  const [x, w, targets, a, b] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
  checkDistillation(attrs, op);
  const [R, d] = rank(f32(x, op), 2, op);
  const [V, width] = rank(f32(w, op), 2, op);
  dims(width, d!, `the width of ${w.name ?? "w"}`, op);
  if (targets !== x) dims(ids(targets, op).shape[0], R!, "the number of targets", op);
  if (a.dtype === "i32") {
    checkTopk([a, b], R!, V as number, op);
    return;
  }
  const [rows, teacherWidth] = rank(f32(a, op), 2, op);
  dims(rows, R!, "the number of the teacher's rows", op);
  dims(rank(f32(b, op), 2, op)[1], teacherWidth!, `the width of the teacher's ${b.name ?? "w"}`, op);
}

function encode(a: LinearDistillationAttrs, by: { dx: boolean; sum: boolean }) {
  const { ints, floats } = encodeDistillation(a);
  return {
    ints: [...ints, ...[by.dx, by.sum, a.bf16 === true, a.masked].map(Number)],
    floats: [...floats, a.scale, a.cap, a.teacher_scale, a.teacher_cap, a.ce_weight, a.kd_weight],
  };
}

/** Everything in core rows: losses, and slopes by x wᵀ of each row's losses times these factors. */
function composed(
  [x, w, targets, a, b]: readonly Tensor[],
  attrs: LinearDistillationAttrs,
  weigh: (ceSlopes: Tensor, kdSlopes: Tensor) => Tensor,
) {
  const logits = logitsOf(x!, w!, attrs);
  const column = slice_last(x!, 0, 1); // [R, 1]
  const zeros = scale(column, 0);
  const has = targets !== x;
  const named = a!.dtype === "i32";
  const teacher = { scale: attrs.teacher_scale, cap: attrs.teacher_cap };
  const V = w!.shape[0] as number;
  const common = named ? V : Math.min(V, b!.shape[0] as number);
  const first = (z: Tensor) => (z.shape[1] === common ? z : slice_last(z, 0, common));
  const theirs = named ? undefined : first(logitsOf(a!, b!, teacher));
  const ones = shift(zeros, 1);
  const counted =
    has && attrs.masked
      ? step(max_last(place_last(ones, targets!, V))) // 1 where there is a target
      : ones;
  const all = named
    ? distillation_topk_loss(logits, a!, b!, attrs)
    : distillation_loss(first(logits), theirs!, attrs);
  return {
    ce: has ? cross_entropy(logits, targets!) : zeros,
    kd: mul(all, counted),
    slopes: () => {
      const kd = named
        ? distillation_topk_slopes(logits, a!, b!, attrs)
        : pad_last(distillation_slopes(first(logits), theirs!, attrs), 0, V);
      const ce = has ? crossEntropySlopes(logits, targets!) : scale(kd, 0);
      return throughHead(weigh(ce, mul(kd, counted)), logits, attrs);
    },
  };
}

const near = (a: number | undefined, b: number) => a !== undefined && Math.abs(a - b) <= 1e-9 * Math.abs(b);

/** Whether what is differentiated is the sum that `grad` and `sum` differentiate. */
export function areWeights(dce: Tensor, dkd: Tensor, attrs: LinearDistillationAttrs): boolean {
  return near(constantOf(dce), attrs.ce_weight) && near(constantOf(dkd), attrs.kd_weight);
}

/**
 * Cross-entropy [R, 1] (0 without a target) and distillation [R, 1] of each row; with `grad` dx [R, d] too. No gradient goes
 * through the teacher. Fixed order whatever the number of threads. Where one vocabulary is longer, the distributions are over
 * the first tokens, which both have. x [R, d], w [V, d], targets [R] (or x again: none), the teacher's x [R, e] and w [W, e],
 * or ids [R, K] and logp [R, K], (sum [V, d])
 */
export const linear_distillation: FusedOp<LinearDistillationAttrs> = {
  kind: "fused",
  writes: [5],
  shape: (inputs, attrs) => {
    check(inputs, attrs, "linear_distillation");
    const [x, w] = inputs as [Tensor, Tensor];
    dims(inputs.length, attrs.sum ? 6 : 5, "the number of operands", "linear_distillation");
    if (attrs.sum) shaped(inputs[5]!, w.shape, "the sum", "linear_distillation");
    const loss = { shape: [x.shape[0]!, 1] };
    return attrs.grad ? [loss, loss, { shape: x.shape }] : [loss, loss];
  },
  encode: (attrs) => encode(attrs, { dx: attrs.grad, sum: attrs.sum === true }),
  compose: (inputs, attrs) => {
    const { ce, kd, slopes } = composed(inputs, attrs, (ofCe, ofKd) =>
      add(scale(ofCe, attrs.ce_weight), scale(ofKd, attrs.kd_weight)),
    );
    const sum = inputs[5];
    if (!attrs.grad && !sum) return [ce, kd];
    const d = slopes();
    if (sum) accumulate(sum, matmul_tn(d, inputs[0]!));
    return attrs.grad ? [ce, kd, matmul_nn(d, inputs[1]!)] : [ce, kd];
  },
  gradient: (node, [dce, dkd, ddx]) => {
    if (ddx)
      throw new TypeError(
        "Cannot differentiate linear_distillation by its gradient: differentiate its losses",
      );
    const inputs = node.inputs.slice(0, 5);
    const zeros = scale(node.outputs[0]!, 0);
    const douts: [Tensor, Tensor] = [dce ?? zeros, dkd ?? zeros];
    const own = node.outputs[2] && areWeights(...douts, node.attrs) ? node.outputs[2] : undefined;
    const dx = own ?? gradOf([...inputs, ...douts], { ...node.attrs, by: "x" });
    return [dx, gradOf([...inputs, ...douts], { ...node.attrs, by: "w" })];
  },
};

export interface LinearDistillationGradAttrs extends LinearDistillationAttrs {
  readonly by: "x" | "w";
}

/** Of Σ ce · dce + kd · dkd by x: [R, d], or by w: [V, d]. x, w, targets, the teacher's two, dce [R, 1], dkd [R, 1] */
export const linear_distillation_grad: FusedOp<LinearDistillationGradAttrs> = {
  kind: "fused",
  shape: (inputs, attrs) => {
    const op = "linear_distillation_grad";
    check(inputs, attrs, op);
    const [x, w] = inputs as [Tensor, Tensor];
    dims(inputs.length, 7, "the number of operands", op);
    for (const [i, what] of [
      [5, "dce"],
      [6, "dkd"],
    ] as const)
      shaped(f32(inputs[i]!, op), [x.shape[0]!, 1], what, op);
    return [{ shape: attrs.by === "x" ? x.shape : w.shape }];
  },
  encode: (attrs) => encode(attrs, { dx: attrs.by === "x", sum: attrs.by === "w" }),
  compose: (inputs, attrs) => {
    const [x, w, , , , dce, dkd] = inputs as Tensor[];
    const d = composed(inputs, attrs, (ce, kd) => add(mul(ce, dce!), mul(kd, dkd!))).slopes();
    return [attrs.by === "x" ? matmul_nn(d, w!) : matmul_tn(d, x!)];
  },
  gradient: null, // second derivatives are not needed
};
