/** pith/train: what changes a model's weights. */
export {
  type Batches,
  consecutiveWindows,
  type Item,
  type PackedOptions,
  packedBatches,
  packItems,
  type StepData,
  type WindowOptions,
  windowBatches,
} from "./batches.ts";
export type { Settings } from "./checkpoint.ts";
export {
  type Columns,
  type DataOptions,
  type DataStats,
  overlapWarning,
  type PreviewOptions,
  previewSample,
  readPairs,
  readSamples,
} from "./data/index.ts";
export type { ModelShape } from "./initial.ts";
export { Job } from "./job.ts";
export { type AdapterOptions, adapterTrainable } from "./methods/adapter.ts";
export { fullTrainable, loadFull } from "./methods/full.ts";
export { METHODS, type Method, type MethodOptions, openTrainable } from "./methods/index.ts";
export { type PreferenceOptions, type PreferenceResult, PreferenceStep } from "./methods/preference.ts";
export { readMetrics, type StepRecord } from "./metrics.ts";
export type { TrainPlan } from "./plan.ts";
export { type ComputeOptions, recordGradients } from "./programs.ts";
export { Random } from "./random.ts";
export { learningRate, type Schedule, type ScheduleName } from "./schedule.ts";
export { type ScratchOptions, type ScratchResult, train } from "./scratch.ts";
export { dims, inputs, rowsOf, TrainStep } from "./step.ts";
export type { MethodTrainable, Trainable, TrainedParameter } from "./trainable.ts";
export { type FitOptions, type FitResult, fit, type StepEvent } from "./trainer.ts";
export { type DryRun, dryRun, type TuneOptions, type TuneResult, tune } from "./tune.ts";
export type * from "./types.ts";
