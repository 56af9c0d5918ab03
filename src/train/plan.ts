// What a run is going to do, as it is told before the first step.

import type { TrainingMemory } from "./memory.ts";
import type { Learner } from "./types.ts";

export interface TrainPlan {
  /** Elements of the model, and those that are trained. */
  readonly parameters: number;
  readonly trained: number;
  readonly steps: number;
  /** Tokens of the data, and of that for evaluation. */
  readonly tokens: number;
  readonly eval_tokens: number;
  readonly size: Learner["size"];
  readonly memory: TrainingMemory;
  /** Bytes that there were beside the weights. */
  readonly available: number;
}
