/**
 * The functional form of the op table: what model code and gradient rules call. Every function records one node.
 * T, R: rows · H: heads · D: head size · V: vocabulary · N, K: output and input features of a weight.
 */
import type { AttentionAttrs } from "./ops/attention.ts";
import type { PagedAttrs } from "./ops/attention-paged.ts";
import type { DeltaNetAttrs } from "./ops/delta-rule.ts";
import type { DistillationAttrs } from "./ops/distillation.ts";
import type { DropoutAttrs } from "./ops/dropout.ts";
import type { GptqAttrs } from "./ops/gptq.ts";
import type { OpName } from "./ops/index.ts";
import type { LinearAttrs } from "./ops/linear.ts";
import type { LinearDistillationAttrs, LinearDistillationGradAttrs } from "./ops/linear-distillation.ts";
import type { LinearCrossEntropyAttrs } from "./ops/loss.ts";
import type { ScaleGroupsAttrs } from "./ops/quantization.ts";
import type { Dim, Shape, Tensor } from "./tensor.ts";

function all(op: OpName, inputs: Tensor[], attrs: object = {}): Tensor[] {
  return inputs[0]!.recorder.emit(op, inputs, attrs as never);
}
const one = (op: OpName, inputs: Tensor[], attrs?: object): Tensor => all(op, inputs, attrs)[0]!;

export const neg = (x: Tensor): Tensor => one("neg", [x]);
export const exp = (x: Tensor): Tensor => one("exp", [x]);
export const log = (x: Tensor): Tensor => one("log", [x]);
export const sqrt = (x: Tensor): Tensor => one("sqrt", [x]);
/** x^(-1/2) */
export const rsqrt = (x: Tensor): Tensor => one("rsqrt", [x]);
export const tanh = (x: Tensor): Tensor => one("tanh", [x]);
/** 2/√π ∫₀ˣ e^(-t²) dt */
export const erf = (x: Tensor): Tensor => one("erf", [x]);
export const sigmoid = (x: Tensor): Tensor => one("sigmoid", [x]);
export const abs = (x: Tensor): Tensor => one("abs", [x]);
/** x > 0 ? 1 : 0 */
export const step = (x: Tensor): Tensor => one("step", [x]);
/** c · x */
export const scale = (x: Tensor, c: number): Tensor => one("scale", [x], { c });
/** x + c */
export const shift = (x: Tensor, c: number): Tensor => one("shift", [x], { c });

/** x with each element 0 by chance p, the others times 1 / (1 - p): see ops/dropout.ts */
export const dropout = (x: Tensor, seed: Tensor, attrs: DropoutAttrs): Tensor =>
  one("dropout", [x, seed], attrs);

/** w [N, K] as d · {-1, 0, 1}, d for each `group` columns of a row (0: for all): see ops/ternary.ts */
export const ternarize = (w: Tensor, group: number): Tensor => one("ternarize", [w], { group });
/** x as int8 products see it: rounded per 32 columns. */
export const round_activations = (x: Tensor): Tensor => one("round_activations", [x]);

/** b has a's shape, or is a row [cols], or a column [.., 1]; so for sub, mul, div and maximum. */
export const add = (a: Tensor, b: Tensor): Tensor => one("add", [a, b]);
export const sub = (a: Tensor, b: Tensor): Tensor => one("sub", [a, b]);
export const mul = (a: Tensor, b: Tensor): Tensor => one("mul", [a, b]);
export const div = (a: Tensor, b: Tensor): Tensor => one("div", [a, b]);
export const maximum = (a: Tensor, b: Tensor): Tensor => one("maximum", [a, b]);

