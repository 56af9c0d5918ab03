/** The op table: every op of pith, one row each. Core rows are mandatory for a backend; fused rows carry a composition. */
import type { CoreOp, FusedOp, Op } from "../op.ts";
import { attention, attention_grad } from "./attention.ts";
import { attention_paged, kv_write, rope_write } from "./attention-paged.ts";
import { add, div, maximum, mul, sub } from "./binary.ts";
import { delta_rule, delta_rule_grad, gated_delta_net } from "./delta-rule.ts";
import {
  distillation_loss,
  distillation_slopes,
  distillation_topk_loss,
  distillation_topk_slopes,
} from "./distillation.ts";
import { dropout } from "./dropout.ts";
import {
  abs,
  erf,
  exp,
  geglu,
  gelu,
  gelu_erf,
  log,
  neg,
  rsqrt,
  scale,
  shift,
  sigmoid,
  silu,
  sqrt,
  step,
  swiglu,
  tanh,
} from "./elementwise.ts";
import { cholesky, gptq_round } from "./gptq.ts";
import { geglu_grad, rms_norm_grad, rms_norm_weight_grad, swiglu_grad } from "./grads.ts";
import {
  concat_last,
  gather_rows,
  pad_last,
  pick_last,
  place_last,
  reshape,
  scatter_add_rows,
  slice_last,
} from "./layout.ts";
import { linear } from "./linear.ts";
import { linear_distillation, linear_distillation_grad } from "./linear-distillation.ts";
import { lora } from "./lora.ts";
import { linear_cross_entropy, linear_cross_entropy_weight_grad } from "./loss.ts";
import { matmul_nn, matmul_nt, matmul_tn } from "./matmul.ts";
import { cross_entropy, layer_norm, rms_norm, softmax_last } from "./norm.ts";
import { accumulate, accumulate_rows, accumulate_tn, adamw, clear_state, sum_squares } from "./optim.ts";
import { round_half, scale_groups, scale_groups_grad } from "./quantization.ts";
import { causal_conv, causal_conv_grad, short_conv } from "./recurrent.ts";
import { broadcast_last, broadcast_rows, max_last, sum_last, sum_rows } from "./reduce.ts";
import { rope } from "./rope.ts";
import { round_activations, ternarize } from "./ternary.ts";

export const CORE = {
  neg,
  exp,
  log,
  sqrt,
  rsqrt,
  tanh,
  erf,
  sigmoid,
  abs,
  step,
  scale,
  shift,
  dropout,
  add,
  sub,
  mul,
  div,
  maximum,
  sum_last,
  max_last,
  sum_rows,
  broadcast_last,
  broadcast_rows,
  reshape,
  slice_last,
  pad_last,
  concat_last,
  gather_rows,
  scatter_add_rows,
  pick_last,
  place_last,
  matmul_nt,
  matmul_nn,
  matmul_tn,
  lora,
  rope,
  attention,
  attention_grad,
  kv_write,
  attention_paged,
  causal_conv,
  causal_conv_grad,
  delta_rule,
  delta_rule_grad,
  adamw,
  accumulate,
  accumulate_tn,
  accumulate_rows,
  clear_state,
  sum_squares,
  rms_norm_grad,
  rms_norm_weight_grad,
  swiglu_grad,
  geglu_grad,
  distillation_loss,
  distillation_slopes,
  distillation_topk_loss,
  distillation_topk_slopes,
  scale_groups,
  scale_groups_grad,
  round_half,
  cholesky,
  gptq_round,
  ternarize,
  round_activations,
};

export const FUSED = {
  silu,
  gelu,
  gelu_erf,
  swiglu,
  geglu,
  rms_norm,
  layer_norm,
  softmax_last,
  cross_entropy,
  short_conv,
  gated_delta_net,
  linear_cross_entropy,
  linear_cross_entropy_weight_grad,
  linear_distillation,
  linear_distillation_grad,
  rope_write,
  linear,
};

export type CoreName = keyof typeof CORE;
export type FusedName = keyof typeof FUSED;
export type OpName = CoreName | FusedName;

type Rows = typeof CORE & typeof FUSED;
/** The attributes an op takes. */
export type AttrsOf<N extends OpName> =
  Rows[N] extends CoreOp<infer A> ? A : Rows[N] extends FusedOp<infer A> ? A : never;

export const OPS: Record<OpName, Op> = { ...CORE, ...FUSED };
