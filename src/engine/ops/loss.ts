/**
 * The head and the loss in one: logits exist for some rows at a time, in scratch, and never for a whole batch.
 */
import {
  accumulate,
  cross_entropy,
  linear_cross_entropy as lossOf,
  matmul_nn,
  matmul_nt,
  matmul_tn,
  mul,
  scale as scaleBy,
  shift,
  tanh,
  linear_cross_entropy_weight_grad as weightGrad,
} from "../nn.ts";
import type { FusedOp } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { dims, f32, ids, rank, shaped } from "./common.ts";
import { crossEntropySlopes } from "./norm.ts";

export interface LinearCrossEntropyAttrs {
  /** logits = scale · x wᵀ, */
  readonly scale: number;
  /** and then cap · tanh(logits / cap), unless 0. */
  readonly cap: number;
  /** Also gives dx [R, d]: of each row's loss by its x. */
  readonly grad: boolean;
  /** A fourth operand, a state [V, d], gets the gradient of Σ loss by w added. */
  readonly sum?: boolean;
  /** See `lowered`. */
  readonly bf16?: boolean;
}

function check([x, w, targets]: readonly Tensor[], op: string): void {
  const [R, d] = rank(f32(x!, op), 2, op);
  dims(rank(f32(w!, op), 2, op)[1], d!, `the width of ${w!.name ?? "w"}`, op);
  dims(ids(targets!, op).shape[0], R!, "the number of targets", op);
}

const encode = ({ scale, cap, grad, sum, bf16 }: LinearCrossEntropyAttrs) => ({
  ints: [grad ? 1 : 0, sum ? 1 : 0, bf16 ? 1 : 0],
  floats: [scale, cap],
});

/** What makes logits of x wᵀ. */
export interface Head {
  readonly scale: number;
  readonly cap: number;
}

export function logitsOf(x: Tensor, w: Tensor, { scale, cap }: Head): Tensor {
  const y = scaleBy(matmul_nt(x, w, { int8: false }), scale);
  return cap > 0 ? scaleBy(tanh(scaleBy(y, 1 / cap)), cap) : y;
}

/** Slopes by x wᵀ, of those by its logits: d · scale · (1 - (logits / cap)²). */
export function throughHead(d: Tensor, logits: Tensor, { scale, cap }: Head): Tensor {
  const scaled = scaleBy(d, scale);
  if (cap === 0) return scaled;
  const part = scaleBy(logits, 1 / cap);
  return mul(scaled, shift(scaleBy(mul(part, part), -1), 1));
}

/** Of each row's loss by x wᵀ; 0 where there is no target. */
function slopes(logits: Tensor, targets: Tensor, head: Head): Tensor {
  return throughHead(crossEntropySlopes(logits, targets), logits, head);
}

/**
 * loss [R, 1] = -log softmax(logits)[target], 0 where target < 0; with `grad` dx [R, d] too. Fixed order whatever the
 * number of threads. x [R, d], w [V, d], targets [R], (sum [V, d])
 */
export const linear_cross_entropy: FusedOp<LinearCrossEntropyAttrs> = {
  kind: "fused",
  writes: [3],
  shape: (inputs, { grad, sum }) => {
    check(inputs, "linear_cross_entropy");
    const [x, w] = inputs as [Tensor, Tensor];
    dims(inputs.length, sum ? 4 : 3, "the number of operands", "linear_cross_entropy");
    if (sum) shaped(inputs[3]!, w.shape, "the sum", "linear_cross_entropy");
    const loss = { shape: [x.shape[0]!, 1] };
    return grad ? [loss, { shape: x.shape }] : [loss];
  },
  encode,
  compose: ([x, w, targets, sum], a) => {
    const logits = logitsOf(x!, w!, a);
    const loss = cross_entropy(logits, targets!);
    if (!a.grad && !sum) return [loss];
    const d = slopes(logits, targets!, a);
    if (sum) accumulate(sum, matmul_tn(d, x!));
    return a.grad ? [loss, matmul_nn(d, w!)] : [loss];
  },
  gradient: (node, [dloss, ddx]) => {
    if (ddx || !dloss)
      throw new TypeError(
        "Cannot differentiate linear_cross_entropy by its gradient: differentiate its loss",
      );
    const [x, w, targets] = node.inputs as [Tensor, Tensor, Tensor];
    const own = node.outputs[1] ?? lossOf(x, w, targets, { ...node.attrs, grad: true })[1]!;
    return [areOnes(dloss) ? own : mul(own, dloss), weightGrad(x, w, targets, dloss, node.attrs), undefined];
  },
};

/** What every element of a tensor is made to be, if that is known: as the gradient of a sum by what is summed. */
export function constantOf(t: Tensor): number | undefined {
  const maker = t.recorder.nodes.findLast((n) => n.outputs[0] === t);
  if (!maker) return undefined;
  const { c } = maker.attrs as { c: number };
  if (maker.op === "scale" && c === 0) return 0;
  const known = ["broadcast_rows", "broadcast_last", "reshape", "neg", "shift", "scale"].includes(maker.op);
  const x = known ? constantOf(maker.inputs[0]!) : undefined;
  if (x === undefined) return undefined;
  return maker.op === "shift" ? x + c : maker.op === "scale" ? x * c : maker.op === "neg" ? -x : x;
}

/** Whether a tensor is made to hold ones. */
export const areOnes = (t: Tensor): boolean => constantOf(t) === 1;

/** Of Σ loss · dloss by w: [V, d]. x [R, d], w [V, d], targets [R], dloss [R, 1] */
export const linear_cross_entropy_weight_grad: FusedOp<LinearCrossEntropyAttrs> = {
  kind: "fused",
  shape: (inputs) => {
    check(inputs, "linear_cross_entropy_weight_grad");
    const [x, w, , dloss] = inputs as [Tensor, Tensor, Tensor, Tensor];
    shaped(dloss, [x.shape[0]!, 1], "dloss", "linear_cross_entropy_weight_grad");
    return [{ shape: w.shape }];
  },
  encode,
  compose: ([x, w, targets, dloss], a) => [
    matmul_tn(mul(slopes(logitsOf(x!, w!, a), targets!, a), dloss!), x!),
  ],
  gradient: null, // second derivatives are not needed
};
