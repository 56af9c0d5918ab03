// pith/generate: a loaded model that answers. KV pages, scheduler and sampling: ids -> ids; the text edge beside it.

export type { Adapter, AdapterChoice, AttachOptions } from "./adapters.ts";
export { Engine, type Runner } from "./engine.ts";
export { Generation, type GenerationResult, type GenerationStats } from "./generation.ts";
export type { ConstraintOptions, JsonSchema } from "./grammar/index.ts";
export { type LoadModelOptions, loadModel } from "./load.ts";
export { type ChatOptions, type GenerateOptions, Model, type ModelParts } from "./model.ts";
export type { SamplingOptions } from "./sampling.ts";
export { type FinishReason, type Mask, type MaskState, Sequence, type Sink } from "./sequence.ts";
export type { Part, TokenLogprob } from "./stream.ts";
export type { JsonPath, Verbatim } from "./verbatim.ts";
