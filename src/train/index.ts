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
export {
  CALIBRATION_CTX,
  CALIBRATION_STEP,
  CALIBRATION_TOKENS,
  type Calibration,
  type CalibrationOptions,
  firstSamples,
  readCalibration,
} from "./calibration.ts";
export { firstDifference, type Settings, startedWith } from "./checkpoint.ts";
export { digestOf, readJson } from "./corpus.ts";
export {
  type Columns,
  type DataOptions,
  type DataStats,
  fileDigests,
  overlapWarning,
  type PreviewOptions,
  previewSample,
  readPairs,
  readSamples,
} from "./data/index.ts";
export { configOfShape, initialParameter, type ModelShape } from "./initial.ts";
export { Job } from "./job.ts";
export { chooseSize, type GradientProgram, type TrainingMemory, trainingMemory } from "./memory.ts";
export { type AdapterOptions, adapterTrainable } from "./methods/adapter.ts";
export { fullTrainable, loadFull } from "./methods/full.ts";
export { METHODS, type Method, type MethodOptions, openTrainable, trainsAll } from "./methods/index.ts";
export { type PreferenceOptions, type PreferenceResult, PreferenceStep } from "./methods/preference.ts";
export {
  describeQuantized,
  type QuantizedDescription,
  type QuantizedMatrix,
  type QuantizedOptions,
  type QuantizedTrainable,
  quantizedTrainable,
  RATIOS,
  type Ratios,
} from "./methods/quantized.ts";
export { readMetrics, type StepRecord } from "./metrics.ts";
export type { TrainPlan } from "./plan.ts";
export { givenDataOptions, type Material, type PrepareOptions, prepare, type Way } from "./prepare.ts";
export { addGradients, type ComputeOptions, computed, recordGradients } from "./programs.ts";
export { Random, STREAM } from "./random.ts";
export { learningRate, type Schedule, type ScheduleName } from "./schedule.ts";
export { type ScratchOptions, type ScratchResult, train } from "./scratch.ts";
export { dims, inputs, rowsOf, TrainStep } from "./step.ts";
export type { MethodTrainable, Trainable, TrainedParameter } from "./trainable.ts";
export { type FitOptions, type FitResult, fit, givenFitOptions, type StepEvent } from "./trainer.ts";
export {
  type DryRun,
  dryRun,
  perform,
  type TuneOptions,
  type TuneResult,
  tryOut,
  tune,
  withModel,
} from "./tune.ts";
export type * from "./types.ts";
