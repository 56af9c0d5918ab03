// Making a model from nothing: a config, a tokenizer, first weights and data -> a folder that any verb opens. The verb
// `pith train`.

import { type BackendName, createBackend } from "../engine/backends/index.ts";
import { availableMemory } from "../engine/machine.ts";
import { type Config, definitionOf, parseConfig, saveFolder } from "../models/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { startedWith } from "./checkpoint.ts";
import { type Corpus, type CorpusOptions, digestOf, openCorpus, readJson } from "./corpus.ts";
import { configOfShape, initialValues, type ModelShape } from "./initial.ts";
import { Job } from "./job.ts";
import { chooseSize, trainingMemory } from "./memory.ts";
import { loadFull, trainedRows } from "./methods/full.ts";
import { ternaryReader, withTernary } from "./methods/ternary.ts";
import type { TrainPlan } from "./plan.ts";
import type { ComputeOptions } from "./programs.ts";
import { writeReport } from "./report.ts";
import { TrainStep } from "./step.ts";
import { count } from "./trainable.ts";
import { type FitOptions, type FitResult, fit, givenFitOptions, type StepEvent } from "./trainer.ts";
import type { Learner } from "./types.ts";

export interface ScratchOptions
  extends CorpusOptions,
    ComputeOptions,
    Partial<Omit<FitOptions, "evaluation" | "folder" | "settings" | "signal">> {
  /** A config.json (its vocab_size may be left out), or the model's measures. */
  readonly config: string | ModelShape;
  /** The folder that the model is written to. */
  readonly out: string;
  /**
   * "ternary": every linear but the output head has weights of three values, a float times -1, 0 or 1, and takes activations
   * of 8 bits; embeddings, norms and the head stay floats. Default "full".
   */
  readonly method?: "full" | "ternary";
  /** Type of the written matrices. Default "f32". */
  readonly type?: "f32" | "bf16" | "f16";
  /** Passes over the data. Default 10. */
  readonly epochs?: number;
  /** Ends the run before its epochs do; a text is passed over as often as that takes. */
  readonly max_steps?: number;
  /** Tokens of a step. Default: 16 times the context. */
  readonly batch_tokens?: number;
  /** Of the first weights and of the order of the data. Default 0. */
  readonly seed?: number;
  /** Deviation of the first weights. Default: the config's, else 0.02. */
  readonly initializer_range?: number;
  readonly backend?: BackendName;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Called once, before the first step. */
  readonly onPlan?: (plan: TrainPlan, warnings: readonly string[]) => void;
}

export interface ScratchResult extends FitResult {
  readonly folder: string;
  /** Path of report.html. */
  readonly report: string;
  readonly plan: TrainPlan;
}

/** For models of up to some ten million parameters. */
const DEFAULTS = { lr: 1e-3, weight_decay: 0.1, beta2: 0.95, max_grad_norm: 1, warmup_steps: 0.05 };
const DEFAULT_EPOCHS = 10;
const DEFAULT_WINDOWS = 16;

/**
 * Trains a model from nothing. A text is seen in windows of the model's context from random places, samples are packed.
 * @throws {Error} naming the file or option that is wrong; others as `fit`.
 */
export function train(options: ScratchOptions): Job<StepEvent, ScratchResult> {
  return new Job((report, signal) => run(options, report, signal), options.signal);
}