/** [.., n] -> [.., 1] */
export const sum_last = (x: Tensor): Tensor => one("sum_last", [x]);
export const max_last = (x: Tensor): Tensor => one("max_last", [x]);
/** [.., n] -> [n] */
export const sum_rows = (x: Tensor): Tensor => one("sum_rows", [x]);
/** [.., 1] -> [.., n] */
export const broadcast_last = (x: Tensor, n: number): Tensor => one("broadcast_last", [x], { n });
/** [n] -> shape, whose last dimension is n */
export const broadcast_rows = (x: Tensor, shape: Shape): Tensor => one("broadcast_rows", [x], { shape });

export const reshape = (x: Tensor, shape: Shape): Tensor => one("reshape", [x], { shape });
export const slice_last = (x: Tensor, start: number, length: number): Tensor =>
  one("slice_last", [x], { start, length });
export const pad_last = (x: Tensor, start: number, n: number): Tensor => one("pad_last", [x], { start, n });
export const concat_last = (...xs: Tensor[]): Tensor => one("concat_last", xs);
/** table [V, n], ids [T] -> [T, n] */
export const gather_rows = (table: Tensor, ids: Tensor): Tensor => one("gather_rows", [table, ids]);
/** x [T, n], ids [T] -> [rows, n] */
export const scatter_add_rows = (x: Tensor, ids: Tensor, rows: Dim): Tensor =>
  one("scatter_add_rows", [x, ids], { rows });
/** x [R, n], ids [R] -> [R, 1] */
export const pick_last = (x: Tensor, ids: Tensor): Tensor => one("pick_last", [x, ids]);
/** x [R, 1], ids [R] -> [R, n] */
export const place_last = (x: Tensor, ids: Tensor, n: number): Tensor => one("place_last", [x, ids], { n });

/** x [T, K], w [N, K] -> [T, N]. `int8` (default): activations may be rounded to int8 when w is quantized. */
export const matmul_nt = (x: Tensor, w: Tensor, { int8 = true } = {}): Tensor =>
  one("matmul_nt", [x, w], { int8 });
/** x [T, N], w [N, K] -> [T, K] */
export const matmul_nn = (x: Tensor, w: Tensor): Tensor => one("matmul_nn", [x, w]);
/** a [T, N], b [T, K] -> [N, K] */
export const matmul_tn = (a: Tensor, b: Tensor): Tensor => one("matmul_tn", [a, b]);

/**
 * What adapters make of y [T, N] = x wᵀ, x [T, K]: see ops/lora.ts. `linear`: its index in the table; `rows` [R]: the
 * tokens that y and x are of, when they are not all of the step.
 */
export const lora = (
  y: Tensor,
  x: Tensor,
  adapters: Tensor,
  segments: Tensor,
  { linear, rows, int8 = true }: { linear: number; rows?: Tensor; int8?: boolean },
): Tensor => one("lora", [y, x, adapters, segments, ...(rows ? [rows] : [])], { linear, int8 });

/** x [T, H, D], positions [T], table [C, r] */
export const rope = (x: Tensor, positions: Tensor, table: Tensor, inverse = false): Tensor =>
  one("rope", [x, positions, table], { inverse });
/** q [T, Hq, D], k, v [T, Hkv, D], segments [S, 4] -> [o, lse] */
export const attention = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  segments: Tensor,
  attrs: AttentionAttrs,
): [Tensor, Tensor] => all("attention", [q, k, v, segments], attrs) as [Tensor, Tensor];
export const attention_grad = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  o: Tensor,
  lse: Tensor,
  dO: Tensor,
  segments: Tensor,
  attrs: AttentionAttrs,
): [Tensor, Tensor, Tensor] =>
  all("attention_grad", [q, k, v, o, lse, dO, segments], attrs) as [Tensor, Tensor, Tensor];
