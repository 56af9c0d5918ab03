// What the parts of distillation hand to each other: what a teacher says of samples, and who can say it.

import type { Sample } from "../train/index.ts";

/**
 * How far the student's distribution q is from the teacher's p, both at the run's temperature:
 * `forward_kl` KL(p‖q); `reverse_kl` KL(q‖p); `jsd` β KL(p‖m) + (1-β) KL(q‖m) with m = β p + (1-β) q;
 * `skew_kl` KL(p‖β p + (1-β) q); `skew_reverse_kl` KL(q‖(1-β) p + β q).
 */
export type DistillationLoss = (typeof DISTILLATION_LOSSES)[number];
export const DISTILLATION_LOSSES = ["forward_kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl"] as const;

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
