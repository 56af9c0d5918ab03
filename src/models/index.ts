// pith/models: a model is a config, named parameters and a tokenizer. Only load and save touch the disk.

export type { Config, GenerationConfig } from "./config.ts";
export { parseConfig, parseGenerationConfig } from "./config.ts";
export type { Batch, Definition, Module } from "./definition.ts";
export { plainModule } from "./definition.ts";
export { type LoadOptions, type LoadProgress, loadWeights } from "./load.ts";
export { kvBytes, memoryNeeded } from "./memory.ts";
export { checkTensors, type OpenedModel, openModel, weightSource } from "./open.ts";
export { declareBatch, forward, KV, pagesFor, ROPE_TABLE, recordGeneration } from "./programs.ts";
export { definitionOf, MODEL_TYPES } from "./registry.ts";
export { hubCache, type ResolvedModel, resolveModel } from "./resolve.ts";
export { ropeTable } from "./rope.ts";
export { createRuntime, type Runtime, type RuntimeOptions } from "./runtime.ts";
