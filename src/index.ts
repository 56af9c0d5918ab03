/** pith: make and run small language models on your own device. The sub-paths hold the parts: `pith/engine`, ... */

export {
  type Compared,
  type CompareEvent,
  type CompareOptions,
  type CompareResult,
  compare,
  compareHtml,
  compareMarkdown,
} from "./compare/index.ts";
export { type DemoEvent, type DemoOptions, type DemoResult, demo } from "./demo/index.ts";
export {
  type DistillOptions,
  type DistillResult,
  distill,
  distillRecursively,
  type RecursiveOptions,
  type RecursiveResult,
  type Student,
  type SynthesizeEvent,
  type SynthesizeOptions,
  type SynthesizeResult,
  synthesize,
} from "./distill/index.ts";
export {
  type Embeddings,
  type EmbedOptions,
  Encoder,
  embed,
  type LoadEncoderOptions,
  loadEncoder,
} from "./embed/index.ts";
export type { KvType } from "./engine/backend.ts";
export type { BackendName } from "./engine/backends/index.ts";
export { doctor, type Report } from "./engine/doctor.ts";
export type { WeightType } from "./engine/weights.ts";
export {
  evaluate,
  parseTask,
  type Task,
  type TaskOptions,
  type TaskResult,
  type TextOptions,
  type TextResult,
} from "./evaluate/index.ts";
export {
  type Adapter,
  type AdapterChoice,
  type AttachOptions,
  type ChatOptions,
  type FinishReason,
  type GenerateOptions,
  Generation,
  type GenerationResult,
  type LoadModelOptions,
  loadModel,
  type Mask,
  Model,
  type Part,
} from "./generate/index.ts";
export {
  type CachedModel,
  goOffline,
  listModels,
  type PullOptions,
  type PullProgress,
  type PullResult,
  pull,
  type RemoveResult,
  removeModel,
} from "./hub/index.ts";
export {
  type AdapterToFuse,
  type AdapterToSave,
  type AverageResult,
  average,
  type ConvertOptions,
  type ConvertResult,
  convert,
  type FuseOptions,
  type FuseResult,
  fuse,
  type Inspection,
  inspect,
  type ModelToAverage,
} from "./models/index.ts";
export { type PruneOptions, type PruneResult, prune } from "./prune/index.ts";
export {
  dryRunQuantize,
  type Measured,
  type QuantizeMethod,
  type QuantizeOptions,
  type QuantizeResult,
  quantize,
} from "./quantize/index.ts";
export {
  defineRecipe,
  dryRunMake,
  type MadeStep,
  type MakeEvent,
  type MakeOptions,
  type MakeResult,
  make,
  openRecipe,
  type Recipe,
  type Step,
  step,
} from "./recipe/index.ts";
export type { ChatMessage } from "./tokenizer/index.ts";
export {
  type CallOptions,
  type CallResult,
  callTools,
  readTools,
  type Tool,
  type ToolAnswer,
  type ToolCall,
  toolSchema,
} from "./tools/index.ts";
export {
  type DryRun,
  dryRun,
  type Job,
  type ScratchOptions,
  type ScratchResult,
  type StepEvent,
  type TrainPlan,
  type TuneOptions,
  type TuneResult,
  train,
  tune,
} from "./train/index.ts";
