/** pith/train: what changes a model's weights. */
export { recordGradients, TrainStep } from "./step.ts";
export type { AdamW, Learner, Pair, Sample, StepResult, TrainBatch } from "./types.ts";
