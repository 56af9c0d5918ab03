// What the parts of distillation hand to each other: what a teacher says of samples, and who can say it.

import { DIVERGENCES, type Divergence } from "../engine/ops/distillation.ts";
import type { Sample } from "../train/index.ts";

/** How far the student's distribution is from the teacher's, both at the run's temperature. */
export type DistillationLoss = Divergence;
export const DISTILLATION_LOSSES = DIVERGENCES;

/** What a teacher says at the learned positions of one sample, in their order: n positions, k tokens of each. */
export interface TeacherRows {
  readonly k: number;
  /** [n, k], the likeliest first; -1 where there are fewer. */
  readonly ids: Int32Array;
  /** [n, k] natural logarithms of their probabilities, at the temperature asked for. */
  readonly logp: Float32Array;
}

/** Whoever can say it of given samples: a model in this process, a cache, an endpoint. */
export interface Teacher {
  /** What errors and reports call it. */
  readonly name: string;
  /** Rows of every sample, in their order. @throws {Error} naming the sample that it has nothing of */
  score(samples: readonly Sample[], k: number, signal?: AbortSignal): Promise<TeacherRows[]>;
  close(): Promise<void>;
}

/** Positions of a sample that are learned: rows of `TeacherRows`. */
export function learnedRows({ learned }: Sample): number {
  let n = 0;
  for (let i = 1; i < learned.length; i++) n += Number(learned[i] === 1);
  return n;
}