/** Stores k, v [T, Hkv, D] of the step to the pages of the state kv. */
export const kv_write = (
  k: Tensor,
  v: Tensor,
  kv: Tensor,
  segments: Tensor,
  pages: Tensor,
  attrs: PagedAttrs,
): void => {
  all("kv_write", [k, v, kv, segments, pages], attrs);
};
/** q [T, Hq, D] -> o [T, Hq, D], over all positions up to each token's own */
export const attention_paged = (
  q: Tensor,
  kv: Tensor,
  segments: Tensor,
  pages: Tensor,
  attrs: PagedAttrs,
): Tensor => one("attention_paged", [q, kv, segments, pages], attrs);
/** Rotates q and k, stores k and v; gives the rotated q. */
export const rope_write = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  positions: Tensor,
  table: Tensor,
  kv: Tensor,
  segments: Tensor,
  pages: Tensor,
  attrs: PagedAttrs,
): Tensor => one("rope_write", [q, k, v, positions, table, kv, segments, pages], attrs);

/** Where a layer's state lies: see ops/recurrent.ts. */
export interface LayerState {
  /** [slots, columns] */
  readonly state: Tensor;
  /** i32 [S, 2]: the rows that a segment reads and writes */
  readonly slots: Tensor;
  /** The layer's first column. */
  readonly offset: number;
}
const stateOf = (s: LayerState | undefined): Tensor[] => (s ? [s.state, s.slots] : []);
/** x [T, C], w [C, K] -> [T, C], causal within segments; with a state, from it and into it */
export const causal_conv = (x: Tensor, w: Tensor, segments: Tensor, s?: LayerState): Tensor =>
  one("causal_conv", [x, w, segments, ...stateOf(s)], { offset: s?.offset ?? 0 });
export const causal_conv_grad = (dy: Tensor, x: Tensor, w: Tensor, segments: Tensor): [Tensor, Tensor] =>
  all("causal_conv_grad", [dy, x, w, segments]) as [Tensor, Tensor];
/** c · causal_conv(b · x) */
export const short_conv = (
  b: Tensor,
  c: Tensor,
  x: Tensor,
  w: Tensor,
  segments: Tensor,
  s?: LayerState,
): Tensor => one("short_conv", [b, c, x, w, segments, ...stateOf(s)], { offset: s?.offset ?? 0 });

/** q, k [T, Hk, Dk], v [T, Hv, Dv], g, β [T, Hv] -> [T, Hv, Dv]: see ops/delta-rule.ts */
export const delta_rule = (qkvgb: Tensor[], segments: Tensor, tiled = false, s?: LayerState): Tensor =>
  one("delta_rule", [...qkvgb, segments, ...stateOf(s)], { tiled, offset: s?.offset ?? 0 });
export const delta_rule_grad = (
  qkvgb: Tensor[],
  dO: Tensor,
  segments: Tensor,
  tiled: boolean,
): [Tensor, Tensor, Tensor, Tensor, Tensor] =>
  all("delta_rule_grad", [...qkvgb, dO, segments], { tiled }) as [Tensor, Tensor, Tensor, Tensor, Tensor];
/** x, z, a, b, A, w: see ops/delta-rule.ts */
export const gated_delta_net = (
  inputs: Tensor[],
  segments: Tensor,
  attrs: Omit<DeltaNetAttrs, "offset">,
  s?: LayerState,
): Tensor =>
  one("gated_delta_net", [...inputs, segments, ...stateOf(s)], { ...attrs, offset: s?.offset ?? 0 });

/** p, m, v are states; hyper [8]: see ops/optim.ts */
export const adamw = (p: Tensor, g: Tensor, m: Tensor, v: Tensor, hyper: Tensor): void => {
  all("adamw", [p, g, m, v, hyper]);
};
/** sum += x */
export const accumulate = (sum: Tensor, x: Tensor): void => {
  all("accumulate", [sum, x]);
};
/** x = 0 */
export const clear_state = (x: Tensor): void => {
  all("clear_state", [x]);
};
/** sum [N, K] += aᵀ b; a [T, N], b [T, K] */
export const accumulate_tn = (sum: Tensor, a: Tensor, b: Tensor): void => {
  all("accumulate_tn", [sum, a, b]);
};
/** sum[ids[t]] += x[t]; sum [V, n], x [T, n], ids [T] */
export const accumulate_rows = (sum: Tensor, x: Tensor, ids: Tensor): void => {
  all("accumulate_rows", [sum, x, ids]);
};
/** l [K, K] = the lower triangle of h [K, K] in an order [K], damping [1] added -> [1], 0 if all is well: see ops/gptq.ts */
export const cholesky = (l: Tensor, h: Tensor, order: Tensor, damping: Tensor): Tensor =>
  one("cholesky", [l, h, order, damping]);
