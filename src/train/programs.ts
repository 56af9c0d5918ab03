// The programs of a training step, recorded over a trainable: `gradients` adds a micro-batch's gradients to sums, `norm`
// measures them, `update` is AdamW; `loss` is the forward pass alone.

import { lowered } from "../engine/fuse-gradients.ts";
import { fuseLosses, type GradientOptions, gradients } from "../engine/gradients.ts";
import { accumulate, adamw, add, clear_state, cross_entropy, sum_rows, sum_squares } from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import { declareBatch, forward, type Module } from "../models/index.ts";
import type { Trainable, TrainedParameter } from "./trainable.ts";

/** Name of the state that holds a parameter's gradient sum, first or second moment. */
export const slot = (kind: "grad" | "m" | "v", name: string): string => `${kind}:${name}`;

/** -log p(target) of the rows, in nats: [R, 1]. Inputs: those of a batch, and `targets` i32 [R]. */
export function rowLosses(g: Recorder, m: Module, { definition, config }: Trainable, ctx: number): Tensor {
  const logits = forward(definition, m, declareBatch(g, config, ctx, false)); // [R, V]
  return cross_entropy(logits, g.input("targets", "i32", ["R"]));
}

/** How a step computes. */
export interface ComputeOptions extends GradientOptions {
  /**
   * "bf16": products round their operands to bf16 where the processor multiplies it faster; sums, norms, the loss, the
   * trained parameters and the optimizer stay f32. Default "f32".
   */
  readonly compute?: "f32" | "bf16";
}

/** A program as `compute` wants it. */
export function computed(program: Program, { compute = "f32" }: ComputeOptions): Program {
  return compute === "bf16" ? lowered(program) : program;
}

/** Adds d loss / d parameter to the state `grad:*` of every trained parameter. */
export function addGradients(
  g: Recorder,
  { trained }: Trainable,
  loss: Tensor,
  options: GradientOptions,
): void {
  const parameters = [...trained].map(([name, { shape, stand_in = name }]) => g.param(stand_in, shape));
  const names = [...trained.keys()];
  for (const [i, d] of gradients(loss, parameters, options).entries())
    accumulate(g.state(slot("grad", names[i]!), parameters[i]!.shape), d);
}

/** Output `loss` [1] = Σ over targets; adds its gradients to the states `grad:*`. */
export function recordGradients(trainable: Trainable, ctx: number, options: ComputeOptions = {}): Program {
  const program = record(
    (g) => {
      const loss = sum_rows(rowLosses(g, trainable.module(g, true), trainable, ctx)); // [1]
      addGradients(g, trainable, loss, options);
      return { loss };
    },
    { composed: true },
  );
  return computed(program, options);
}

/** Output `loss` [1] = Σ over targets, without gradients. */
export function recordLoss(trainable: Trainable, ctx: number, options: ComputeOptions = {}): Program {
  const program = record((g) => {
    const loss = sum_rows(rowLosses(g, trainable.module(g), trainable, ctx));
    fuseLosses(g, false);
    return { loss };
  });
  return computed(program, options);
}

/** Output `squares` [1]: Σ over all gradient sums of their squares. */
export function recordNorm({ trained }: Trainable): Program {
  return record((g) => {
    let total: Tensor | undefined;
    for (const [name, { shape }] of trained) {
      const squares = sum_squares(g.state(slot("grad", name), shape));
      total = total ? add(total, squares) : squares;
    }
    return { squares: total! };
  });
}

/** AdamW's settings that a group of parameters shares: an input of `recordUpdate`. */
export interface HyperGroup {
  readonly input: string;
  /** Vectors (norms, biases, magnitudes) are not decayed. */
  readonly decayed: boolean;
  readonly lr_ratio: number;
}

export function hyperGroup({ shape, lr_ratio = 1 }: TrainedParameter): HyperGroup {
  const decayed = shape.length > 1;
  return { input: `${decayed ? "decayed" : "plain"}:${lr_ratio}`, decayed, lr_ratio };
}

/** AdamW on every parameter with the hyper-parameters [8] of its group; gradient sums are zero afterwards. */
export function recordUpdate({ trained }: Trainable): Program {
  return record((g) => {
    for (const [name, parameter] of trained) {
      const state = (key: string) => g.state(key, parameter.shape);
      const grad = state(slot("grad", name));
      const hyper = g.input(hyperGroup(parameter).input, "f32", [8]);
      adamw(state(name), grad, state(slot("m", name)), state(slot("v", name)), hyper);
      clear_state(grad);
    }
    return {};
  });
}

/** What the trainable derives from its parameters, if anything. */
export function recordDerived({ derive }: Trainable): Program | undefined {
  if (!derive) return undefined;
  return record((g) => {
    derive(g);
    return {};
  });
}
