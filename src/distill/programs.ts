// The programs of a distillation step: the student's cross-entropy and its distance to the teacher, from one forward pass.
// R: rows with a target · V: tokens that both share · K: tokens that the teacher names of a row

import { fuseLosses } from "../engine/gradients.ts";
import {
  add,
  cross_entropy,
  distillation_loss,
  distillation_topk_loss,
  scale,
  slice_last,
  sum_rows,
} from "../engine/nn.ts";
import { type Program, record } from "../engine/program.ts";
import type { Recorder, Tensor } from "../engine/tensor.ts";
import { declareBatch, forward } from "../models/index.ts";
import { addGradients, type ComputeOptions, computed, type Trainable } from "../train/index.ts";
import type { LocalTeacher } from "./teacher.ts";
import type { DistillationLoss } from "./types.ts";

/** A distance, see `DistillationLoss`. */
export interface Distance {
  readonly loss: DistillationLoss;
  readonly beta: number;
  readonly temperature: number;
  /** Times temperature²: the gradient keeps its size. */
  readonly scale_temperature: boolean;
}

/** What is learned of a row: ce · cross-entropy + kd · distance. */
export interface Mix {
  readonly ce: number;
  readonly kd: number;
  readonly distance: Distance;
}

/** What the teacher says: its whole logits, from the input `teacher_hidden`; or `top_k` of `vocab_size` tokens, inputs `ids` and `logp`. */
export type Said = LocalTeacher | { readonly top_k: number; readonly vocab_size: number };

/** The tokens that both have: an embedding may be padded differently. */
const shared = (logits: Tensor, V: number) => (V === logits.shape[1] ? logits : slice_last(logits, 0, V));

function distanceOf(g: Recorder, logits: Tensor, said: Said, distance: Distance): Tensor {
  if ("top_k" in said) {
    const shape = ["R", said.top_k] as const;
    const [ids, logp] = [g.input("ids", "i32", shape), g.input("logp", "f32", shape)];
    return distillation_topk_loss(shared(logits, said.vocab_size), ids, logp, distance);
  }
  const V = Math.min(logits.shape[1] as number, said.config.vocab_size);
  return distillation_loss(shared(logits, V), said.logits(g, V), distance);
}

/**
 * Outputs `ce` and `kd` [1]: Σ over rows; with `learning` the gradients of the mix are added to the states `grad:*`. Inputs,
 * beside those of a batch: what the teacher says. Where ce is 0, no cross-entropy is computed.
 */
export function recordDistillation(
  trainable: Trainable,
  ctx: number,
  said: Said,
  { ce, kd, distance }: Mix,
  learning: boolean,
  options: ComputeOptions,
): Program {
  const program = record(
    (g) => {
      const { definition, config } = trainable;
      const logits = forward(definition, trainable.module(g, learning), declareBatch(g, config, ctx, false));
      const sums: Record<string, Tensor> = {};
      if (ce !== 0) sums.ce = sum_rows(cross_entropy(logits, g.input("targets", "i32", ["R"])));
      if (kd !== 0) sums.kd = sum_rows(distanceOf(g, logits, said, distance));
      if (learning) {
        const parts = [sums.ce && scale(sums.ce, ce), sums.kd && scale(sums.kd, kd)];
        const [one, other] = parts.filter((part) => part !== undefined);
        addGradients(g, trainable, other ? add(one!, other) : one!, options);
      } else fuseLosses(g, false);
      return sums;
    },
    { composed: true },
  );
  return computed(program, options);
}