/** w [T, K], a, m [T, groups], l [K, K], order [K] -> codes [T, K], error [T, 1]: see ops/gptq.ts */
export const gptq_round = (inputs: Tensor[], attrs: GptqAttrs): [Tensor, Tensor] =>
  all("gptq_round", inputs, attrs) as [Tensor, Tensor];
/** Σ x² -> [1] */
export const sum_squares = (x: Tensor): Tensor => one("sum_squares", [x]);

export const silu = (x: Tensor): Tensor => one("silu", [x]);
/** The tanh form; gelu_erf is the one with the error function. */
export const gelu = (x: Tensor): Tensor => one("gelu", [x]);
export const gelu_erf = (x: Tensor): Tensor => one("gelu_erf", [x]);
export const swiglu = (gate: Tensor, up: Tensor): Tensor => one("swiglu", [gate, up]);
/** gelu(gate) · up */
export const geglu = (gate: Tensor, up: Tensor): Tensor => one("geglu", [gate, up]);
/** (x - mean x) / √(var x + eps) · w + b, over the last dimension */
export const layer_norm = (x: Tensor, w: Tensor, b: Tensor, eps: number): Tensor =>
  one("layer_norm", [x, w, b], { eps });
export const rms_norm = (x: Tensor, w: Tensor, eps: number): Tensor => one("rms_norm", [x, w], { eps });
export const softmax_last = (x: Tensor): Tensor => one("softmax_last", [x]);
/** logits [R, V], targets [R] -> [R, 1], in nats; 0 where the target is negative */
export const cross_entropy = (logits: Tensor, targets: Tensor): Tensor =>
  one("cross_entropy", [logits, targets]);
const distilled = (attrs: Partial<DistillationAttrs>): DistillationAttrs => ({
  loss: "forward_kl",
  beta: 0.5,
  temperature: 1,
  scale_temperature: false,
  ...attrs,
});
/** logits [R, V], teacher [R, V] -> [R, 1], in nats: see ops/distillation.ts. No gradient goes through the teacher. */
export const distillation_loss = (
  logits: Tensor,
  teacher: Tensor,
  attrs: Partial<DistillationAttrs> = {},
): Tensor => one("distillation_loss", [logits, teacher], distilled(attrs));
/** Of each row's loss by its logits: [R, V] */
export const distillation_slopes = (
  logits: Tensor,
  teacher: Tensor,
  attrs: Partial<DistillationAttrs> = {},
): Tensor => one("distillation_slopes", [logits, teacher], distilled(attrs));
/** logits [R, V], ids [R, K], logp [R, K] -> [R, 1]: the same over K named tokens and one bucket of all others */
export const distillation_topk_loss = (
  logits: Tensor,
  ids: Tensor,
  logp: Tensor,
  attrs: Partial<DistillationAttrs> = {},
): Tensor => one("distillation_topk_loss", [logits, ids, logp], distilled(attrs));
/** Of each row's loss by its logits: [R, V] */
export const distillation_topk_slopes = (
  logits: Tensor,
  ids: Tensor,
  logp: Tensor,
  attrs: Partial<DistillationAttrs> = {},
): Tensor => one("distillation_topk_slopes", [logits, ids, logp], distilled(attrs));
/** x [R, d], w [V, d], targets [R], (state: sum [V, d]) -> loss [R, 1], (dx [R, d]): see ops/loss.ts */
export const linear_cross_entropy = (
  x: Tensor,
  w: Tensor,
  targets: Tensor,
  { scale = 1, cap = 0, grad = false, ...rest }: Partial<LinearCrossEntropyAttrs> = {},
): Tensor[] => all("linear_cross_entropy", [x, w, targets], { scale, cap, grad, ...rest });
/** -> [V, d] */
export const linear_cross_entropy_weight_grad = (
  x: Tensor,
  w: Tensor,
  targets: Tensor,
  dloss: Tensor,
  attrs: LinearCrossEntropyAttrs,
): Tensor => one("linear_cross_entropy_weight_grad", [x, w, targets, dloss], attrs);
/**
 * x [R, d], w [V, d], targets [R] or undefined, the teacher: [x [R, e], w [W, e]] or [ids [R, K], logp [R, K]], (state: sum
 * [V, d]) -> cross-entropy [R, 1], distillation [R, 1], (dx [R, d]): see ops/linear-distillation.ts
 */
