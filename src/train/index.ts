/** pith/train: what changes a model's weights. */
export { type AdamW, recordGradients, type StepResult, type TrainBatch, TrainStep } from "./step.ts";
