/** pith/train: what changes a model's weights. */
export { fullTrainable, loadFull } from "./methods/full.ts";
export { recordGradients } from "./programs.ts";
export { TrainStep } from "./step.ts";
export type { Trainable, TrainedParameter } from "./trainable.ts";
export type * from "./types.ts";
