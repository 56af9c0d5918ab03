// pith/models: a model is a config, named parameters and a tokenizer. Only load and save touch the disk.

export * from "./adapters/index.ts";
export { type AverageResult, average, type ModelToAverage } from "./average.ts";
export type { Config, GenerationConfig } from "./config.ts";
export { parseConfig, parseGenerationConfig } from "./config.ts";
export { type ConvertOptions, type ConvertResult, convert, writeModel } from "./convert.ts";
export type { Batch, Definition, Module } from "./definition.ts";
export { frozenModule, plainModule } from "./definition.ts";
export { modelIdentity } from "./identity.ts";
export { bitsPerWeight, type Inspection, inspect } from "./inspect.ts";
export { KV, kvPools, type LayerType, layerRope, layerWindow, modelTables } from "./layers.ts";
export { type LoadOptions, type LoadProgress, loadWeight, loadWeights, parameterValues } from "./load.ts";
export { kvBytes, memoryNeeded, mib } from "./memory.ts";
export { checkTensors, endTokens, type OpenedModel, openModel, weightShapes, weightSource } from "./open.ts";
export { declareBatch, forward, pagesFor, recordEncoder, recordGeneration } from "./programs.ts";
export { LOAD_TYPES, type LoadType, quantizedModel } from "./quantized.ts";
export { definitionOf, MODEL_TYPES } from "./registry.ts";
export { NotHere, type ResolvedModel, resolveModel } from "./resolve.ts";
export { parameterTypes, type RowSource, SAVE_TYPES, type SaveType } from "./rows.ts";
export { createRuntime, type Runtime, type RuntimeOptions, type Scoring } from "./runtime.ts";
export { type ModelToSave, type SaveOptions, saveFolder, saveGguf } from "./save.ts";
export type { Pooling, SentenceConfig } from "./sentence.ts";