async function run(
  options: ScratchOptions,
  report: (step: StepEvent) => void,
  signal: AbortSignal,
): Promise<ScratchResult> {
  const { out, seed = 0, method = "full", compute, recompute } = options;
  if (method !== "full" && method !== "ternary")
    throw new TypeError(`Cannot train by the method ${JSON.stringify(method)}: wanted full or ternary`);
  const corpus = await openCorpus(options, signal);
  const { config, initializer_range } = await openConfig(options, corpus.tokenizer);
  const ctx = config.max_position_embeddings;
  const opened = await corpus.open(ctx, seed, signal);
  const batch_tokens = options.batch_tokens ?? DEFAULT_WINDOWS * ctx;
  const definition = definitionOf(config.model_type, "config.json");

  const { backend: name, threads } = options;
  const backend = await createBackend({ ...(name && { backend: name }), ...(threads && { threads }) });
  let learner: TrainStep | undefined;
  try {
    const values = initialValues(config, seed, initializer_range);
    const full = await loadFull(definition, config, backend, values);
    const trainable = method === "ternary" ? withTernary(full, backend) : full;
    const computing = { ...(compute && { compute }), ...(recompute && { recompute }) };
    const available = availableMemory();
    const before = options.resume ? await startedWith(out) : undefined;
    const size =
      (before?.size as Learner["size"]) ??
      chooseSize(trainable, { ctx, batch_tokens, available, compute: computing });
    const { epochs = DEFAULT_EPOCHS, max_steps } = options;
    const data = opened.batches(size, { batch_tokens, epochs, ...(max_steps && { max_steps }) });
    const evaluation = opened.evaluation(size);
    const parameters = [...trainable.trained.values()].reduce((sum, { shape }) => sum + count(shape), 0);
    const plan: TrainPlan = {
      parameters,
      trained: parameters,
      steps: data.steps,
      tokens: opened.tokens,
      eval_tokens: opened.eval_tokens,
      size,
      memory: trainingMemory(trainable, size, computing),
      available,
    };
    options.onPlan?.(plan, opened.warnings);
    learner = new TrainStep(backend, trainable, size, computing);
    const settings = {
      ...opened.settings,
      method,
      model: config,
      tokenizer: digestOf([...corpus.files]),
      initializer_range,
      ...computing,
      seed,
      batch_tokens,
      size,
    };
    const how = { ...DEFAULTS, ...givenFitOptions(options) };
    const fitted = fit(learner, data, {
      max_loss: 3 * Math.log(config.vocab_size),
      ...how,
      ...(evaluation.length > 0 && { evaluation }),
      folder: out,
      settings,
      signal,
    });
    for await (const step of fitted) report(step);
    const result = await fitted.result;
    const own = (name: string) => learner!.read(name);
    const read = method === "ternary" ? await ternaryReader(trainable, backend, own) : own;
    await save(options, config, corpus, read);
    const file = await writeReport(out, {
      title: `A new ${config.model_type} model${method === "ternary" ? ", ternary" : ""}`,
      result,
      plan,
      machine: backend,
      settings: { ...settings, tokenizer: corpus.kind, ...how },
      warnings: opened.warnings,
    });
    return { ...result, folder: out, report: file, plan };
  } finally {
    learner?.close();
    backend.close();
  }
}

async function openConfig(options: ScratchOptions, tokenizer: Tokenizer) {
  const wanted = options.config;
  const [file, given] =
    typeof wanted === "string"
      ? [wanted, await readJson(wanted)]
      : ["config.json", configOfShape(wanted) as Record<string, unknown>];
  const { vocabSize, bosId, eosIds } = tokenizer;
  const complete = {
    vocab_size: vocabSize,
    ...(bosId !== undefined && { bos_token_id: bosId }),
    ...(eosIds.length > 0 && { eos_token_id: eosIds }),
    ...given,
  };
  const config = parseConfig(file, JSON.stringify(complete));
  if (config.vocab_size < vocabSize)
    throw new RangeError(
      `Cannot train ${JSON.stringify(file)}: vocab_size is ${config.vocab_size}, but the tokenizer has ${vocabSize} tokens`,
    );
  const stated = typeof given.initializer_range === "number" ? given.initializer_range : undefined;
  return { config, initializer_range: options.initializer_range ?? stated };
}

async function save(
  { out, type = "f32" }: ScratchOptions,
  config: Config,
  { files }: Corpus,
  read: (name: string) => Float32Array,
): Promise<void> {
  const definition = definitionOf(config.model_type, "config.json");
  const parameters = [...definition.params(config)].map(([name, shape]) => ({
    source: trainedRows({ name, shape }, read),
    type: shape.length > 1 ? type : ("f32" as const),
  }));
  const { bos_token_id, eos_token_id } = config;
  const generationConfig = { ...(bos_token_id !== undefined && { bos_token_id }), eos_token_id };
  const encoder = new TextEncoder();
  const extra = new Map([...files].map(([name, json]) => [name, encoder.encode(JSON.stringify(json))]));
  await saveFolder(out, { config, definition, generationConfig, name: out, parameters }, {}, extra);
}