export const linear_distillation = (
  x: Tensor,
  w: Tensor,
  targets: Tensor | undefined,
  teacher: readonly [Tensor, Tensor],
  attrs: Partial<LinearDistillationAttrs> = {},
): Tensor[] =>
  all("linear_distillation", [x, w, targets ?? x, ...teacher], {
    ...distilled({}),
    scale: 1,
    cap: 0,
    teacher_scale: 1,
    teacher_cap: 0,
    ce_weight: 1,
    kd_weight: 1,
    masked: true,
    grad: false,
    ...attrs,
  });
/** The operands of linear_distillation, dce [R, 1], dkd [R, 1] -> [R, d] or [V, d] */
export const linear_distillation_grad = (inputs: Tensor[], attrs: LinearDistillationGradAttrs): Tensor =>
  one("linear_distillation_grad", inputs, attrs);
/** Gradients of rms_norm by x, and by w [n]. */
export const rms_norm_grad = (x: Tensor, w: Tensor, dy: Tensor, eps: number): Tensor =>
  one("rms_norm_grad", [x, w, dy], { eps });
export const rms_norm_weight_grad = (x: Tensor, dy: Tensor, eps: number): Tensor =>
  one("rms_norm_weight_grad", [x, dy], { eps });
/** gate, up, dy -> [dgate, dup] */
export const swiglu_grad = (gate: Tensor, up: Tensor, dy: Tensor): Tensor[] =>
  all("swiglu_grad", [gate, up, dy]);
export const geglu_grad = (gate: Tensor, up: Tensor, dy: Tensor): Tensor[] =>
  all("geglu_grad", [gate, up, dy]);
/** x, [norm], weights, [biases], [residual] -> one output a weight (or one in all): see ops/linear.ts */
export const linear = (inputs: Tensor[], attrs: LinearAttrs): Tensor[] => all("linear", inputs, attrs);
/**
 * codes [N, K] of any weight type, scale [N, K / group], min [N, K / group] or undefined -> [N, K]: scale · codes - min by groups
 * of columns, see ops/quantization.ts
 */
export const scale_groups = (
  codes: Tensor,
  scale: Tensor,
  min: Tensor | undefined,
  attrs: ScaleGroupsAttrs,
): Tensor => one("scale_groups", min ? [codes, scale, min] : [codes, scale], attrs);
/** The operands of scale_groups, dy [N, K] -> dscale, (dmin), with a range dcodes */
export const scale_groups_grad = (inputs: readonly Tensor[], dy: Tensor, attrs: ScaleGroupsAttrs): Tensor[] =>
  all("scale_groups_grad", [...inputs, dy], attrs);
/** x as f16 holds it; the gradient goes straight through. */
export const round_half = (x: Tensor): Tensor => one("round_half", [x]);
